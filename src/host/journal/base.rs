//! Where a pruned journal begins: `base.cose`, the checkpoint that the oldest segment starts with.
//! It is written before the segments in front of it are deleted, so that deleted segments can be
//! told from lost ones.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::store::JournalError;
use crate::host::files::write_durably;
use crate::seal::trust::TrustStore;
use crate::seal::verify::verify_checkpoint;
use crate::seal::wire::{CheckpointMessage, MAX_MESSAGE};

pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("base.cose")
}

/// What the base says; `None` while nothing was pruned.
pub(super) fn read(
    folder: &Path,
    trust: &TrustStore,
) -> Result<Option<CheckpointMessage>, JournalError> {
    let path = path(folder);
    let length = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(JournalError::Io { doing: "reading the base", path, source }),
    };
    if length > MAX_MESSAGE as u64 {
        let why = format!("the base has {length} bytes, at most {MAX_MESSAGE} are possible");
        return Err(JournalError::Damaged { path, offset: 0, why });
    }
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(JournalError::Io { doing: "reading the base", path, source }),
    };
    verify_checkpoint(&bytes, trust).map(Some).map_err(|refusal| JournalError::Damaged {
        path,
        offset: 0,
        why: format!("the base does not verify: {refusal}"),
    })
}

/// Writes the base durably.
pub(super) fn write(folder: &Path, cose: &[u8]) -> Result<(), JournalError> {
    let path = path(folder);
    write_durably(&path, cose, 0o600).map_err(|source| JournalError::Io {
        doing: "writing the base",
        path,
        source,
    })
}
