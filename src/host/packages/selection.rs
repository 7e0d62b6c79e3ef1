//! `active.toml` of a folder of packages: which version of each is in use there, which was before
//! it, and which versions are revoked. A package without an entry is in use in its highest version.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;

use super::{MAX_MANIFEST, PackageError, folders, read};
use crate::host::files::write_durably;
use crate::seal::wire::Slug;

/// Its name.
pub const ACTIVE: &str = "active.toml";
/// The most packages it speaks of.
pub const MAX_CHOICES: usize = 64;

/// Three numbers with dots, ordered by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([u32; 3]);

impl Version {
    /// `None` for anything but three decimal numbers without signs and leading zeros.
    pub fn parse(text: &str) -> Option<Self> {
        let numbers: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
        let version = Self(numbers?.try_into().ok()?);
        (version.to_string() == text).then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// What is remembered of one package.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Choice {
    /// The version in use.
    pub in_use: Option<Version>,
    /// The one in use before it.
    pub previous: Option<Version>,
    /// The lowest that is accepted; it only ever rises.
    pub floor: Option<Version>,
}

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection(BTreeMap<Slug, Choice>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChoice {
    in_use: Option<String>,
    previous: Option<String>,
    floor: Option<String>,
}

impl Selection {
    /// What a folder of packages says; nothing when it has no such file. A damaged file is an error
    /// and not nothing: with it the floors would be forgotten.
    pub fn read(root: &Path) -> Result<Self, PackageError> {
        let path = root.join(ACTIVE);
        if path.symlink_metadata().is_err() {
            return Ok(Self::default());
        }
        let refuse = |problem| PackageError::Selection { path: path.clone(), problem };
        let text = String::from_utf8(read(&path, MAX_MANIFEST)?)
            .map_err(|_| refuse("it is not UTF-8".into()))?;
        Self::parse(&text).map_err(refuse)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let raw: BTreeMap<Slug, RawChoice> =
            toml::from_str(text).map_err(|error| error.to_string())?;
        if raw.len() > MAX_CHOICES {
            return Err(format!("more than {MAX_CHOICES} packages"));
        }
        let choice = |(name, raw): (Slug, RawChoice)| {
            let version = |text: Option<String>| match text {
                None => Ok(None),
                Some(text) => Version::parse(&text)
                    .map(Some)
                    .ok_or_else(|| format!("{name}: {text:?} is no version, such as 1.2.0")),
            };
            let (in_use, previous) = (version(raw.in_use)?, version(raw.previous)?);
            let floor = version(raw.floor)?;
            Ok((name, Choice { in_use, previous, floor }))
        };
        raw.into_iter().map(choice).collect::<Result<_, _>>().map(Self)
    }

    /// Replaces the file of a folder of packages, whole and durably.
    pub(super) fn write(&self, root: &Path) -> Result<(), PackageError> {
        let mut text =
            String::from("# Written by `hcc-edge models`: versions in use, and revoked ones.\n");
        for (name, choice) in &self.0 {
            text.push_str(&format!("\n[{name}]\n"));
            let lines =
                [("in_use", choice.in_use), ("previous", choice.previous), ("floor", choice.floor)];
            for (key, version) in lines {
                text.extend(version.map(|version| format!("{key} = \"{version}\"\n")));
            }
        }
        write_durably(&root.join(ACTIVE), text.as_bytes(), 0o644)
            .map_err(|source| PackageError::Write { path: root.to_owned(), source })
    }

    /// Everything it says.
    pub fn choices(&self) -> impl Iterator<Item = (&Slug, &Choice)> {
        self.0.iter()
    }

    /// What it says of one package.
    pub fn of(&self, name: &Slug) -> Choice {
        self.0.get(name).copied().unwrap_or_default()
    }

    pub(super) fn set(&mut self, name: Slug, choice: Choice) {
        self.0.insert(name, choice);
    }
}

/// Versions of a package that lie in a folder of packages, lowest first.
pub fn versions(root: &Path, name: &Slug) -> Result<Vec<Version>, PackageError> {
    let names = folders(&root.join(&**name))?;
    let mut found: Vec<Version> = names.iter().filter_map(|name| Version::parse(name)).collect();
    found.sort();
    Ok(found)
}

/// The version in use among those in one folder of packages; `None` when there is no version.
pub(super) fn version_in_use(root: &Path, name: &Slug) -> Result<Option<Version>, PackageError> {
    let versions = versions(root, name)?;
    let Some(&highest) = versions.last() else { return Ok(None) };
    match Selection::read(root)?.of(name).in_use {
        None => Ok(Some(highest)),
        Some(version) if versions.contains(&version) => Ok(Some(version)),
        Some(version) => {
            let problem = format!("version {version} of {name} is in use by it, and absent");
            Err(PackageError::Selection { path: root.join(ACTIVE), problem })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Selection::read(root.path()).unwrap(), Selection::default());
        let version = |text| Version::parse(text);
        let mut selection = Selection::default();
        let choice = Choice { in_use: version("1.2.3"), previous: None, floor: version("0.10.0") };
        selection.set(Slug::new("pmn").unwrap(), choice);
        selection.set(Slug::new("liver-tumour").unwrap(), Choice::default());
        selection.write(root.path()).unwrap();
        let read = Selection::read(root.path()).unwrap();
        assert_eq!(read, selection);
        assert_eq!(read.of(&Slug::new("pmn").unwrap()), choice);
    }

    #[test]
    fn a_damaged_file_is_not_an_absent_one() {
        let root = tempfile::tempdir().unwrap();
        let damaged: [&[u8]; 6] = [
            b"[pmn",
            b"pmn = \"1.0.0\"",
            b"[pmn]\nin_use = \"1.0\"",
            b"[pmn]\nflor = \"1.0.0\"",
            b"[Pmn]\nfloor = \"1.0.0\"",
            b"\xff",
        ];
        for bytes in damaged {
            std::fs::write(root.path().join(ACTIVE), bytes).unwrap();
            let error = Selection::read(root.path()).unwrap_err();
            assert!(matches!(error, PackageError::Selection { .. }), "{error}");
        }
        let many = |count: usize| (0..count).map(|n| format!("[p{n}]\n")).collect::<String>();
        assert!(Selection::parse(&many(MAX_CHOICES)).is_ok());
        assert!(Selection::parse(&many(MAX_CHOICES + 1)).is_err());
    }

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let version = |text: &str| Version::parse(text).unwrap();
        assert!(version("0.9.0") < version("0.10.0") && version("0.10.9") < version("1.0.0"));
        assert_eq!(version("1.20.3").to_string(), "1.20.3");
        for bad in ["1.2", "1.2.3.4", "1.2.x", "01.2.3", "1.2.-3", "1.2.+3", "1.2.4294967296"] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
    }
}
