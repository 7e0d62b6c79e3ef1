//! The daemon's side of a worker: start it, feed it, bound it, collect what it made.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use ring::digest::{Context, SHA256};
use rustix::fs::{Mode, OFlags};
use thiserror::Error;

use super::frame::{self, Frame, FrameError, Kind, parse_begin, read_frame, write_content};
use crate::units::Bytes;

/// One study's work order.
pub struct Job<'a> {
    /// The program to start, normally this very binary.
    pub program: &'a Path,
    /// What the worker gets, in the order sent.
    pub inputs: Vec<Input>,
    /// Where its artefacts go; the folder exists and is empty.
    pub out: &'a Path,
    /// What it may use.
    pub limits: Limits,
}

/// A named content for the worker.
pub enum Input {
    /// A file of the claimed study, whose bytes must still have the digest they were claimed with.
    File {
        /// Name the worker knows it by.
        name: String,
        /// Where it is.
        path: PathBuf,
        /// SHA-256 at the time of the claim.
        sha256: [u8; 32],
        /// Length at the time of the claim.
        length: u64,
    },
    /// Bytes the daemon holds (settings, verified package files).
    Bytes {
        /// Name the worker knows it by.
        name: String,
        /// The content.
        bytes: Vec<u8>,
    },
}

/// Bounds of one worker.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Address space (`RLIMIT_AS`).
    pub memory: Bytes,
    /// Wall time; the processor time limit is the same times the number of threads.
    pub time: Duration,
    /// Compute threads.
    pub threads: u32,
    /// All artefacts together.
    pub artefact_bytes: Bytes,
}

/// What a worker may hand back, and the file it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Artefact {
    /// Labels on the scan's own grid.
    Mask,
    /// The PMN's explanation on the scan's own grid.
    HeatMap,
    /// The overview picture.
    Overview,
    /// The report page.
    Report,
}

impl Artefact {
    /// Every artefact.
    pub const ALL: [Self; 4] = [Self::Mask, Self::HeatMap, Self::Overview, Self::Report];

    /// The name of its file.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Mask => "mask.nii.gz",
            Self::HeatMap => "heatmap.nii.gz",
            Self::Overview => "overview.png",
            Self::Report => "report.html",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.file_name() == name)
    }
}

/// What a worker that ended well left behind.
#[derive(Debug)]
pub struct WorkerReport {
    /// The encoded draft of the result.
    pub draft: Vec<u8>,
    /// The artefacts written below `out`.
    pub artefacts: Vec<Artefact>,
    /// Highest resident memory (`VmHWM`), where /proc tells.
    pub peak_rss: Option<Bytes>,
}

/// Why a worker gave no draft. The variant decides what becomes of the study.
#[derive(Debug, Error)]
pub enum WorkerError {
    /// It could not be started or fed: the box's fault, worth another attempt.
    #[error("running the worker")]
    Io(#[from] io::Error),
    /// A file of the study is not what was claimed.
    #[error("`{name}` changed after the study was claimed")]
    InputChanged {
        /// The content's name.
        name: String,
    },
    /// It ran longer than `worker_seconds`.
    #[error("the worker was stopped after {} s", .0.as_secs())]
    TimedOut(Duration),
    /// It asked for more memory than `worker_memory_mib`.
    #[error("the worker ran out of its memory limit of {0}")]
    OutOfMemory(Bytes),
    /// It died: a signal or an exit status without a draft.
    #[error("the worker died with {status}: {stderr}")]
    Crashed {
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote to stderr.
        stderr: String,
    },
    /// It reported that it cannot go on.
    #[error("the worker gave up: {0}")]
    Failed(String),
    /// It sent something that no worker of ours sends.
    #[error("the worker broke the protocol: {0}")]
    Protocol(String),
}

impl From<FrameError> for WorkerError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Io(error) => Self::Io(error),
            other => Self::Protocol(other.to_string()),
        }
    }
}

/// The longest end of stderr that is kept for the log, in bytes.
const STDERR_KEPT: u64 = 4096;

