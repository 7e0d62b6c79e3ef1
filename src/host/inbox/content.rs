//! Reads one dropped file: a plain file only, hashed while it is read, never beyond its bound.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ring::digest::{Context, SHA256};
use rustix::fs::{Mode, OFlags};
use thiserror::Error;

use crate::seal::wire::Digest;
use crate::study::reception::StoredFile;

/// So many bytes tell what kind of file it is.
pub const HEAD: usize = 256;
/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// What was read of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// SHA-256 of all its bytes.
    pub sha256: Digest,
    /// Number of bytes.
    pub length: u64,
    /// The first bytes, at most [`HEAD`].
    pub head: Vec<u8>,
    /// The bytes themselves, when there are at most as many as asked for.
    pub kept: Option<Vec<u8>>,
}

/// Bounds of one read, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The longest file that is read to its end.
    pub longest: u64,
    /// The longest content that is kept.
    pub keep: u64,
}

/// Why a file was not read. The messages never name it: they may travel.
#[derive(Debug, Error)]
pub enum ContentError {
    /// A link, pipe, socket, device or folder.
    #[error("not a plain file")]
    NotPlain,
    /// More bytes than it may have.
    #[error("a file of more than {0} bytes")]
    TooLong(u64),
    /// The system refused.
    #[error("{}", .0.kind())]
    Io(io::Error),
}

impl From<io::Error> for ContentError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ELOOP | libc::ENXIO | libc::ENOTDIR) => Self::NotPlain,
            _ => Self::Io(error),
        }
    }
}

/// Reads and hashes a file. Neither a link at the end of `path` nor a pipe without a writer can
/// lead it elsewhere or hold it up.
pub fn read(path: &Path, bounds: Bounds) -> Result<Content, ContentError> {
    let opened = rustix::fs::open(path, FLAGS, Mode::empty()).map_err(io::Error::from)?;
    read_opened(File::from(opened), bounds)
}

/// As [`read`], of the file `name` in or below `folder`: no link on the way is followed either.
pub fn read_below(folder: &Path, name: &OsStr, bounds: Bounds) -> Result<Content, ContentError> {
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(folder, step, Mode::empty()).map_err(io::Error::from)?;
    let mut at = opened;
    let mut parts = name.as_encoded_bytes().split(|byte| *byte == b'/').peekable();
    while let Some(part) = parts.next() {
        let flags = if parts.peek().is_some() { step } else { FLAGS };
        at = rustix::fs::openat(&at, part, flags, Mode::empty()).map_err(io::Error::from)?;
    }
    read_opened(File::from(at), bounds)
}

/// How a file is opened.
const FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

fn read_opened(mut file: File, bounds: Bounds) -> Result<Content, ContentError> {
    if !file.metadata()?.is_file() {
        return Err(ContentError::NotPlain);
    }
    read_bounded(&mut file, bounds)
}

/// The content of a plain file of at most `longest` bytes; `None` for anything else.
pub fn read_whole(path: &Path, longest: u64) -> Option<Vec<u8>> {
    read(path, Bounds { longest, keep: longest }).ok()?.kept
}

/// Length and digest of a plain file; `None` for a link, a pipe or a folder.
pub fn hash(path: &Path) -> io::Result<Option<StoredFile>> {
    match read(path, Bounds { longest: u64::MAX, keep: 0 }) {
        Ok(Content { sha256, length, .. }) => Ok(Some(StoredFile { length, sha256: sha256.0 })),
        Err(ContentError::NotPlain | ContentError::TooLong(_)) => Ok(None),
        Err(ContentError::Io(error)) => Err(error),
    }
}

fn read_bounded(from: &mut impl Read, bounds: Bounds) -> Result<Content, ContentError> {
    let mut context = Context::new(&SHA256);
    let mut kept = Some(Vec::new());
    let mut head = Vec::new();
    let mut length = 0;
    let mut chunk = vec![0; bounds.longest.saturating_add(1).min(CHUNK as u64) as usize];
    loop {
        let n = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        length += n as u64;
        if length > bounds.longest {
            return Err(ContentError::TooLong(bounds.longest));
        }
        context.update(&chunk[..n]);
        head.extend_from_slice(&chunk[..n.min(HEAD - head.len())]);
        kept = kept.filter(|_| length <= bounds.keep);
        if let Some(kept) = &mut kept {
            kept.extend_from_slice(&chunk[..n]);
        }
    }
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(context.finish().as_ref());
    Ok(Content { sha256: Digest::from(sha256), length, head, kept })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::cose::sha256;

    #[test]
    fn no_link_on_the_way_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("a/b")).unwrap();
        std::fs::write(path("a/b/file"), b"x").unwrap();
        std::os::unix::fs::symlink(path("a"), path("link")).unwrap();
        std::os::unix::fs::symlink(path("a/b/file"), path("a/end")).unwrap();
        let bounds = Bounds { longest: 1, keep: 1 };
        let read = |name: &str| read_below(folder.path(), OsStr::new(name), bounds);
        assert_eq!(read("a/b/file").unwrap().kept.as_deref(), Some(&b"x"[..]));
        for name in ["link/b/file", "a/end", "a/b", "link"] {
            assert!(matches!(read(name), Err(ContentError::NotPlain)), "{name}");
        }
        assert!(matches!(read("a/c/file"), Err(ContentError::Io(_))));
    }

    #[test]
    fn both_bounds_hold_on_both_sides() {
        let bytes = vec![7; CHUNK + 1];
        let length = bytes.len() as u64;
        let read = |longest, keep| read_bounded(&mut &bytes[..], Bounds { longest, keep });
        let whole = read(length, length).unwrap();
        assert_eq!((whole.sha256, whole.length), (sha256(&bytes), length));
        assert_eq!(whole.kept.as_deref(), Some(&bytes[..]));
        assert_eq!(whole.head, &bytes[..HEAD]);
        assert_eq!(read(length, length - 1).unwrap().kept, None);
        assert!(matches!(read(length - 1, 0), Err(ContentError::TooLong(_))));
        let empty = read_bounded(&mut &[][..], Bounds { longest: 0, keep: 0 }).unwrap();
        assert_eq!((empty.sha256, empty.kept), (sha256(b""), Some(Vec::new())));
    }
}
