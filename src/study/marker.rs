//! What the `.done` marker promises. The scanner side writes it last; it may be empty, or carry
//! `{"files": 3, "sha256": {"portal.nii.gz": "<64 hexadecimal digits>"}}`, both optional. Parses
//! text and keeps the promise; it opens no file and hashes nothing.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::files::is_plain_name;

/// The marker's file name, exactly.
pub const MARKER: &str = ".done";

/// The marker as a folder shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Marker {
    /// There is none.
    #[default]
    Absent,
    /// It is there and can be read.
    Present(Promise),
    /// It is there, but too long, not a plain file, or not what a marker may say.
    Malformed,
}

/// What a marker says about the study; an empty marker says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Promise {
    /// Number of files, the marker and ignored files not counted.
    pub files: Option<u64>,
    /// File name → SHA-256 as 64 lower-case hexadecimal digits. Files not listed are not checked.
    pub sha256: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPromise {
    files: Option<u64>,
    #[serde(default)]
    sha256: BTreeMap<String, String>,
}

impl Marker {
    /// Reads a marker's content, whose length the caller has bounded.
    pub fn parse(content: &[u8]) -> Self {
        if content.trim_ascii().is_empty() {
            return Self::Present(Promise::default());
        }
        Promise::parse(content).map_or(Self::Malformed, Self::Present)
    }
}

impl Promise {
    fn parse(content: &[u8]) -> Option<Self> {
        let raw: RawPromise = serde_json::from_slice(content).ok()?;
        let mut sha256 = BTreeMap::new();
        for (name, digest) in raw.sha256 {
            if !is_plain_name(&name) || !is_sha256(&digest) {
                return None;
            }
            sha256.insert(name, digest.to_ascii_lowercase());
        }
        Some(Self { files: raw.files, sha256 })
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(text: &str) -> Promise {
        match Marker::parse(text.as_bytes()) {
            Marker::Present(promise) => promise,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_marker_may_say_nothing_a_number_or_digests() {
        for empty in ["", " \n", "{}"] {
            assert_eq!(promise(empty), Promise::default(), "{empty:?}");
        }
        assert_eq!(promise(r#"{"files": 3}"#).files, Some(3));
        let digest = "AB".repeat(32);
        let listed = promise(&format!(r#"{{"sha256": {{"portal.nii": "{digest}"}}}}"#));
        assert_eq!(listed.sha256["portal.nii"], "ab".repeat(32), "digits in lower case");
    }

    #[test]
    fn anything_else_is_malformed() {
        let digest = "0".repeat(64);
        let with_name = |name: &str| format!(r#"{{"sha256": {{"{name}": "{digest}"}}}}"#);
        let faulty = [
            "{".to_owned(),
            "3".to_owned(),
            r#"{"files": -1}"#.to_owned(),
            r#"{"files": 1.5}"#.to_owned(),
            r#"{"files": 1, "files": 2}"#.to_owned(),
            r#"{"file": 1}"#.to_owned(),
            r#"{"sha256": {"a": "00"}}"#.to_owned(),
            format!(r#"{{"sha256": {{"a": "{}g"}}}}"#, "0".repeat(63)),
            with_name("../a"),
            with_name(""),
            "[".repeat(100_000),
        ];
        for text in faulty {
            assert_eq!(Marker::parse(text.as_bytes()), Marker::Malformed, "{text:.60}");
        }
        assert_eq!(Marker::parse(b"\xff\xfe"), Marker::Malformed);
        assert_eq!(promise(&with_name("a")).sha256.len(), 1, "the frame of the cases is sound");
    }
}
