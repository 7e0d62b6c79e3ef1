//! Bounded building blocks of the wire types: byte strings, texts, ids and lists that cannot
//! exceed their limit, neither when built nor when decoded.

use std::fmt;
use std::ops::Deref;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteArray;
use thiserror::Error;

use crate::config::{MAX_PART, PartName};

/// A value that does not fit its place in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BoundError {
    /// Too many bytes of text.
    #[error("text of {found} bytes, at most {limit} fit")]
    Text {
        /// Bytes found.
        found: usize,
        /// Bytes that fit.
        limit: usize,
    },
    /// A control character in a text.
    #[error("text with a control character")]
    Control,
    /// Not `[a-z0-9-]{1,32}`.
    #[error("an id must be 1 to 32 characters of a-z, 0-9 and -")]
    Slug,
    /// Too many list items.
    #[error("list of {found} items, at most {limit} fit")]
    List {
        /// Items found.
        found: usize,
        /// Items that fit.
        limit: usize,
    },
}

/// Exactly `N` bytes: a byte string in CBOR, lower-case hexadecimal in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Octets<const N: usize>(pub [u8; N]);

/// A SHA-256.
pub type Digest = Octets<32>;
/// A key id or a result id: the first 16 bytes of a SHA-256.
pub type Id16 = Octets<16>;
/// The epoch of a state directory: 8 random bytes.
pub type Id8 = Octets<8>;

impl<const N: usize> Octets<N> {
    /// All bytes zero: "no predecessor".
    pub const ZERO: Self = Self([0; N]);

    /// Reads lower- or upper-case hexadecimal of exactly `2 N` digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 2 * N {
            return None;
        }
        let mut bytes = [0; N];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = (high * 16 + low) as u8;
        }
        Some(Self(bytes))
    }
}

impl<const N: usize> From<[u8; N]> for Octets<N> {
    fn from(bytes: [u8; N]) -> Self {
        Self(bytes)
    }
}

impl<const N: usize> fmt::Display for Octets<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<const N: usize> fmt::Debug for Octets<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> Serialize for Octets<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            ByteArray::new(self.0).serialize(serializer)
        }
    }
}

impl<'de, const N: usize> Deserialize<'de> for Octets<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ByteArray::deserialize(deserializer).map(|array| Self(array.into_array()))
    }
}

/// At most `N` bytes of UTF-8 without control characters. Never a name, id or date of a person,
/// never a file name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const N: usize>(heapless::String<N>);

impl<const N: usize> Text<N> {
    /// Checks the text.
    pub fn new(text: &str) -> Result<Self, BoundError> {
        if text.chars().any(char::is_control) {
            return Err(BoundError::Control);
        }
        heapless::String::try_from(text)
            .map(Self)
            .map_err(|_| BoundError::Text { found: text.len(), limit: N })
    }

    /// As much of `text` as fits, control characters replaced by spaces: for explanations only,
    /// where losing the end does no harm.
    pub fn shortened(text: &str) -> Self {
        let mut kept = heapless::String::new();
        for character in text.chars() {
            let character = if character.is_control() { ' ' } else { character };
            if kept.push(character).is_err() {
                break;
            }
        }
        Self(kept)
    }
}

impl<const N: usize> Deref for Text<N> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<const N: usize> Serialize for Text<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Text<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = heapless::String::<N>::deserialize(deserializer)?;
        Self::new(&text).map_err(D::Error::custom)
    }
}

/// A [`PartName`] on the wire: `[a-z0-9-]{1,32}`. Sites, devices and packages are named so.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(PartName);

impl Slug {
    /// Checks the characters and the length.
    pub fn new(text: &str) -> Result<Self, BoundError> {
        PartName::new(text).map(Self).map_err(|_| BoundError::Slug)
    }
}

impl From<PartName> for Slug {
    fn from(name: PartName) -> Self {
        Self(name)
    }
}

