//! The folders of received studies in the inbox: made with an "open" marker inside before the daemon
//! can see them, filled by renames, closed by another marker.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::names::{folder_name, key_of};
use super::staging::{Spool, Staging};
use crate::host::clock;
use crate::host::files::{
    create_private_folder, free_bytes, rename_durably, sync_folder, write_durably,
};
use crate::host::inbox;
use crate::seal::wire::Digest;
use crate::study::marker::{ABORTED, MARKER, OPEN, Open, Promise};
use crate::study::reception::{Closing, Files, Kept, StoredFile, StudyKey};
use crate::units::Bytes;

/// Permissions of a marker.
const MODE: u32 = 0o600;

/// Longest marker that is read: an open one that awaits as many files as a study may have.
const MAX_MARKER: u64 = 1 << 20;

/// Why there is no shelf.
#[derive(Debug, Error)]
pub enum ShelfError {
    /// Another receiver uses it.
    #[error("another receiver writes into {inbox}: stop it first", inbox = .0.display())]
    InUse(PathBuf),
    /// The file system refused.
    #[error("cannot prepare {inbox}", inbox = .inbox.display())]
    Io {
        /// The inbox.
        inbox: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The inbox, for one receiver.
pub struct Shelf {
    inbox: PathBuf,
    staging: Staging,
}

impl Shelf {
    /// Takes the inbox; what an earlier receiver spooled and did not acknowledge is removed.
    pub fn open(inbox: &Path) -> Result<Self, ShelfError> {
        let failed = |source| ShelfError::Io { inbox: inbox.to_owned(), source };
        match Staging::open(inbox).map_err(failed)? {
            Some(staging) => Ok(Self { inbox: inbox.to_owned(), staging }),
            None => Err(ShelfError::InUse(inbox.to_owned())),
        }
    }

    /// Free space on its file system.
    pub fn free(&self) -> io::Result<Bytes> {
        free_bytes(&self.inbox)
    }

    /// Begins an object.
    pub fn spool(&self) -> io::Result<Spool> {
        self.staging.spool()
    }

    /// Makes a study's folder; its name.
    pub fn make_folder(&self, key: StudyKey) -> io::Result<String> {
        let prepared = self.staging.new_path();
        create_private_folder(&prepared)?;
        write_durably(&prepared.join(MARKER), OPEN, MODE)?;
        let mut time_ms = clock::now_ms();
        let name = loop {
            let name = folder_name(key, time_ms);
            if self.inbox.join(&name).symlink_metadata().is_err() {
                break name;
            }
            time_ms += 1;
        };
        rename_durably(&prepared, &self.inbox.join(&name))?;
        Ok(name)
    }

    /// Moves a whole object into a study's folder; not durable before [`Self::sync`].
    pub fn place(&self, spool: &mut Spool, folder: &str, name: &str) -> io::Result<()> {
        spool.move_to(&self.inbox.join(folder).join(name))
    }

    /// Makes the names in a study's folder durable.
    pub fn sync(&self, folder: &str) -> io::Result<()> {
        sync_folder(&self.inbox.join(folder))
    }

    /// Writes the last marker of a study. False when its folder is no longer there: the daemon
    /// claimed it at its deadline.
    pub fn close(&self, closing: &Closing) -> io::Result<bool> {
        let Some(folder) = &closing.folder else { return Ok(true) };
        let content = if closing.whole { promise(&closing.files) } else { ABORTED.to_vec() };
        self.mark(folder, &content)
    }

    /// Writes what the next receiver shall know of a study that stays open. False as in
    /// [`Self::close`].
    pub fn leave(&self, folder: &str, left: &Open) -> io::Result<bool> {
        self.mark(folder, &left.to_json())
    }

    fn mark(&self, folder: &str, content: &[u8]) -> io::Result<bool> {
        match write_durably(&self.inbox.join(folder).join(MARKER), content, MODE) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The folders that an earlier receiver left open, with what is in them. What one awaits is
    /// taken from its marker: it is true only until the next object comes.
    pub fn take_up(&self) -> Result<Vec<(StudyKey, Kept)>, ShelfError> {
        let failed = |source| ShelfError::Io { inbox: self.inbox.clone(), source };
        let mut open = Vec::new();
        for entry in fs::read_dir(&self.inbox).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let Some(key) = key_of(&name) else { continue };
            if !entry.file_type().map_err(failed)?.is_dir() {
                continue;
            }
            let Some(left) = open_marker(&entry.path()) else { continue };
            match self.kept(name, left) {
                Ok(Some(kept)) => open.push((key, kept)),
                Ok(None) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        open.sort_unstable_by(|(_, a), (_, b)| a.folder.cmp(&b.folder));
        Ok(open)
    }

    /// `None` when it was claimed meanwhile.
    fn kept(&self, folder: String, left: Open) -> io::Result<Option<Kept>> {
        let files = match files_of(&self.inbox.join(&folder)) {
            Ok(files) => files,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_there = match &left {
            Open::Awaits(_) => self.mark(&folder, OPEN)?,
            Open::Unsaid | Open::Broken => true,
        };
        Ok(is_there.then_some(Kept { folder, files, left }))
    }
}

fn promise(files: &Files) -> Vec<u8> {
    let digest = |(name, file): (&String, &StoredFile)| {
        (name.clone(), Digest::from(file.sha256).to_string())
    };
    let sha256 = files.iter().map(digest).collect();
    Promise { files: Some(files.len() as u64), sha256 }.to_json()
}

fn open_marker(folder: &Path) -> Option<Open> {
    Open::parse(&inbox::read_whole(&folder.join(MARKER), MAX_MARKER)?)
}

/// Every object in a folder: those that were renamed into it were whole and durable before.
fn files_of(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_str().map(str::to_owned);
        if let Some(name) = name.filter(|name| name.ends_with(".dcm"))
            && let Some(file) = inbox::hash(&entry.path())?
        {
            files.insert(name, file);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::receiver::names::file_name;
    use crate::study::marker::Marker;

    const KEY: StudyKey = StudyKey([3; 8]);

    /// The most that `limits.max_files` can be.
    const MAX_FILES: usize = 10_000;

    fn shelf() -> (tempfile::TempDir, Shelf) {
        let inbox = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(inbox.path()).unwrap();
        (inbox, shelf)
    }

    /// Stores an object in a folder.
    fn put(shelf: &Shelf, folder: &str, name: &str, bytes: &[u8]) -> StoredFile {
        let mut spool = shelf.spool().unwrap();
        spool.write(bytes).unwrap();
        let stored = spool.finish().unwrap();
        shelf.place(&mut spool, folder, name).unwrap();
        shelf.sync(folder).unwrap();
        stored
    }

    fn marker(inbox: &Path, folder: &str) -> Marker {
        Marker::parse(&fs::read(inbox.join(folder).join(MARKER)).unwrap())
    }

    #[test]
    fn a_folder_is_open_from_its_first_moment_and_closed_with_a_promise() {
        let (inbox, shelf) = shelf();
        let folder = shelf.make_folder(KEY).unwrap();
        assert_eq!(marker(inbox.path(), &folder), Marker::Open);
        assert_ne!(shelf.make_folder(KEY).unwrap(), folder, "each its own name");
        let files = Files::from([("a.dcm".to_owned(), put(&shelf, &folder, "a.dcm", b"xyz"))]);
        let whole = Closing { folder: Some(folder.clone()), whole: true, files };
        assert!(shelf.close(&whole).unwrap());
        let Marker::Present(promise) = marker(inbox.path(), &folder) else { panic!("no promise") };
        assert_eq!((promise.files, promise.sha256.len()), (Some(1), 1));
        let cut_off = Closing { whole: false, ..whole };
        assert!(shelf.close(&cut_off).unwrap());
        assert_eq!(marker(inbox.path(), &folder), Marker::Aborted);
        fs::remove_dir_all(inbox.path().join(&folder)).unwrap();
        assert!(!shelf.close(&cut_off).unwrap(), "claimed meanwhile");
    }

    #[test]
    fn what_was_left_open_is_found_with_its_digests_and_nothing_else_is() {
        let (inbox, shelf) = shelf();
        let open = shelf.make_folder(KEY).unwrap();
        let stored = put(&shelf, &open, "a.dcm", b"xyz");
        fs::write(inbox.path().join(&open).join("note.txt"), "no object").unwrap();
        let closed = shelf.make_folder(StudyKey([4; 8])).unwrap();
        let closing = Closing { folder: Some(closed), whole: true, files: Files::new() };
        shelf.close(&closing).unwrap();
        fs::create_dir(inbox.path().join("somebody-elses")).unwrap();
        fs::write(inbox.path().join("somebody-elses").join(MARKER), OPEN).unwrap();
        let expected = Files::from([("a.dcm".to_owned(), stored)]);
        let kept = Kept { folder: open, files: expected, left: Open::Unsaid };
        assert_eq!(shelf.take_up().unwrap(), [(KEY, kept)]);
    }

    #[test]
    fn what_a_study_awaits_is_said_once_and_that_it_is_broken_until_it_is_closed() {
        let (inbox, shelf) = shelf();
        let folder = shelf.make_folder(KEY).unwrap();
        let awaits = Open::Awaits(["a.dcm".to_owned()].into());
        assert!(shelf.leave(&folder, &awaits).unwrap());
        let taken = || shelf.take_up().unwrap().into_iter().map(|(_, kept)| kept.left);
        assert_eq!(taken().collect::<Vec<_>>(), [awaits]);
        assert_eq!(taken().collect::<Vec<_>>(), [Open::Unsaid], "as if killed right after");
        assert!(shelf.leave(&folder, &Open::Broken).unwrap());
        assert!(taken().chain(taken()).eq([Open::Broken, Open::Broken]));
        fs::remove_dir_all(inbox.path().join(&folder)).unwrap();
        assert!(!shelf.leave(&folder, &Open::Broken).unwrap(), "claimed meanwhile");
    }

    #[test]
    fn a_marker_that_awaits_as_many_files_as_a_study_may_have_is_read() {
        let (_inbox, shelf) = shelf();
        let folder = shelf.make_folder(KEY).unwrap();
        let names = (0..MAX_FILES).map(|n| file_name(&n.to_string()));
        let awaits = Open::Awaits(names.collect());
        assert!(shelf.leave(&folder, &awaits).unwrap());
        assert_eq!(shelf.take_up().unwrap()[0].1.left, awaits);
    }

    #[test]
    fn a_second_receiver_is_told_so() {
        let (inbox, _shelf) = shelf();
        assert!(matches!(Shelf::open(inbox.path()), Err(ShelfError::InUse(_))));
    }
}
