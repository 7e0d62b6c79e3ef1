//! What the `.done` marker says. The scanner side writes it last; it may be empty, or carry
//! `{"files": 3, "sha256": {"portal.nii.gz": "<64 hexadecimal digits>"}}`, both optional. Parses
//! text and keeps the promise; it opens no file and hashes nothing.
//!
//! A sender that knows more than a quiet folder shows says so in the same file, and replaces it in
//! one rename when it knows better:
//!
//! | marker | the study |
//! |---|---|
//! | `{"open": true}` | is still being sent, however quiet: it is not complete before its deadline |
//! | `{"open": true, "awaited": [...]}` | the same; its receiver stopped, and awaits these files anew |
//! | `{"open": true, "broken": true}` | the same; its receiver stopped, and it will not be whole |
//! | `{"aborted": true}` | was cut off and will not be completed: it is claimed at once and fails |

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::files::is_plain_name;

/// The marker's file name, exactly.
pub const MARKER: &str = ".done";

/// The marker as a folder shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Marker {
    /// There is none.
    #[default]
    Absent,
    /// The study is complete.
    Present(Promise),
    /// More is to come.
    Open,
    /// The sender was cut off: what is there is not the whole study.
    Aborted,
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

/// What an open marker says to the receiver that takes the study up again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Open {
    /// Nothing, as long as its receiver runs, and when that was killed.
    Unsaid,
    /// It is whole when these files have been sent, those that are there again.
    Awaits(BTreeSet<String>),
    /// It is not whole, whatever is sent.
    Broken,
}

/// The content of a marker for a study that is still being sent.
pub const OPEN: &[u8] = br#"{"open": true}"#;

/// The content of a marker for a study that was cut off.
pub const ABORTED: &[u8] = br#"{"aborted": true}"#;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPromise {
    files: Option<u64>,
    #[serde(default)]
    sha256: BTreeMap<String, String>,
}

/// Flags are only ever `true`.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawState {
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aborted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    awaited: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<bool>,
}

impl RawState {
    fn marker(self) -> Option<Marker> {
        if let Self { open: None, aborted: Some(true), awaited: None, broken: None } = self {
            return Some(Marker::Aborted);
        }
        self.open().map(|_| Marker::Open)
    }

    fn open(self) -> Option<Open> {
        let Self { open: Some(true), aborted: None, awaited, broken } = self else { return None };
        match (awaited, broken) {
            (None, None) => Some(Open::Unsaid),
            (Some(names), None) if names.iter().all(|name| is_plain_name(name)) => {
                Some(Open::Awaits(names))
            }
            (None, Some(true)) => Some(Open::Broken),
            (Some(_) | None, Some(_) | None) => None,
        }
    }
}

impl Open {
    /// Reads the content of an open marker, whose length the caller has bounded; `None` for any other.
    pub fn parse(content: &[u8]) -> Option<Self> {
        serde_json::from_slice(content).ok().and_then(RawState::open)
    }

    /// The content of a marker that says so.
    pub fn to_json(&self) -> Vec<u8> {
        let open = RawState { open: Some(true), ..RawState::default() };
        let raw = match self {
            Self::Unsaid => open,
            Self::Awaits(names) => RawState { awaited: Some(names.clone()), ..open },
            Self::Broken => RawState { broken: Some(true), ..open },
        };
        serde_json::to_vec(&raw).expect("flags and names are JSON")
    }
}

impl Marker {
    /// Reads a marker's content, whose length the caller has bounded.
    pub fn parse(content: &[u8]) -> Self {
        if content.trim_ascii().is_empty() {
            return Self::Present(Promise::default());
        }
        let state = serde_json::from_slice(content).ok().and_then(RawState::marker);
        let promise = || Promise::parse(content).map(Self::Present);
        state.or_else(promise).unwrap_or(Self::Malformed)
    }
}

impl Promise {
    /// The content of a marker that makes this promise.
    pub fn to_json(&self) -> Vec<u8> {
        let raw = RawPromise { files: self.files, sha256: self.sha256.clone() };
        serde_json::to_vec(&raw).expect("a map from text to text is JSON")
    }

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
    fn a_marker_may_say_that_more_is_to_come_or_will_not() {
        assert_eq!(Marker::parse(OPEN), Marker::Open);
        assert_eq!(Marker::parse(ABORTED), Marker::Aborted);
    }

    #[test]
    fn an_open_marker_says_what_its_study_awaits() {
        let names = |names: &[&str]| Open::Awaits(names.iter().map(|n| (*n).to_owned()).collect());
        for open in [Open::Unsaid, names(&[]), names(&["a.dcm", "b.dcm"]), Open::Broken] {
            let content = open.to_json();
            assert_eq!(Marker::parse(&content), Marker::Open);
            assert_eq!(Open::parse(&content), Some(open));
        }
        assert_eq!(Open::parse(OPEN), Some(Open::Unsaid));
        for other in [ABORTED, b"", b"{}", br#"{"files": 1}"#] {
            assert_eq!(Open::parse(other), None);
        }
    }

    #[test]
    fn a_promise_reads_back_as_it_was_written() {
        let sha256 = [("a".to_owned(), "0".repeat(64)), ("b".to_owned(), "f".repeat(64))];
        let promise = Promise { files: Some(2), sha256: sha256.into() };
        assert_eq!(Marker::parse(&promise.to_json()), Marker::Present(promise));
    }

    #[test]
    fn anything_else_is_malformed() {
        let digest = "0".repeat(64);
        let with_name = |name: &str| format!(r#"{{"sha256": {{"{name}": "{digest}"}}}}"#);
        let faulty = [
            r#"{"open": false}"#.to_owned(),
            r#"{"open": true, "aborted": true}"#.to_owned(),
            r#"{"open": true, "files": 1}"#.to_owned(),
            r#"{"open": true, "broken": false}"#.to_owned(),
            r#"{"open": true, "broken": true, "awaited": []}"#.to_owned(),
            r#"{"open": true, "awaited": ["../a"]}"#.to_owned(),
            r#"{"aborted": true, "broken": true}"#.to_owned(),
            r#"{"awaited": []}"#.to_owned(),
            r#"{"broken": true}"#.to_owned(),
            r#"{"aborted": 1}"#.to_owned(),
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
