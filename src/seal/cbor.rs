//! The one way bytes become wire types and back: packed CBOR (a struct is a map with the keys
//! 0, 1, 2 … in field order), decoded strictly. Must not know any particular message.
//!
//! `serde_cbor` accepts sloppy input (indefinite lengths, long integers, tags, named fields). So
//! decoding is: decode, encode again, compare every byte. Two encodings of one message therefore
//! never both pass, and no field can hide in the bytes.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Why bytes are not the strict encoding of a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CborError {
    /// Longer than the limit of this kind of message.
    #[error("{found} bytes of CBOR, at most {limit} are accepted")]
    TooLong {
        /// Bytes found.
        found: usize,
        /// Bytes accepted.
        limit: usize,
    },
    /// Not this message at all: wrong types, missing or unknown keys, a bound exceeded.
    #[error("the CBOR is not this kind of message ({0})")]
    Malformed(String),
    /// Decodes, but another encoding is the deterministic one.
    #[error("the CBOR is not in its deterministic form: it differs from byte {at} on")]
    NotDeterministic {
        /// Offset of the first difference.
        at: usize,
    },
    /// A value that CBOR cannot carry under our rules.
    #[error("the message cannot be encoded ({0})")]
    Unencodable(String),
}

/// Encodes `message`, refusing more than `limit` bytes.
pub fn encode<T: Serialize>(message: &T, limit: usize) -> Result<Vec<u8>, CborError> {
    let bytes = serde_cbor::ser::to_vec_packed(message)
        .map_err(|error| CborError::Unencodable(error.to_string()))?;
    within(&bytes, limit)?;
    Ok(bytes)
}

/// Decodes `bytes` and refuses anything but the deterministic encoding of a `T`.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, CborError> {
    within(bytes, limit)?;
    let message: T =
        serde_cbor::from_slice(bytes).map_err(|error| CborError::Malformed(error.to_string()))?;
    let again = serde_cbor::ser::to_vec_packed(&message)
        .map_err(|error| CborError::Unencodable(error.to_string()))?;
    match first_difference(bytes, &again) {
        None => Ok(message),
        Some(at) => Err(CborError::NotDeterministic { at }),
    }
}

/// Offset of the first byte in which two messages differ; `None` when they are equal.
pub fn first_difference(left: &[u8], right: &[u8]) -> Option<usize> {
    if left == right {
        return None;
    }
    let common = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    Some(common)
}

fn within(bytes: &[u8], limit: usize) -> Result<(), CborError> {
    if bytes.len() > limit {
        return Err(CborError::TooLong { found: bytes.len(), limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        first: u64,
        second: Option<u64>,
    }

    #[test]
    fn one_encoding_is_accepted_and_it_is_the_packed_one() {
        let pair = Pair { first: 1, second: None };
        let bytes = encode(&pair, 5).unwrap();
        assert_eq!(bytes, [0xa2, 0x00, 0x01, 0x01, 0xf6]);
        assert_eq!(decode::<Pair>(&bytes, 5), Ok(pair));
        assert_eq!(
            decode::<Pair>(&bytes, 4),
            Err(CborError::TooLong { found: 5, limit: 4 }),
            "one byte over the limit"
        );
    }

    #[test]
    fn sloppy_encodings_of_the_same_value_are_refused() {
        for (bytes, what) in [
            (&[0xbf, 0x00, 0x01, 0x01, 0xf6, 0xff][..], "indefinite map"),
            (&[0xa2, 0x00, 0x18, 0x01, 0x01, 0xf6], "integer one byte longer than needed"),
            (&[0xa2, 0x01, 0xf6, 0x00, 0x01], "keys in another order"),
            (&[0xa1, 0x00, 0x01], "key of a null left out"),
            (&[0xa2, 0x00, 0x01, 0x01, 0xf7], "undefined for null"),
            (&[0xa2, 0x00, 0xc1, 0x01, 0x01, 0xf6], "a tag in front of a value"),
            (&[0xd9, 0xd9, 0xf7, 0xa2, 0x00, 0x01, 0x01, 0xf6], "self-described CBOR"),
            (&[0xa2, 0x00, 0x01, 0x01, 0xf6, 0x00], "a trailing byte"),
            (&[0xa3, 0x00, 0x01, 0x01, 0xf6, 0x02, 0x00], "an unknown key"),
            (&[0xa3, 0x00, 0x01, 0x00, 0x01, 0x01, 0xf6], "a key twice"),
            (&[0xa2, 0x00, 0xf9, 0x3c, 0x00, 0x01, 0xf6], "a float"),
            (&[0xa2, 0x65, b'f', b'i', b'r', b's', b't', 0x01, 0x01, 0xf6], "a named key"),
            (&[0x82, 0x01, 0xf6], "an array for a map"),
            (&[], "nothing"),
        ] {
            assert!(decode::<Pair>(bytes, 64).is_err(), "accepted: {what}");
        }
    }
}
