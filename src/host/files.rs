//! Durable files: what is written here survives a power cut once the call returns.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::units::Bytes;

/// The disk did not confirm a write. Its pages may be dropped already, and a second try may succeed
/// without them: whoever gets this ends, and starts again from what is on the disk.
#[derive(Debug, thiserror::Error)]
#[error("the disk did not confirm what was written")]
struct NotSynced(#[source] io::Error);

/// Whether an error of this module is the disk's refusal to confirm.
pub fn is_sync_failure(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<NotSynced>())
}

/// Makes a file's bytes durable.
pub fn sync(file: &File) -> io::Result<()> {
    file.sync_all().map_err(|error| io::Error::new(error.kind(), NotSynced(error)))
}

/// Writes `bytes` to `path`: temporary file in the same folder, fsync, rename, fsync of the folder.
/// An existing file is replaced whole or not at all. `mode` is the new file's permission bits.
pub fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = folder_of(path);
    let name = path.file_name().ok_or_else(|| io::Error::other("a path without a file name"))?;
    let temporary = folder.join(temporary_name(name));
    let written = write_new(&temporary, bytes, mode).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first failure is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_folder(folder)
}

/// The folder a path names its file in; the working directory for a bare name.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Hidden, and no other writer's: two that write the same file at once must not mix.
fn temporary_name(name: &OsStr) -> OsString {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.{number}.tmp", std::process::id()));
    temporary
}

/// Replaces what a process of the same id left behind before a crash.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode).custom_flags(libc::O_NOFOLLOW);
    let mut file = options.open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    sync(&file)
}

/// Makes the names in a folder durable: what was created in it, renamed or removed.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    sync(&File::open(folder)?)
}

/// Moves `from` to `to` on the same file system; both folders are durable when it returns.
pub fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    for folder in [to.parent(), from.parent()].into_iter().flatten() {
        sync_folder(folder)?;
    }
    Ok(())
}

/// Creates a folder for this user alone, with its parents; one that exists is left as it is.
pub fn create_private_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Bytes that are free for this user on the file system of `path`.
pub fn free_bytes(path: &Path) -> io::Result<Bytes> {
    let free = rustix::fs::statvfs(path)?;
    Ok(Bytes(free.f_bavail.saturating_mul(free.f_frsize)))
}

/// The folders of a state directory (DESIGN section 4).
#[derive(Debug, Clone)]
pub struct StateDir {
    root: PathBuf,
}

impl StateDir {
    /// Names the folders below `root`, and creates what is missing, mode 0700.
    pub fn create(root: &Path) -> io::Result<Self> {
        let state = Self { root: root.to_owned() };
        let folders = [state.inbox(), state.work(), state.done(), state.failed(), state.journal()];
        for folder in folders.into_iter().chain([state.keys(), state.models()]) {
            create_private_folder(&folder)?;
        }
        sync_folder(root)?;
        Ok(state)
    }

    /// The state directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Dropped by the scanner side, one folder per study.
    pub fn inbox(&self) -> PathBuf {
        self.root.join("inbox")
    }

    /// Claimed studies, `work/<job>/`.
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// Studies with a result.
    pub fn done(&self) -> PathBuf {
        self.root.join("done")
    }

    /// Studies that could not be processed.
    pub fn failed(&self) -> PathBuf {
        self.root.join("failed")
    }

    /// The journal's segments.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// Device key and trust store.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// Installed packages.
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_durable_write_replaces_whole_files_and_leaves_no_temporary() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_durably(&path, b"first", 0o600).unwrap();
        write_durably(&path, b"2nd", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2nd");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_temporary() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::create_dir_all(taken.join("full")).unwrap();
        assert!(write_durably(&taken, b"new", 0o600).is_err());
        assert!(taken.join("full").is_dir());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_durably(Path::new("/"), b"new", 0o600).is_err());
    }

    #[test]
    fn writers_of_one_file_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let texts: Vec<Vec<u8>> = (b'a'..=b'h').map(|letter| vec![letter; 100_000]).collect();
        std::thread::scope(|scope| {
            for text in &texts {
                scope.spawn(|| write_durably(&path, text, 0o600).unwrap());
            }
        });
        assert!(texts.contains(&fs::read(&path).unwrap()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_bare_name_is_in_the_working_directory() {
        assert_eq!(folder_of(Path::new("name")), Path::new("."));
        assert_eq!(folder_of(Path::new("a/name")), Path::new("a"));
    }

    #[test]
    fn a_state_directory_is_private_and_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("state");
        for _ in 0..2 {
            let state = StateDir::create(&root).unwrap();
            assert_eq!(fs::metadata(state.keys()).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }
}