impl Deref for Slug {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl std::str::FromStr for Slug {
    type Err = BoundError;

    fn from_str(text: &str) -> Result<Self, BoundError> {
        Self::new(text)
    }
}

impl Serialize for Slug {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = heapless::String::<MAX_PART>::deserialize(deserializer)?;
        Self::new(&text).map_err(D::Error::custom)
    }
}

/// At most `N` items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T, const N: usize>(Vec<T>);

impl<T, const N: usize> List<T, N> {
    /// No items.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// Checks the number of items.
    pub fn new(items: Vec<T>) -> Result<Self, BoundError> {
        if items.len() > N {
            return Err(BoundError::List { found: items.len(), limit: N });
        }
        Ok(Self(items))
    }

    /// Adds one item at the end, when there is room.
    pub fn push(&mut self, item: T) -> Result<(), BoundError> {
        if self.0.len() == N {
            return Err(BoundError::List { found: N + 1, limit: N });
        }
        self.0.push(item);
        Ok(())
    }
}

impl<T, const N: usize> Deref for List<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Serialize, const N: usize> Serialize for List<T, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for List<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor::<T, N>(std::marker::PhantomData))
    }
}

struct ListVisitor<T, const N: usize>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for ListVisitor<T, N> {
    type Value = List<T, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {N} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List<T, N>, A::Error> {
        let mut list = List::empty();
        while let Some(item) = items.next_element()? {
            list.push(item).map_err(A::Error::custom)?;
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::cbor;

    #[test]
    fn bounds_hold_on_both_sides() {
        assert!(Text::<3>::new("abc").is_ok());
        assert_eq!(Text::<3>::new("abcd"), Err(BoundError::Text { found: 4, limit: 3 }));
        assert_eq!(Text::<3>::new("a\n"), Err(BoundError::Control));
        assert_eq!(
            &*Text::<3>::shortened("a\néé"),
            "a ",
            "a character is kept whole or not at all"
        );
        assert!(Slug::new(&"a".repeat(32)).is_ok());
        for bad in ["", "A", "a b", "a/b", "a_b", "é", "#", "+", &"a".repeat(33)] {
            assert_eq!(Slug::new(bad), Err(BoundError::Slug), "{bad}");
        }
        assert!(List::<u8, 2>::new(vec![1, 2]).is_ok());
        assert!(List::<u8, 2>::new(vec![1, 2, 3]).is_err());
    }

    #[test]
    fn decoding_holds_the_same_bounds() {
        let three = cbor::encode(&vec![1u64, 2, 3], 16).unwrap();
        assert!(cbor::decode::<List<u64, 3>>(&three, 16).is_ok());
        assert!(cbor::decode::<List<u64, 2>>(&three, 16).is_err());
        let text = cbor::encode(&"a\u{7}b", 16).unwrap();
        assert!(cbor::decode::<Text<8>>(&text, 16).is_err(), "a control character");
        assert!(cbor::decode::<Slug>(&cbor::encode(&"Box", 16).unwrap(), 16).is_err());
        assert!(cbor::decode::<Octets<2>>(&[0x42, 1, 2], 16).is_ok());
        assert!(cbor::decode::<Octets<2>>(&[0x41, 1], 16).is_err(), "a byte short");
        assert!(cbor::decode::<Octets<2>>(&[0x43, 1, 2, 3], 16).is_err(), "a byte long");
        assert!(cbor::decode::<Octets<2>>(&[0x82, 1, 2], 16).is_err(), "an array of numbers");
    }

    #[test]
    fn hexadecimal_round_trips() {
        let id = Octets([0x00, 0xa5, 0xff]);
        assert_eq!(id.to_string(), "00a5ff");
        assert_eq!(Octets::from_hex("00A5ff"), Some(id));
        for bad in ["00a5f", "00a5fff", "00a5fg", "+0a5ff"] {
            assert_eq!(Octets::<3>::from_hex(bad), None, "{bad}");
        }
    }
}