/// Runs one worker to its end. `progress` gets a stage number and a percentage; `cancel` set to
/// true stops the worker, which then counts as crashed.
pub fn run(
    job: Job<'_>,
    cancel: &AtomicBool,
    progress: &mut dyn FnMut(u8, u8),
) -> Result<WorkerReport, WorkerError> {
    let Job { program, inputs, out, limits } = job;
    let mut child = spawn(program, &limits)?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(io::Error::other("the worker's pipes are missing").into());
    };
    let pid = child.id();
    let (finished, feeder_waits) = mpsc::channel::<()>();
    let feeder = thread::spawn(move || feed(stdin, inputs, &feeder_waits));
    let errors = thread::spawn(move || read_tail(stderr));
    let frames = frames_of(stdout);
    let collected = Collector::new(out, &limits).collect(&frames, cancel, progress);
    let peak_rss = peak_rss(pid);
    drop(finished);
    let ended = end(&mut child, collected.is_ok());
    let fed = feeder.join().unwrap_or_else(|_| Err(io::Error::other("feeding panicked").into()));
    let stderr = errors.join().unwrap_or_default();
    match collected {
        Ok(collected) => {
            Ok(WorkerReport { draft: collected.draft, artefacts: collected.artefacts, peak_rss })
        }
        Err(error) => Err(explain(error, fed, ended?, stderr, &limits)),
    }
}

fn spawn(program: &Path, limits: &Limits) -> io::Result<Child> {
    Command::new(program)
        .arg("worker")
        .args(["--memory-mib", &(limits.memory.0 >> 20).to_string()])
        .args(["--cpu-seconds", &cpu_seconds(limits).to_string()])
        .args(["--threads", &limits.threads.to_string()])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

fn cpu_seconds(limits: &Limits) -> u64 {
    (limits.time.as_secs() + 1) * u64::from(limits.threads.max(1))
}

/// Sends every input, then keeps the pipe open until the draft is in: closing it tells the worker
/// that its peak memory has been read.
fn feed(to: ChildStdin, inputs: Vec<Input>, finished: &Receiver<()>) -> Result<(), WorkerError> {
    let mut to = BufWriter::new(to);
    for input in inputs {
        match input {
            Input::Bytes { name, bytes } => {
                let length = bytes.len() as u64;
                write_content(&mut to, &name, length, &mut Cursor::new(bytes))?;
            }
            Input::File { name, path, sha256, length } => {
                let mut file = HashingReader::open(&path)?;
                let sent = write_content(&mut to, &name, length, &mut file);
                match sent {
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
    }
    frame::write_frame(&mut to, Kind::Go, &[])?;
    to.flush()?;
    // Returns when the sender is dropped; nothing is ever sent.
    let _ = finished.recv();
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

/// Frames as they come, from a thread of their own so that waiting can be bounded. The queue is
/// short: a worker that sends faster than the disk takes is held back.
fn frames_of(from: impl Read + Send + 'static) -> Receiver<Result<Frame, FrameError>> {
    let (send, receive) = mpsc::sync_channel(4);
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        loop {
            let next = match read_frame(&mut from) {
                Ok(Some(frame)) => Ok(frame),
                Ok(None) => return,
                Err(error) => Err(error),
            };
            let failed = next.is_err();
            if send.send(next).is_err() || failed {
                return;
            }
        }
    });
    receive
}

/// What has come from the worker so far.
struct Collector<'a> {
    out: &'a Path,
    deadline: Duration,
    left: u64,
    open: Option<OpenArtefact>,
    artefacts: Vec<Artefact>,
}

struct OpenArtefact {
    artefact: Artefact,
    file: File,
    left: u64,
}

struct Collected {
    draft: Vec<u8>,
    artefacts: Vec<Artefact>,
}

impl<'a> Collector<'a> {
    fn new(out: &'a Path, limits: &Limits) -> Self {
        let left = limits.artefact_bytes.0;
        Self { out, deadline: limits.time, left, open: None, artefacts: Vec::new() }
    }

    fn collect(
        mut self,
        frames: &Receiver<Result<Frame, FrameError>>,
        cancel: &AtomicBool,
        progress: &mut dyn FnMut(u8, u8),
    ) -> Result<Collected, WorkerError> {
        let tick = Duration::from_millis(100);
        let start = std::time::Instant::now();
        loop {
            if start.elapsed() > self.deadline {
                return Err(WorkerError::TimedOut(self.deadline));
            }
            if cancel.load(Ordering::Relaxed) {
                return Err(WorkerError::Failed("stopped with the daemon".to_owned()));
            }
            let frame = match frames.recv_timeout(tick) {
                Ok(frame) => frame?,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(WorkerError::Protocol("it ended without a draft".to_owned()));
                }
            };
            match frame.kind {
                Kind::Begin => self.begin(&frame.body)?,
                Kind::Chunk => self.chunk(&frame.body)?,
                Kind::Progress => match frame.body[..] {
                    [stage, percent] => progress(stage, percent.min(100)),
                    _ => return Err(WorkerError::Protocol("a progress of two bytes".to_owned())),
                },
                Kind::Draft if self.open.is_none() => {
                    return Ok(Collected { draft: frame.body, artefacts: self.artefacts });
                }
                Kind::Draft => {
                    return Err(WorkerError::Protocol("a draft inside an artefact".to_owned()));
                }
                Kind::Failed => {
                    let text = String::from_utf8_lossy(&frame.body).into_owned();
                    return Err(WorkerError::Failed(text));
                }
                Kind::Go => return Err(WorkerError::Protocol("a go frame".to_owned())),
            }
        }
    }

    fn begin(&mut self, body: &[u8]) -> Result<(), WorkerError> {
        let (length, name) = parse_begin(body)?;
        let artefact = Artefact::from_name(name).filter(|a| !self.artefacts.contains(a));
        let (Some(artefact), None) = (artefact, &self.open) else {
            return Err(WorkerError::Protocol("an artefact out of order".to_owned()));
        };
        self.left = self.left.checked_sub(length).ok_or_else(|| {
            WorkerError::Protocol("artefacts larger than the limit `artefact_bytes`".to_owned())
        })?;
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(self.out.join(artefact.file_name()))?;
        self.open = Some(OpenArtefact { artefact, file, left: length });
        self.close_if_complete()
    }

    fn chunk(&mut self, body: &[u8]) -> Result<(), WorkerError> {
        let open = self.open.as_mut();
        let open = open.filter(|o| o.left >= body.len() as u64);
        let Some(open) = open else {
            return Err(WorkerError::Protocol("bytes beyond an artefact's length".to_owned()));
        };
        open.file.write_all(body)?;
        open.left -= body.len() as u64;
        self.close_if_complete()
    }

    fn close_if_complete(&mut self) -> Result<(), WorkerError> {
        if let Some(open) = self.open.take_if(|o| o.left == 0) {
            open.file.sync_all()?;
            self.artefacts.push(open.artefact);
        }
        Ok(())
    }
}

/// `VmHWM` of a process that still runs.
fn peak_rss(pid: u32) -> Option<Bytes> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().ok()?;
    Some(Bytes(kib << 10))
}

