//! Feeds a worker: waits until it may, sends every input, and keeps the pipe open until the end.

use std::fs::File;
use std::io::{self, BufWriter, Cursor, Read, Write};
use std::path::Path;
use std::process::ChildStdin;
use std::sync::mpsc::Receiver;

use ring::digest::{Context, SHA256};
use rustix::fs::{Mode, OFlags};

use super::frame::{Kind, write_content, write_frame};
use super::job::{Input, WorkerError};

/// Waits for one message, which says that the worker's sandbox is good enough; sends every input;
/// then keeps the pipe open until the sender is dropped: closing it tells the worker that its
/// peak memory has been read. Without the message nothing is sent.
pub(super) fn feed(
    to: ChildStdin,
    inputs: Vec<Input>,
    signals: &Receiver<()>,
) -> Result<(), WorkerError> {
    if signals.recv().is_err() {
        return Ok(());
    }
    let mut to = BufWriter::new(to);
    for input in inputs {
        send(&mut to, input)?;
    }
    write_frame(&mut to, Kind::Go, &[])?;
    to.flush()?;
    // Returns when the sender is dropped; nothing more is ever sent.
    let _ = signals.recv();
    Ok(())
}

fn send(to: &mut impl Write, input: Input) -> Result<(), WorkerError> {
    match input {
        Input::Bytes { name, bytes } => {
            let length = bytes.len() as u64;
            write_content(to, &name, length, &mut Cursor::new(bytes))?;
        }
        Input::File { name, path, sha256, length } => {
            let mut file = HashingReader::open(&path)?;
            match write_content(to, &name, length, &mut file) {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(WorkerError::InputChanged { name });
                }
                other => other?,
            }
            if !file.ended_as(&sha256)? {
                return Err(WorkerError::InputChanged { name });
            }
        }
    }
    Ok(())
}

/// Reads a regular file and hashes what was read.
struct HashingReader {
    file: File,
    context: Context,
}

impl HashingReader {
    fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        Ok(Self { file, context: Context::new(&SHA256) })
    }

    /// True when the file ended here and its bytes have this digest.
    fn ended_as(mut self, sha256: &[u8; 32]) -> io::Result<bool> {
        let at_end = self.file.read(&mut [0u8])? == 0;
        Ok(at_end && self.context.finish().as_ref() == sha256)
    }
}

impl Read for HashingReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buf)?;
        self.context.update(&buf[..n]);
        Ok(n)
    }
}
