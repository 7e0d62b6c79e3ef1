//! Durable files: what is written here survives a power cut once the call returns.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::units::Bytes;

/// Writes `bytes` to `path`: temporary file in the same folder, fsync, rename, fsync of the folder.
/// An existing file is replaced whole or not at all. `mode` is the new file's permission bits.
pub fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::other("a file without a folder"))?;
    let name = path.file_name().ok_or_else(|| io::Error::other("a path without a file name"))?;
    let mut temporary_name = name.to_owned();
    temporary_name.push(".tmp");
    let temporary = folder.join(temporary_name);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, path)?;
    sync_folder(folder)
}

/// Makes the names in a folder durable: what was created in it, renamed or removed.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
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
    fn a_state_directory_is_private_and_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("state");
        for _ in 0..2 {
            let state = StateDir::create(&root).unwrap();
            assert_eq!(fs::metadata(state.keys()).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }
}
