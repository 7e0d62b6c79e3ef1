//! A file's bytes, unpacked when they are gzip, read once from front to end with every failure
//! named. It checks what the `nifti` crate does not: gzip checksum, length, and that nothing
//! follows.

use std::io::{self, Read};

use flate2::bufread::GzDecoder;

use super::{DecodeError, ImageName};

/// The first bytes of a gzip member (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The unpacked bytes of one file, and how many of them were read.
pub(super) struct Source<'a> {
    image: ImageName,
    stream: Stream<'a>,
    position: u64,
}

enum Stream<'a> {
    Plain(&'a [u8]),
    Gzip(GzDecoder<&'a [u8]>),
}

impl<'a> Source<'a> {
    /// Looks at the first two bytes to see whether the file is packed.
    pub(super) fn new(image: ImageName, bytes: &'a [u8]) -> Self {
        let stream = if bytes.starts_with(&GZIP_MAGIC) {
            Stream::Gzip(GzDecoder::new(bytes))
        } else {
            Stream::Plain(bytes)
        };
        Self { image, stream, position: 0 }
    }

    /// The image this is the file of.
    pub(super) fn image(&self) -> ImageName {
        self.image
    }

    /// True when the file is gzip.
    pub(super) fn is_packed(&self) -> bool {
        matches!(self.stream, Stream::Gzip(_))
    }

    /// Fills `buffer`; `end` is how long the unpacked file should be, for the message.
    pub(super) fn fill(&mut self, buffer: &mut [u8], end: u64) -> Result<(), DecodeError> {
        self.read_exact(buffer).map_err(|e| self.failure(&e, end))
    }

    /// Reads and drops `count` bytes.
    pub(super) fn skip(&mut self, count: u64, end: u64) -> Result<(), DecodeError> {
        let skipped = io::copy(&mut self.by_ref().take(count), &mut io::sink())
            .map_err(|e| self.failure(&e, end))?;
        if skipped == count { Ok(()) } else { Err(self.truncated(end)) }
    }

    /// Checks that the data end here, that the gzip checksum and length hold, and that no second
    /// member and no garbage follows.
    pub(super) fn finish(mut self) -> Result<(), DecodeError> {
        let (image, end) = (self.image, self.position);
        match self.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => {
                return Err(DecodeError::Corrupt {
                    image,
                    found: "more data than the header says",
                });
            }
            Err(error) => return Err(self.failure(&error, end)),
        }
        match &self.stream {
            Stream::Gzip(decoder) if !decoder.get_ref().is_empty() => {
                Err(DecodeError::Corrupt { image, found: "bytes follow the gzip member" })
            }
            _ => Ok(()),
        }
    }

    /// Names a failed read.
    pub(super) fn failure(&self, error: &io::Error, end: u64) -> DecodeError {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            self.truncated(end)
        } else {
            DecodeError::Corrupt { image: self.image, found: "the gzip stream is damaged" }
        }
    }

    fn truncated(&self, expected: u64) -> DecodeError {
        DecodeError::Truncated { image: self.image, found: self.position, expected }
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.stream {
            Stream::Plain(bytes) => bytes.read(buffer)?,
            Stream::Gzip(decoder) => decoder.read(buffer)?,
        };
        self.position += count as u64;
        Ok(count)
    }
}
