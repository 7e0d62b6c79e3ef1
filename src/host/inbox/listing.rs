//! Lists one study folder for [`crate::study::arrival`]: names, kinds, lengths, times and the
//! marker. Exports often have a folder per series: folders are looked into, some levels deep. Follows
//! no link and reads no content but the marker's.

use std::ffi::OsStr;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::content::{self, Bounds, ContentError};
use crate::config::Limits;
use crate::study::arrival::{Entry, Kind, Listing};
use crate::study::files::is_ignored;
use crate::study::marker::{MARKER, Marker};

/// Entries that are read beyond `max_files`: room for the marker, dotfiles and sub-folders.
pub const SPARE_ENTRIES: usize = 256;

/// Bytes of a marker beyond `clinical_bytes` for each file of `max_files`: it may list them all, each
/// with its digest of 64 digits and a name of up to 58 characters.
pub const MARKER_BYTES_PER_FILE: u64 = 128;

/// Folders within folders that are looked into: those of a DICOM medium have up to four.
pub const MOST_LEVELS: usize = 5;

/// A listing, perhaps not of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What was read.
    pub listing: Listing,
    /// Whether there are more entries than `max_files` and [`SPARE_ENTRIES`].
    pub cut: bool,
}

/// Lists a folder and those within it; what lies deeper is named by its path. Entries that vanish
/// meanwhile are left out.
pub fn list(folder: &Path, limits: &Limits) -> io::Result<Listed> {
    let mut found =
        Found { most: limits.max_files + SPARE_ENTRIES, entries: Vec::new(), cut: false };
    let mut marker = Marker::Absent;
    found.list(folder, OsStr::new(""), 0)?;
    if found.entries.iter().any(|entry| entry.name == MARKER) {
        marker = read_marker(&folder.join(MARKER), limits);
    }
    let Found { entries, cut, .. } = found;
    Ok(Listed { listing: Listing { entries, marker }, cut })
}

/// The entries so far.
struct Found {
    most: usize,
    entries: Vec<Entry>,
    cut: bool,
}

impl Found {
    /// Adds the entries of `folder`, whose names get `prefix` before them.
    fn list(&mut self, folder: &Path, prefix: &OsStr, level: usize) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if self.entries.len() == self.most {
                self.cut = true;
                return Ok(());
            }
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let mut name = prefix.to_owned();
            name.push(entry.file_name());
            let enters = metadata.is_dir() && level < MOST_LEVELS && !is_ignored(&name);
            self.entries.push(described(name.clone(), &metadata));
            if enters {
                name.push("/");
                match self.list(&entry.path(), &name, level + 1) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    other => other?,
                }
            }
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_files: 3, ..crate::host::inbox::fixtures::LIMITS };

    fn names(folder: &Path) -> (Vec<String>, bool) {
        let Listed { listing, cut } = list(folder, &LIMITS).unwrap();
        let counted = listing.counted().map(|entry| entry.name.to_str().unwrap().to_owned());
        let mut names: Vec<String> = counted.collect();
        names.sort();
        (names, cut)
    }

    #[test]
    fn folders_are_looked_into_down_to_a_level() {
        let study = tempfile::tempdir().unwrap();
        let path = |name: &str| study.path().join(name);
        let deepest = "1/2/3/4/5";
        fs::create_dir_all(path(&format!("{deepest}/6"))).unwrap();
        fs::create_dir_all(path(".hidden")).unwrap();
        fs::create_dir_all(path("series.part")).unwrap();
        for name in ["a", "1/b", "1/2/3/4/5/c", "1/2/3/4/5/6/d", ".hidden/e", "series.part/f"] {
            fs::write(path(name), b"").unwrap();
        }
        std::os::unix::fs::symlink(path("1"), path("link")).unwrap();
        let expected = ["1/2/3/4/5/c", "1/b", "a", "link"].map(str::to_owned);
        assert_eq!(names(study.path()), (expected.into(), false));
        let listed = list(study.path(), &LIMITS).unwrap().listing;
        assert!(listed.entries.iter().any(|e| e.name == "1/2/3/4/5/6" && e.kind == Kind::Folder));
    }

    #[test]
    fn a_marker_counts_at_the_top_only_and_so_many_entries_are_read() {
        let study = tempfile::tempdir().unwrap();
        fs::create_dir(study.path().join("series")).unwrap();
        fs::write(study.path().join("series/.done"), b"").unwrap();
        assert_eq!(list(study.path(), &LIMITS).unwrap().listing.marker, Marker::Absent);
        for n in 2..LIMITS.max_files + SPARE_ENTRIES {
            fs::write(study.path().join(format!("series/{n}")), b"").unwrap();
        }
        assert!(!names(study.path()).1);
        fs::write(study.path().join("one more"), b"").unwrap();
        assert!(names(study.path()).1);
    }
}