/// Waits for a worker that ended by itself; kills one that did not do its job.
fn end(child: &mut Child, finished: bool) -> io::Result<ExitStatus> {
    if !finished && child.try_wait()?.is_none() {
        // A worker that died writes its last words before its pipe closes: give it a moment.
        thread::sleep(Duration::from_millis(50));
        let _ = child.kill();
    }
    child.wait()
}

fn read_tail(from: impl Read) -> String {
    let mut kept = Vec::new();
    let mut from = from;
    let mut chunk = [0u8; 4096];
    while let Ok(n @ 1..) = from.read(&mut chunk) {
        kept.extend_from_slice(&chunk[..n]);
        let excess = kept.len().saturating_sub(STDERR_KEPT as usize);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

/// The most telling of the failures seen at once.
fn explain(
    collected: WorkerError,
    fed: Result<(), WorkerError>,
    status: ExitStatus,
    stderr: String,
    limits: &Limits,
) -> WorkerError {
    if let Err(changed @ WorkerError::InputChanged { .. }) = fed {
        return changed;
    }
    match collected {
        WorkerError::Protocol(_) | WorkerError::Io(_)
            if stderr.contains("memory allocation of") =>
        {
            WorkerError::OutOfMemory(limits.memory)
        }
        WorkerError::Protocol(_) | WorkerError::Io(_) if !status.success() => {
            WorkerError::Crashed { status, stderr }
        }
        other => other,
    }
}
