//! Which file of a study is which: by its name, or as `study.json` says. Guesses nothing: an image
//! whose name says no phase is no phase. Knows names only; it never sees a content.

use std::ffi::OsStr;

use serde::Deserialize;
use thiserror::Error;

/// Names the images by phase when their file names do not.
pub const STUDY_FILE: &str = "study.json";
/// The clinical data.
pub const CLINICAL_FILE: &str = "clinical.json";

/// First words of a file name that mean the arterial phase.
const ARTERIAL_WORDS: [&str; 3] = ["arterial", "art", "ap"];
/// First words of a file name that mean the portal venous phase.
const PORTAL_WORDS: [&str; 3] = ["portal", "pvp", "pv"];
/// Endings of an image file.
const IMAGE_ENDINGS: [&str; 2] = [".nii", ".nii.gz"];
/// Endings of a file that is still being written.
const TEMPORARY_ENDINGS: [&str; 4] = [".part", ".tmp", ".partial", "~"];

/// Which part of a study a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The portal venous phase.
    Portal,
    /// The arterial phase.
    Arterial,
    /// `clinical.json`.
    Clinical,
    /// Anything else: counted and hashed, but not analysed.
    Other,
}

impl Role {
    /// The role that a file name says by itself; upper and lower case are the same.
    pub fn by_name(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        if name == CLINICAL_FILE {
            Self::Clinical
        } else if !is_image(&name) {
            Self::Other
        } else if starts_with_word(&name, &PORTAL_WORDS) {
            Self::Portal
        } else if starts_with_word(&name, &ARTERIAL_WORDS) {
            Self::Arterial
        } else {
            Self::Other
        }
    }

    /// The role in words, for messages.
    pub fn words(self) -> &'static str {
        match self {
            Self::Portal => "portal venous phase",
            Self::Arterial => "arterial phase",
            Self::Clinical => "clinical data",
            Self::Other => "other files",
        }
    }
}

/// Whether a name is left out of a study: dotfiles (also `.done`, which is no input) and files
/// that are still being written.
pub fn is_ignored(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes().to_ascii_lowercase();
    bytes.starts_with(b".") || TEMPORARY_ENDINGS.iter().any(|end| bytes.ends_with(end.as_bytes()))
}

/// Whether a text can name a file inside the study's folder and nowhere else.
pub fn is_plain_name(name: &str) -> bool {
    let separates = |c: char| c == '/' || c == '\0';
    !name.is_empty()
        && name.len() <= 255
        && name != "."
        && name != ".."
        && !name.contains(separates)
}

/// `study.json`: `{"schema": 1, "arterial": "a.nii.gz", "portal": "b.nii.gz"}`. A phase it names is
/// that file whatever its name; a phase it leaves out goes by file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPhases {
    /// File of the arterial phase.
    pub arterial: Option<String>,
    /// File of the portal venous phase.
    pub portal: Option<String>,
}

/// Why `study.json` cannot be used. The messages name fields and limits, never a file: they travel
/// in the signed result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StudyFileError {
    /// Not JSON, or other fields than these.
    #[error("study.json is not {{\"schema\": 1, \"arterial\": name, \"portal\": name}}")]
    Malformed,
    /// Another schema.
    #[error("study.json has schema {0}, expected 1")]
    Schema(u64),
    /// Something with a path, or nothing at all.
    #[error("study.json: {} is not a plain file name", .0.words())]
    NotAFileName(Role),
    /// Named, but not in the folder.
    #[error("study.json: the file of the {} is not in the study", .0.words())]
    NotThere(Role),
    /// Named, but no `.nii` or `.nii.gz`.
    #[error("study.json: the file of the {} is not a .nii or .nii.gz", .0.words())]
    NotAnImage(Role),
    /// One file for both phases.
    #[error("study.json names one file for both phases")]
    SameFile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNamedPhases {
    schema: u64,
    arterial: Option<String>,
    portal: Option<String>,
}

impl NamedPhases {
    /// Reads the content of `study.json`, whose length the caller has bounded.
    pub fn parse(content: &[u8]) -> Result<Self, StudyFileError> {
        let raw: RawNamedPhases =
            serde_json::from_slice(content).map_err(|_| StudyFileError::Malformed)?;
        if raw.schema != 1 {
            return Err(StudyFileError::Schema(raw.schema));
        }
        let named = Self { arterial: raw.arterial, portal: raw.portal };
        for (role, name) in named.iter() {
            if !is_plain_name(name) || is_ignored(OsStr::new(name)) {
                return Err(StudyFileError::NotAFileName(role));
            }
            if !is_image(&name.to_ascii_lowercase()) {
                return Err(StudyFileError::NotAnImage(role));
            }
        }
        if named.arterial.is_some() && named.arterial == named.portal {
            return Err(StudyFileError::SameFile);
        }
        Ok(named)
    }

    fn iter(&self) -> impl Iterator<Item = (Role, &str)> {
        let both = [(Role::Portal, &self.portal), (Role::Arterial, &self.arterial)];
        both.into_iter().filter_map(|(role, name)| Some((role, name.as_deref()?)))
    }
}

/// Why the roles of a study's files are not usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RoleProblem {
    /// More than one file could be this.
    #[error("{count} files could be the {}", .role.words())]
    Ambiguous {
        /// The role.
        role: Role,
        /// How many files have it.
        count: usize,
    },
    /// No file is an image of a phase.
    #[error("no image of the arterial or the portal venous phase among {files} files")]
    NoImage {
        /// How many files there are.
        files: usize,
    },
    /// `study.json` and the folder disagree.
    #[error(transparent)]
    StudyFile(#[from] StudyFileError),
}

/// The role of each file, and whether the study can be used with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// In the order of the names.
    pub roles: Vec<Role>,
    /// The first fault found.
    pub problem: Option<RoleProblem>,
}

/// Gives every file its role. `names` are the files that count, in any order; a name that is not
/// UTF-8 is given with replacement characters and so matches no `study.json`.
pub fn assign(names: &[&str], named: Option<&NamedPhases>) -> Assignment {
    let mut roles: Vec<Role> = names.iter().map(|name| Role::by_name(name)).collect();
    let mut problem = None;
    let phases: Vec<_> = named.into_iter().flat_map(NamedPhases::iter).collect();
    for (role, wanted) in &phases {
        roles.iter_mut().filter(|has| *has == role).for_each(|has| *has = Role::Other);
        if !names.contains(wanted) {
            problem = problem.or(Some(StudyFileError::NotThere(*role).into()));
        }
    }
    for (role, wanted) in phases {
        for at in (0..names.len()).filter(|at| names[*at] == wanted) {
            roles[at] = role;
        }
    }
    let problem = problem.or_else(|| first_problem(&roles));
    Assignment { roles, problem }
}

fn first_problem(roles: &[Role]) -> Option<RoleProblem> {
    let count = |role| roles.iter().filter(|has| **has == role).count();
    for role in [Role::Portal, Role::Arterial, Role::Clinical] {
        if count(role) > 1 {
            return Some(RoleProblem::Ambiguous { role, count: count(role) });
        }
    }
    let images = count(Role::Portal) + count(Role::Arterial);
    (images == 0).then_some(RoleProblem::NoImage { files: roles.len() })
}

fn is_image(lower_case_name: &str) -> bool {
    IMAGE_ENDINGS.iter().any(|end| lower_case_name.ends_with(end))
}

fn starts_with_word(lower_case_name: &str, words: &[&str]) -> bool {
    words.iter().any(|word| {
        let rest = lower_case_name.strip_prefix(word);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '_', '-']))
    })
}

#[cfg(test)]
mod tests;
