//! The subscriber's memory on disk: which messages of which device were seen. Replaced as a whole, by
//! rename, so that a restart neither forgets a gap nor takes an old message for a new one.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use thiserror::Error;

use crate::host::files::write_durably;
use crate::seal::cbor::CborError;
use crate::seal::chain::{Chain, MAX_SNAPSHOT, SnapshotError};

/// Why the memory cannot be read or written.
#[derive(Debug, Error)]
pub enum StateError {
    /// The disk failed.
    #[error("cannot {doing} the subscriber's state {path}")]
    Io {
        /// `read` or `write`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there and is not what we wrote. Starting anew would hide a gap or a fork, so
    /// that is left to a person.
    #[error("the subscriber's state {path} is damaged: move it away to start anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SnapshotError,
    },
    /// The state cannot be encoded.
    #[error("the subscriber's state cannot be encoded")]
    Encode(#[source] CborError),
}

/// The file that holds a [`Chain`].
#[derive(Debug, Clone)]
pub struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// At this path; the folder must exist.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// What was stored; an empty chain when there is no file yet.
    pub fn load(&self) -> Result<Chain, StateError> {
        let failed = |source| StateError::Io { doing: "read", path: self.path.clone(), source };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Chain::default()),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_SNAPSHOT as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        Chain::restore(&bytes)
            .map_err(|source| StateError::Damaged { path: self.path.clone(), source })
    }

    /// Replaces what is stored, durably.
    pub fn store(&self, chain: &Chain) -> Result<(), StateError> {
        let bytes = chain.snapshot().map_err(StateError::Encode)?;
        write_durably(&self.path, &bytes, 0o600).map_err(|source| StateError::Io {
            doing: "write",
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::seal::chain::{Link, Range, Verdict};
    use crate::seal::wire::atoms::Octets;
    use crate::seal::wire::{Digest, Slug};

    fn link(seq: u64) -> Link {
        let slug = |text| Slug::new(text).unwrap();
        let digest = |seq: u64| if seq == 0 { Digest::ZERO } else { Octets([seq as u8; 32]) };
        Link {
            source: (slug("demo"), slug("box-1")),
            epoch: Octets([1; 8]),
            seq,
            prev: digest(seq - 1),
            digest: digest(seq),
        }
    }

    #[test]
    fn a_restart_remembers_what_was_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path().join("state"));
        let mut chain = file.load().unwrap();
        assert_eq!(chain.observe(&link(1)).verdict, Verdict::New);
        file.store(&chain).unwrap();
        let mut chain = file.load().unwrap();
        assert_eq!(chain.observe(&link(1)).verdict, Verdict::Duplicate);
        assert_eq!(chain.observe(&link(3)).verdict, Verdict::Gap(Range { from: 2, to: 2 }));
        file.store(&chain).unwrap();
        assert_eq!(file.load().unwrap().observe(&link(2)).verdict, Verdict::Filled);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_damaged_file_is_not_taken_for_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let file = StateFile::new(path.clone());
        file.store(&Chain::default()).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes.pop();
        fs::write(&path, bytes).unwrap();
        assert!(matches!(file.load(), Err(StateError::Damaged { .. })));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(file.load(), Err(StateError::Io { doing: "read", .. })));
    }
}
