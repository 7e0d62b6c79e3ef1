//! Frames between daemon and worker: kind, length, body. Neither side trusts the other's lengths.

use std::io::{self, Read, Write};

use thiserror::Error;

/// The longest body of one frame, in bytes; longer content travels as several [`Kind::Chunk`]s.
pub const MAX_BODY: usize = 1 << 20;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Starts a named content: 8 bytes little-endian total length, then the name in UTF-8.
    Begin = 1,
    /// The next bytes of the content begun last.
    Chunk = 2,
    /// The daemon has sent everything: start.
    Go = 3,
    /// Worker: one byte stage number, one byte percent.
    Progress = 16,
    /// Worker: the encoded draft of the result; nothing follows it.
    Draft = 17,
    /// Worker: it caught a panic or cannot go on; the body is a `failure`.
    Failed = 18,
    /// Worker: the encoded posture of its sandbox; before anything else.
    Sandbox = 19,
    /// Worker: the report of a self-test that was passed; nothing follows it.
    Passed = 20,
    /// Worker: whose images they are, as the images say, in UTF-8. The daemon makes a pseudonym of it
    /// and keeps nothing else.
    Subject = 21,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        let all = [
            Self::Begin,
            Self::Chunk,
            Self::Go,
            Self::Progress,
            Self::Draft,
            Self::Failed,
            Self::Sandbox,
            Self::Passed,
            Self::Subject,
        ];
        all.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// One frame as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub kind: Kind,
    /// At most [`MAX_BODY`] bytes.
    pub body: Vec<u8>,
}

/// Why a stream of frames cannot be read on.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The pipe broke in the middle of a frame.
    #[error("reading a frame of the worker's pipe")]
    Io(#[from] io::Error),
    /// Not a kind this version knows.
    #[error("a frame of unknown kind {0}")]
    UnknownKind(u8),
    /// Longer than any frame may be.
    #[error("a frame of {found} bytes, at most {MAX_BODY} are allowed")]
    TooLong {
        /// The length announced.
        found: usize,
    },
    /// A `Begin` without length or name, or a chunk beyond the announced length.
    #[error("a frame out of order: {0}")]
    OutOfOrder(&'static str),
}

/// Reads the next frame; `None` at a clean end of the stream.
pub fn read_frame(from: &mut impl Read) -> Result<Option<Frame>, FrameError> {
    let mut head = [0u8; 5];
    if !read_head(from, &mut head)? {
        return Ok(None);
    }
    let kind = Kind::from_number(head[0]).ok_or(FrameError::UnknownKind(head[0]))?;
    let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length > MAX_BODY {
        return Err(FrameError::TooLong { found: length });
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some(Frame { kind, body }))
}

/// Fills `head`; false when the stream ended before its first byte.
fn read_head(from: &mut impl Read, head: &mut [u8; 5]) -> Result<bool, FrameError> {
    loop {
        match from.read(&mut head[..1]) {
            Ok(0) => return Ok(false),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    from.read_exact(&mut head[1..])?;
    Ok(true)
}

/// Writes one frame and flushes nothing. Panics when `body` is longer than [`MAX_BODY`].
pub fn write_frame(to: &mut impl Write, kind: Kind, body: &[u8]) -> io::Result<()> {
    assert!(body.len() <= MAX_BODY, "the caller splits content into chunks");
    to.write_all(&[kind as u8])?;
    to.write_all(&(body.len() as u32).to_le_bytes())?;
    to.write_all(body)
}

/// Writes a named content of `length` bytes read from `from`, as one `Begin` and its chunks.
/// Fails with `UnexpectedEof` when `from` holds fewer bytes; further bytes are left unread.
pub fn write_content(
    to: &mut impl Write,
    name: &str,
    length: u64,
    from: &mut impl Read,
) -> io::Result<()> {
    let mut begin = length.to_le_bytes().to_vec();
    begin.extend_from_slice(name.as_bytes());
    write_frame(to, Kind::Begin, &begin)?;
    let mut left = length;
    let mut chunk = vec![0; MAX_BODY];
    while left > 0 {
        let take = left.min(MAX_BODY as u64) as usize;
        from.read_exact(&mut chunk[..take])?;
        write_frame(to, Kind::Chunk, &chunk[..take])?;
        left -= take as u64;
    }
    Ok(())
}

/// The length and name in the body of a [`Kind::Begin`] frame.
pub fn parse_begin(body: &[u8]) -> Result<(u64, &str), FrameError> {
    let (length, name) =
        body.split_at_checked(8).ok_or(FrameError::OutOfOrder("a begin frame without a length"))?;
    let length = length.try_into().map_err(|_| FrameError::OutOfOrder("a length of 8 bytes"))?;
    let name = std::str::from_utf8(name)
        .map_err(|_| FrameError::OutOfOrder("a content's name that is not UTF-8"))?;
    Ok((u64::from_le_bytes(length), name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_are_limited_on_both_sides() {
        let mut wire = Vec::new();
        write_frame(&mut wire, Kind::Chunk, &vec![7; MAX_BODY]).unwrap();
        let frame = read_frame(&mut wire.as_slice()).unwrap().unwrap();
        assert_eq!(frame.body.len(), MAX_BODY);
        let mut over = vec![Kind::Chunk as u8];
        over.extend_from_slice(&(MAX_BODY as u32 + 1).to_le_bytes());
        assert!(matches!(read_frame(&mut over.as_slice()), Err(FrameError::TooLong { .. })));
    }

    #[test]
    fn a_content_survives_being_split() {
        let content: Vec<u8> = (0..MAX_BODY + 17).map(|i| i as u8).collect();
        let mut wire = Vec::new();
        write_content(&mut wire, "portal", content.len() as u64, &mut content.as_slice()).unwrap();
        let mut wire = wire.as_slice();
        let begin = read_frame(&mut wire).unwrap().unwrap();
        assert_eq!(parse_begin(&begin.body).unwrap(), (content.len() as u64, "portal"));
        let mut back = Vec::new();
        while let Some(frame) = read_frame(&mut wire).unwrap() {
            assert_eq!(frame.kind, Kind::Chunk);
            back.extend(frame.body);
        }
        assert_eq!(back, content);
    }

    #[test]
    fn a_content_shorter_than_announced_is_an_error() {
        let error = write_content(&mut Vec::new(), "x", 3, &mut [1u8, 2].as_slice()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut bytes = bytes.as_slice();
            while let Ok(Some(frame)) = read_frame(&mut bytes) {
                let _ = parse_begin(&frame.body);
            }
        }
    }
}
