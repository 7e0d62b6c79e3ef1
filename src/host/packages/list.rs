//! Every version of every package that lies in the folders searched, and how each stands. Nothing is
//! verified here.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::selection::{Selection, Version, version_in_use, versions};
use super::{PackageError, Terms, folder_of, folders};
use crate::seal::wire::Slug;

/// One version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Name of the package.
    pub name: Slug,
    /// Its version, by its folder's name.
    pub version: Version,
    /// Where it lies.
    pub folder: PathBuf,
    /// How it stands.
    pub standing: Standing,
}

/// How a version stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is the one in use, because it was selected.
    Selected,
    /// It is the one in use, because none was selected and it is the highest.
    Highest,
    /// Another version in the same folder is.
    Other,
    /// Another folder has the package, and is searched before.
    Behind(PathBuf),
    /// Nobody may use it: it is below the floor.
    Revoked(Version),
}

impl Standing {
    /// Whether it is the version in use.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::Selected | Self::Highest)
    }
}

/// By name, then by the order of the search, lowest version first.
pub fn list(roots: &[PathBuf], terms: &Terms) -> Result<Vec<Listed>, PackageError> {
    let mut names = BTreeSet::new();
    for root in roots {
        names.extend(folders(root)?.iter().filter_map(|name| Slug::new(name).ok()));
    }
    let mut found = Vec::new();
    for name in names {
        let mut first: Option<&PathBuf> = None;
        for root in roots {
            let selected = Selection::read(root)?.of(&name).in_use.is_some();
            let in_use = version_in_use(root, &name)?;
            for version in versions(root, &name)? {
                let floor = terms.floors.get(&name).filter(|&&floor| version < floor);
                let standing = match (floor, first) {
                    (Some(&floor), _) => Standing::Revoked(floor),
                    (None, Some(before)) => Standing::Behind(before.clone()),
                    (None, None) if in_use != Some(version) => Standing::Other,
                    (None, None) if selected => Standing::Selected,
                    (None, None) => Standing::Highest,
                };
                let folder = folder_of(root, &name, version);
                found.push(Listed { name: name.clone(), version, folder, standing });
            }
            first = first.or(in_use.map(|_| root));
        }
    }
    Ok(found)
}
