//! Lists one study folder for [`crate::study::arrival`]: names, kinds, lengths, times and the
//! marker. Follows no link and reads no content but the marker's.

use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::content::{self, Bounds, ContentError};
use crate::config::Limits;
use crate::study::arrival::{Entry, Kind, Listing};
use crate::study::marker::{MARKER, Marker};

/// Entries that are read beyond `max_files`: room for the marker, dotfiles and sub-folders.
pub const SPARE_ENTRIES: usize = 256;

/// Bytes of a marker beyond `clinical_bytes` for each file of `max_files`: it may list them all, each
/// with its digest of 64 digits and a name of up to 58 characters.
pub const MARKER_BYTES_PER_FILE: u64 = 128;

/// A listing, perhaps not of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What was read.
    pub listing: Listing,
    /// Whether there are more entries than `max_files` and [`SPARE_ENTRIES`].
    pub cut: bool,
}

/// Lists a folder. Entries that vanish meanwhile are left out.
pub fn list(folder: &Path, limits: &Limits) -> io::Result<Listed> {
    let most = limits.max_files + SPARE_ENTRIES;
    let mut entries = Vec::new();
    let mut marker = Marker::Absent;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entries.len() == most {
            return Ok(Listed { listing: Listing { entries, marker }, cut: true });
        }
        let metadata = match entry.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        if entry.file_name() == MARKER {
            marker = read_marker(&entry.path(), limits);
        }
        entries.push(described(entry.file_name(), &metadata));
    }
    Ok(Listed { listing: Listing { entries, marker }, cut: false })
}

/// What a file type is to us; a link counts as a link, wherever it leads.
pub fn kind(file_type: FileType) -> Kind {
    if file_type.is_file() {
        Kind::File
    } else if file_type.is_dir() {
        Kind::Folder
    } else if file_type.is_symlink() {
        Kind::Symlink
    } else {
        Kind::Other
    }
}

fn described(name: std::ffi::OsString, metadata: &Metadata) -> Entry {
    let modified_ns =
        i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    Entry { name, kind: kind(metadata.file_type()), length: metadata.len(), modified_ns }
}

fn read_marker(path: &Path, limits: &Limits) -> Marker {
    let for_names = (limits.max_files as u64).saturating_mul(MARKER_BYTES_PER_FILE);
    let longest = limits.clinical.0.saturating_add(for_names);
    let bounds = Bounds { longest, keep: longest };
    match content::read(path, bounds) {
        Ok(content) => content.kept.map_or(Marker::Malformed, |bytes| Marker::parse(&bytes)),
        Err(ContentError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Marker::Absent,
        Err(_) => Marker::Malformed,
    }
}
