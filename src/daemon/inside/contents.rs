//! The contents sent before `Go`, read under limits of number and bytes.

use std::collections::BTreeMap;
use std::io::Read;

use thiserror::Error;

use crate::host::worker::frame::{FrameError, Kind, parse_begin, read_frame};
use crate::units::Bytes;

/// The most contents of one worker: six packages of 65 files, the order, and the most files of a
/// study that the configuration allows (`limits.max_files`).
pub(super) const MAX_CONTENTS: usize = 400 + 10_000;
/// The longest name of a content, in bytes.
const MAX_NAME: usize = 192;

/// Named contents, whole.
#[derive(Debug, Default)]
pub(super) struct Contents {
    by_name: BTreeMap<String, Vec<u8>>,
}

/// Why the contents could not be read: the daemon's fault, or there are too many of them.
#[derive(Debug, Error)]
pub(super) enum ContentsError {
    /// The pipe itself.
    #[error("reading the worker's contents")]
    Frame(#[from] FrameError),
    /// The pipe ended before `Go`.
    #[error("the contents ended before the start")]
    Ended,
    /// Frames in an order that no daemon of ours sends.
    #[error("the contents are out of order: {0}")]
    OutOfOrder(&'static str),
    /// More than the worker may hold.
    #[error(
        "`{name}` of {found} bytes does not fit beside what was sent before, the limit is {limit}"
    )]
    TooLarge {
        /// The content.
        name: String,
        /// Its length.
        found: u64,
        /// For all contents together.
        limit: Bytes,
    },
}

impl Contents {
    /// Reads until `Go`; all contents together hold at most `limit`.
    pub(super) fn read(from: &mut impl Read, limit: Bytes) -> Result<Self, ContentsError> {
        let mut contents = Self::default();
        let mut left = limit.0;
        loop {
            let frame = read_frame(from)?.ok_or(ContentsError::Ended)?;
            match frame.kind {
                Kind::Go => return Ok(contents),
                Kind::Begin => {
                    let (length, name) = parse_begin(&frame.body)?;
                    let refused =
                        || ContentsError::TooLarge { name: name.to_owned(), found: length, limit };
                    left = left.checked_sub(length).ok_or_else(refused)?;
                    let bytes = whole(from, length).map_err(|e| e.unwrap_or_else(refused))?;
                    contents.insert(name, bytes)?;
                }
                _ => return Err(ContentsError::OutOfOrder("neither a content nor the start")),
            }
        }
    }

    fn insert(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), ContentsError> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(ContentsError::OutOfOrder("a name of no or too many bytes"));
        }
        if self.by_name.len() == MAX_CONTENTS {
            return Err(ContentsError::OutOfOrder("too many contents"));
        }
        if self.by_name.insert(name.to_owned(), bytes).is_some() {
            return Err(ContentsError::OutOfOrder("two contents of one name"));
        }
        Ok(())
    }

    /// Removes one content.
    pub(super) fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        self.by_name.remove(name)
    }

    /// Removes every content whose name starts with `folder`, which is cut off.
    pub(super) fn take_below(&mut self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let below = self.by_name.extract_if(.., |name, _| name.starts_with(folder));
        below.map(|(name, bytes)| (name[folder.len()..].to_owned(), bytes)).collect()
    }
}

/// The chunks of one content. `Err(None)`: there is no room for it.
fn whole(from: &mut impl Read, length: u64) -> Result<Vec<u8>, Option<ContentsError>> {
    let length = usize::try_from(length).map_err(|_| None)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| None)?;
    while bytes.len() < length {
        let frame = read_frame(from).map_err(ContentsError::from)?.ok_or(ContentsError::Ended)?;
        let fits = frame.kind == Kind::Chunk && frame.body.len() <= length - bytes.len();
        if !fits || frame.body.is_empty() {
            return Err(Some(ContentsError::OutOfOrder("a content without its bytes")));
        }
        bytes.extend_from_slice(&frame.body);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::worker::frame::{write_content, write_frame};

    const LIMIT: Bytes = Bytes(64);

    fn wire(contents: &[(&str, &[u8])]) -> Vec<u8> {
        let mut wire = Vec::new();
        for (name, bytes) in contents {
            write_content(&mut wire, name, bytes.len() as u64, &mut &**bytes).unwrap();
        }
        write_frame(&mut wire, Kind::Go, &[]).unwrap();
        wire
    }

    #[test]
    fn contents_are_read_by_name_and_leave_by_folder() {
        let wire = wire(&[("order", b"{}"), ("package/pmn/a", b"1"), ("package/pmn/b/c", b"")]);
        let mut contents = Contents::read(&mut wire.as_slice(), LIMIT).unwrap();
        assert_eq!(contents.take("order").as_deref(), Some(&b"{}"[..]));
        let package = contents.take_below("package/pmn/");
        assert_eq!(package.keys().collect::<Vec<_>>(), ["a", "b/c"]);
        assert!(contents.by_name.is_empty());
    }

    #[test]
    fn bytes_and_numbers_are_limited_on_both_sides() {
        let fits = wire(&[("a", &[0; 32]), ("b", &[0; 32])]);
        assert!(Contents::read(&mut fits.as_slice(), LIMIT).is_ok());
        let over = wire(&[("a", &[0; 32]), ("b", &[0; 33])]);
        let refused = Contents::read(&mut over.as_slice(), LIMIT);
        assert!(matches!(refused, Err(ContentsError::TooLarge { found: 33, .. })));
        let names: Vec<String> = (0..=MAX_CONTENTS).map(|n| n.to_string()).collect();
        let many: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), &b""[..])).collect();
        assert!(Contents::read(&mut wire(&many[1..]).as_slice(), LIMIT).is_ok());
        assert!(Contents::read(&mut wire(&many).as_slice(), LIMIT).is_err());
    }

    #[test]
    fn what_no_daemon_sends_is_refused() {
        let whole = wire(&[("a", b"123")]);
        for cut in 0..whole.len() {
            assert!(Contents::read(&mut &whole[..cut], LIMIT).is_err(), "cut at {cut}");
        }
        assert!(Contents::read(&mut wire(&[("a", b""), ("a", b"")]).as_slice(), LIMIT).is_err());
        assert!(Contents::read(&mut wire(&[("", b"")]).as_slice(), LIMIT).is_err());
        let mut strange = Vec::new();
        write_frame(&mut strange, Kind::Draft, &[]).unwrap();
        assert!(Contents::read(&mut strange.as_slice(), LIMIT).is_err());
        let mut starved = Vec::new();
        write_frame(&mut starved, Kind::Begin, &[&1u64.to_le_bytes()[..], b"a"].concat()).unwrap();
        write_frame(&mut starved, Kind::Chunk, &[]).unwrap();
        assert!(Contents::read(&mut starved.as_slice(), LIMIT).is_err(), "an endless content");
    }
}
