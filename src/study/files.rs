//! Which file of a study is which. NIfTI images: by name, or as `study.json` says; an image whose name
//! says no phase is no phase. DICOM files: all of them are the images of the study, and which series
//! is which phase is found out later, in the worker, unless `study.json` says. A study is of one kind
//! or the other. Knows names, and whether a content looks like DICOM; it never sees a content.

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

/// Longest name of a file below the study's folder, in bytes.
const MOST_NAME_BYTES: usize = 1024;

/// Which part of a study a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The portal venous phase.
    Portal,
    /// The arterial phase.
    Arterial,
    /// `clinical.json`.
    Clinical,
    /// A DICOM file, whatever is in it.
    Dicom,
    /// `study.json` of a DICOM study: it names series, so another one makes another study.
    Phases,
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
            Self::Dicom => "DICOM files",
            Self::Phases => "names of the phases",
            Self::Other => "other files",
        }
    }
}

/// Whether a name is left out of a study: dotfiles (also `.done`, which is no input) and files
/// that are still being written, and whatever lies in folders of such names.
pub fn is_ignored(name: &OsStr) -> bool {
    let path = name.as_encoded_bytes().to_ascii_lowercase();
    path.split(|byte| *byte == b'/').any(|part| {
        part.starts_with(b".") || TEMPORARY_ENDINGS.iter().any(|end| part.ends_with(end.as_bytes()))
    })
}

/// Whether a text can name a file in or below the study's folder and nowhere else.
pub fn is_plain_name(name: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty() && part.len() <= 255 && part != "." && part != ".." && !part.contains('\0')
    };
    name.len() <= MOST_NAME_BYTES && name.split('/').all(plain)
}

/// `study.json`: `{"schema": 1, "arterial": "a.nii.gz", "portal": "b.nii.gz"}`. A phase it names is
/// that file whatever its name; a phase it leaves out goes by file name. In a DICOM study a name is
/// that of any file of the series, or the series' UID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPhases {
    /// The arterial phase.
    pub arterial: Option<String>,
    /// The portal venous phase.
    pub portal: Option<String>,
}

/// One file of a study as its folder shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'a> {
    /// Its name; one that is not UTF-8 has replacement characters and so matches no `study.json`.
    pub name: &'a str,
    /// Whether its first bytes are those of a DICOM file.
    pub dicom: bool,
}

/// How `study.json` names a series of a DICOM study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeriesName {
    /// By one of its files: the place of the name among the files that count.
    File(usize),
    /// By its UID.
    Uid(String),
}

/// The series that `study.json` names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamedSeries {
    /// The arterial phase.
    pub arterial: Option<SeriesName>,
    /// The portal venous phase.
    pub portal: Option<SeriesName>,
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
    /// Something that leads out of the folder, or nothing at all.
    #[error("study.json: {} is not a plain file name", .0.words())]
    NotAFileName(Role),
    /// Named, but not in the folder.
    #[error("study.json: the file of the {} is not in the study", .0.words())]
    NotThere(Role),
    /// Named, but neither NIfTI nor DICOM.
    #[error("study.json: the file of the {} is neither a .nii or .nii.gz nor DICOM", .0.words())]
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
    /// The phases are there twice, and nothing says which are meant.
    #[error(
        "{nifti} NIfTI images of a phase beside {dicom} DICOM files, expected one or the other"
    )]
    TwoKinds {
        /// NIfTI images with a phase.
        nifti: usize,
        /// DICOM files.
        dicom: usize,
    },
    /// No file is an image of a phase.
    #[error(
        "neither DICOM nor an image of the arterial or portal venous phase among {files} files"
    )]
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
    /// In the order of the files.
    pub roles: Vec<Role>,
    /// The series that `study.json` names; of a NIfTI study none.
    pub series: NamedSeries,
    /// The first fault found.
    pub problem: Option<RoleProblem>,
}

