//! Real data that lies beside the repository, and what is said where something a test needs is missing.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The folder, unless `HCC_EDGE_DATA` names another.
const DATA: &str = "../shared/data";

/// A file or folder of the real data; where it is not, that is announced.
pub fn data(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("HCC_EDGE_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(DATA), PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    let why = format!("there is nothing at {}; HCC_EDGE_DATA names the folder", path.display());
    not_checked(&format!("tests with the real data {name}"), &why);
    None
}

/// Announces what is not checked on this machine, in the words of `scripts/lib/steps.sh`, and for the
/// closing summary of `scripts/test`, which names its file in `HCC_EDGE_NOT_CHECKED`.
pub fn not_checked(what: &str, why: &str) {
    let line = format!("NOT CHECKED HERE: {what} ({why})\n");
    print!("{line}");
    if let Some(summary) = std::env::var_os("HCC_EDGE_NOT_CHECKED") {
        let mut file = fs::File::options().append(true).create(true).open(summary).unwrap();
        // In one write: many tests append to the file at once.
        file.write_all(line.as_bytes()).unwrap();
    }
}
