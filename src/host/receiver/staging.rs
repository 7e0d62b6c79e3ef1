//! The hidden folder of the inbox where objects are spooled until they are whole. Objects that were
//! never acknowledged are all it holds after a crash, so it is emptied at the start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ring::digest::{Context, SHA256};
use rustix::fs::{FlockOperation, flock};

use crate::host::files::{create_private_folder, sync};
use crate::study::reception::StoredFile;

/// Its name in the inbox: a dotfile, which is no study.
const NAME: &str = ".dicom-receiving";

/// Held by the receiver that uses the folder.
const LOCK: &str = "lock";

/// Bytes that are gathered before they are written.
const GATHERED: usize = 64 * 1024;

/// The folder, locked for this process.
pub struct Staging {
    folder: PathBuf,
    next: AtomicU64,
    _lock: File,
}

impl Staging {
    /// Makes, locks and empties the folder. `None` when another receiver holds it.
    pub fn open(inbox: &Path) -> io::Result<Option<Self>> {
        let folder = inbox.join(NAME);
        create_private_folder(&folder)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.custom_flags(libc::O_NOFOLLOW).open(folder.join(LOCK))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name() == LOCK {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Some(Self { folder, next: AtomicU64::new(0), _lock: lock }))
    }

    /// A path that nothing has.
    pub fn new_path(&self) -> PathBuf {
        self.folder.join(format!("{}.part", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// A file that is removed again unless it is taken.
    pub fn spool(&self) -> io::Result<Spool> {
        let path = self.new_path();
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path)?;
        let file = BufWriter::with_capacity(GATHERED, file);
        Ok(Spool { path, file, context: Context::new(&SHA256), length: 0, taken: false })
    }
}

/// An object on its way to the disk.
pub struct Spool {
    path: PathBuf,
    file: BufWriter<File>,
    context: Context,
    length: u64,
    taken: bool,
}

impl Spool {
    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.context.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Makes the bytes durable.
    pub fn finish(&mut self) -> io::Result<StoredFile> {
        self.file.flush()?;
        sync(self.file.get_ref())?;
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.context.clone().finish().as_ref());
        Ok(StoredFile { length: self.length, sha256 })
    }

    /// Moves the file; the names are not durable yet.
    pub fn move_to(&mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.taken = true;
        Ok(())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if !self.taken {
            // What stays is removed at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::cose::sha256;

    fn left(inbox: &Path) -> usize {
        fs::read_dir(inbox.join(NAME)).unwrap().count() - 1
    }

    #[test]
    fn what_is_not_taken_is_removed_at_once_or_at_the_next_start() {
        let inbox = tempfile::tempdir().unwrap();
        let staging = Staging::open(inbox.path()).unwrap().unwrap();
        let mut spool = staging.spool().unwrap();
        spool.write(b"one").unwrap();
        spool.write(b"two").unwrap();
        let stored = spool.finish().unwrap();
        assert_eq!((stored.length, stored.sha256), (6, sha256(b"onetwo").0));
        spool.move_to(&inbox.path().join("whole")).unwrap();
        drop(spool);
        assert_eq!(fs::read(inbox.path().join("whole")).unwrap(), b"onetwo");
        drop(staging.spool().unwrap());
        assert_eq!(left(inbox.path()), 0);
        std::mem::forget(staging.spool().unwrap());
        fs::create_dir(staging.new_path()).unwrap();
        assert_eq!(left(inbox.path()), 2);
        drop(staging);
        let _staging = Staging::open(inbox.path()).unwrap().unwrap();
        assert_eq!(left(inbox.path()), 0);
    }

    #[test]
    fn one_receiver_at_a_time() {
        let inbox = tempfile::tempdir().unwrap();
        let first = Staging::open(inbox.path()).unwrap();
        assert!(first.is_some() && Staging::open(inbox.path()).unwrap().is_none());
        drop(first);
        assert!(Staging::open(inbox.path()).unwrap().is_some());
    }
}
