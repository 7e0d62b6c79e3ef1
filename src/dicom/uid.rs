//! UIDs that are derived from what they name: the same thing gets the same UID again.

use std::fmt;

use ring::digest::{SHA256, digest};

/// A UID of the form `2.25.<UUID as a decimal number>` (PS3.5 B.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Uid(String);

/// Keeps these UIDs apart from others that are derived from the same values.
const LABEL: &[u8] = b"hcc-edge.uid.v1";

impl Uid {
    /// The UID of `parts`, in this order. Each part is hashed with its length, so that no two lists
    /// of parts are the same bytes.
    pub fn derived(parts: &[&[u8]]) -> Self {
        let mut text = Vec::new();
        for part in [LABEL].iter().chain(parts) {
            text.extend_from_slice(&(part.len() as u64).to_be_bytes());
            text.extend_from_slice(part);
        }
        let hash = digest(&SHA256, &text);
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&hash.as_ref()[..16]);
        // RFC 9562: version 8 (derived in a way of one's own), variant 10.
        uuid[6] = uuid[6] & 0x0f | 0x80;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        Self(format!("2.25.{}", u128::from_be_bytes(uuid)))
    }

    /// The UID as DICOM writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_parts_give_the_same_uid_and_others_another() {
        let uid = Uid::derived(&[b"study", b"1"]);
        assert_eq!(uid, Uid::derived(&[b"study", b"1"]));
        for other in
            [&[&b"study1"[..]][..], &[b"study", b"2"], &[b"1", b"study"], &[b"study1", b""]]
        {
            assert_ne!(uid, Uid::derived(other), "{other:?}");
        }
    }

    #[test]
    fn every_uid_is_a_uuid_in_decimal() {
        for n in 0..200u32 {
            let uid = Uid::derived(&[&n.to_be_bytes()]);
            assert!(uid.as_str().len() <= 64, "PS3.5 9.1");
            let number: u128 = uid.as_str().strip_prefix("2.25.").unwrap().parse().unwrap();
            assert_eq!(uid.as_str(), format!("2.25.{number}"), "no leading zero");
            assert_eq!((number >> 76 & 0xf, number >> 62 & 0b11), (8, 0b10), "version and variant");
        }
    }
}
