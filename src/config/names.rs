//! Names that come from the configuration only. Never builds a part of a topic from a file name, a
//! DICOM tag or a message.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Longest part of a topic, in bytes.
pub const MAX_PART: usize = 32;

/// A site or device id as topics carry it: `[a-z0-9-]{1,32}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartName(heapless::String<MAX_PART>);

/// Text that is no [`PartName`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not 1 to 32 characters of a-z, 0-9 and -")]
pub struct NameError(pub String);

impl PartName {
    /// Checks length and alphabet.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || !text.bytes().all(plain) {
            return Err(NameError(text.to_owned()));
        }
        heapless::String::try_from(text).map(Self).map_err(|_| NameError(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for PartName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// Longest AE title, in characters (PS3.8 table 9-11).
pub const MAX_AE_TITLE: usize = 16;

/// A DICOM application entity title: printable ASCII without backslash. Spaces at either end are
/// padding in DICOM, so it has none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AeTitle(heapless::String<MAX_AE_TITLE>);

/// Text that is no [`AeTitle`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not 1 to 16 printable ASCII characters without \\")]
pub struct AeTitleError(pub String);

impl AeTitle {
    /// Checks length and alphabet.
    pub fn new(text: &str) -> Result<Self, AeTitleError> {
        let printable = |b: u8| (b' '..=b'~').contains(&b) && b != b'\\';
        if text.is_empty() || text.trim_matches(' ') != text || !text.bytes().all(printable) {
            return Err(AeTitleError(text.to_owned()));
        }
        heapless::String::try_from(text).map(Self).map_err(|_| AeTitleError(text.to_owned()))
    }

    /// The title as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_their_alphabet_and_length() {
        assert_eq!(PartName::new("ct-3").unwrap().as_str(), "ct-3");
        assert!(PartName::new(&"a".repeat(32)).is_ok());
        for bad in ["", "A", "a/b", "a+", "#", "a b", "ä", "a\0", &"a".repeat(33)] {
            assert!(PartName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn titles_hold_their_alphabet_and_length() {
        for good in ["A", "CT scanner 1", "x~!:", &"A".repeat(16)] {
            assert_eq!(AeTitle::new(good).unwrap().as_str(), good);
        }
        for bad in ["", " ", " A", "A ", "A\\B", "A\t", "\u{e4}", &"A".repeat(17)] {
            assert!(AeTitle::new(bad).is_err(), "{bad:?}");
        }
    }
}