/// Gives every file its role. `files` are those that count, in any order.
pub fn assign(files: &[Named<'_>], named: Option<&NamedPhases>) -> Assignment {
    let by_itself = |file: &Named<'_>| match Role::by_name(file.name) {
        Role::Other if file.dicom => Role::Dicom,
        role => role,
    };
    let mut roles: Vec<Role> = files.iter().map(by_itself).collect();
    let mut series = NamedSeries::default();
    let phases: Vec<_> = named.into_iter().flat_map(NamedPhases::iter).collect();
    let dicom = is_dicom(files, &roles, &phases);
    let problem = if dicom {
        for (file, role) in files.iter().zip(&mut roles) {
            if file.name.eq_ignore_ascii_case(STUDY_FILE) {
                *role = Role::Phases;
            }
        }
        name_series(files, &phases, &mut series)
    } else {
        name_files(files, &phases, &mut roles)
    };
    let problem = problem.map(RoleProblem::from).or_else(|| first_problem(&roles));
    Assignment { roles, series, problem }
}

/// True when the images are DICOM: there are such files, and no image is named as NIfTI.
fn is_dicom(files: &[Named<'_>], roles: &[Role], phases: &[(Role, &str)]) -> bool {
    let is_nifti = |name: &&str| is_image(&name.to_ascii_lowercase());
    let by_name = roles.iter().any(|role| matches!(role, Role::Portal | Role::Arterial));
    let names_nifti = phases.iter().any(|(_, name)| is_nifti(name));
    files.iter().any(|file| file.dicom) && !by_name && !names_nifti
}

/// A phase that `study.json` names is that file and no other.
fn name_files(
    files: &[Named<'_>],
    phases: &[(Role, &str)],
    roles: &mut [Role],
) -> Option<StudyFileError> {
    let mut problem = None;
    for (role, wanted) in phases {
        roles.iter_mut().filter(|has| *has == role).for_each(|has| *has = Role::Other);
        if !is_image(&wanted.to_ascii_lowercase()) {
            problem = problem.or(Some(StudyFileError::NotAnImage(*role)));
        } else if !files.iter().any(|file| file.name == *wanted) {
            problem = problem.or(Some(StudyFileError::NotThere(*role)));
        }
    }
    for (role, wanted) in phases {
        for at in (0..files.len()).filter(|at| files[*at].name == *wanted) {
            roles[at] = *role;
        }
    }
    problem
}

/// A name is that of a file, or else a UID.
fn name_series(
    files: &[Named<'_>],
    phases: &[(Role, &str)],
    series: &mut NamedSeries,
) -> Option<StudyFileError> {
    let mut problem = None;
    for (role, wanted) in phases {
        let named = match files.iter().position(|file| file.name == *wanted) {
            Some(at) if files[at].dicom => Ok(SeriesName::File(at)),
            Some(_) => Err(StudyFileError::NotAnImage(*role)),
            None if is_uid(wanted) => Ok(SeriesName::Uid((*wanted).to_owned())),
            None => Err(StudyFileError::NotThere(*role)),
        };
        let place = if *role == Role::Portal { &mut series.portal } else { &mut series.arterial };
        match named {
            Ok(name) => *place = Some(name),
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    problem
}

/// PS3.5 9.1: digits and dots, at most 64.
fn is_uid(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    text.len() <= 64 && text.contains('.') && text.bytes().all(allowed)
}

fn first_problem(roles: &[Role]) -> Option<RoleProblem> {
    let count = |role| roles.iter().filter(|has| **has == role).count();
    for role in [Role::Portal, Role::Arterial, Role::Clinical, Role::Phases] {
        if count(role) > 1 {
            return Some(RoleProblem::Ambiguous { role, count: count(role) });
        }
    }
    let (nifti, dicom) = (count(Role::Portal) + count(Role::Arterial), count(Role::Dicom));
    if nifti > 0 && dicom > 0 {
        return Some(RoleProblem::TwoKinds { nifti, dicom });
    }
    (nifti + dicom == 0).then_some(RoleProblem::NoImage { files: roles.len() })
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
