//! Looks at a claimed study once: is it whole, are its files plain and within the limits, which is
//! which. Structure is checked before a byte is read; every file is then read and hashed once.
//!
//! What is refused gets a signed result too, so a [`Refusal`] carries the digests of what could be
//! read. Its study digest (see [`Refusal::study_digest`]) is never that of the same files accepted:
//! a study that is sent again with, say, a corrected marker must not be answered with the old
//! refusal. No detail ever holds a file name.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::claim::Claim;
use super::content::{self, Bounds, Content, ContentError};
use super::listing::{self, Listed, MOST_LEVELS};
use crate::analysis::decode::dicom::is_dicom;
use crate::config::Limits;
use crate::seal::cose::sha256;
use crate::seal::digest::{series_digest, study_digest};
use crate::seal::wire::{Digest, InputRole, InputSeries, Inputs, List, ReasonCode};
use crate::study::arrival::{Entry, Kind};
use crate::study::files::{
    self, CLINICAL_FILE, Named, NamedPhases, NamedSeries, Role, STUDY_FILE, SeriesName, is_ignored,
};
use crate::study::marker::{Marker, Promise};
use crate::units::Bytes;

/// A study that can be analysed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Every file of the study, sorted by role, then name.
    pub files: Vec<StudyFile>,
    /// The series that `study.json` of a DICOM study names, by place among its DICOM files.
    pub series: NamedSeries,
    /// The bytes of `clinical.json`, the very ones that were hashed.
    pub clinical: Option<Vec<u8>>,
    /// What the result says about the input.
    pub inputs: Inputs,
    /// Over the images and `clinical.json`; other files do not count.
    pub study_digest: Digest,
}

/// One file of a study.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StudyFile {
    /// Which part of the study.
    pub role: InputRole,
    /// Its name: for local files only.
    pub name: OsString,
    /// Where it is.
    pub path: PathBuf,
    /// Length in bytes.
    pub length: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

/// A study that cannot be analysed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {detail}", .reason.name())]
pub struct Refusal {
    /// Why.
    pub reason: ReasonCode,
    /// Expected and found, in words and numbers, without any name: it is signed and sent.
    pub detail: String,
    /// What could be read.
    pub inputs: Inputs,
    /// Over every series that could be read and the reason, so that the same bytes refused again
    /// for the same reason are the same study, and accepted or refused otherwise are another. When
    /// nothing could be read it covers the job too: two empty folders are two studies, or the
    /// control room would hear of the first only.
    pub study_digest: Digest,
}

/// A reason and its detail.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    reason: ReasonCode,
    detail: String,
}

/// Looks at the claimed folder `input`.
///
/// # Errors
/// The first reason found, in this order: folder, number and size of files, links, completeness,
/// reading, marker, roles, clinical data.
pub fn inspect(input: &Path, claim: &Claim, limits: &Limits) -> Result<Inspection, Refusal> {
    let folder = Folder::open(input, limits).map_err(|fault| Refusal::new(fault, claim, &[]))?;
    let mut read = Read::default();
    for entry in &folder.plain {
        read.take(input, entry, limits);
    }
    let assigned = read.assign_roles(limits);
    let fault = folder
        .incomplete(claim)
        .or(read.fault.take())
        .or_else(|| broken_promise(&folder.marker, &read.files))
        .or(assigned)
        .or_else(|| read.clinical_too_large(limits));
    let clinical = read.clinical();
    let (files, named) = read.sorted();
    if let Some(fault) = fault {
        return Err(Refusal::new(fault, claim, &files));
    }
    let series = series(&files);
    let counts = |series: &&InputSeries| series.role != InputRole::Other;
    let study_digest = digest_of(series.iter().filter(counts), named_files(&files, &named));
    let inputs = Inputs { rule: claim.rule, series };
    Ok(Inspection { files, series: named, clinical, inputs, study_digest })
}

/// The claimed folder before anything in it is read.
struct Folder {
    plain: Vec<Entry>,
    not_plain: usize,
    marker: Marker,
}

impl Folder {
    fn open(input: &Path, limits: &Limits) -> Result<Self, Fault> {
        let unreadable = |error: io::Error| {
            log::error!("{}: {error}", input.display());
            Fault::new(ReasonCode::Internal, format!("the folder: {}", error.kind()))
        };
        let metadata = input.symlink_metadata().map_err(unreadable)?;
        if !metadata.is_dir() {
            let detail = "the study is not a folder but a link or a file";
            return Err(Fault::new(ReasonCode::SymlinkRefused, detail));
        }
        let Listed { listing, cut } = listing::list(input, limits).map_err(unreadable)?;
        let counted: Vec<Entry> = listing.counted().cloned().collect();
        if cut || counted.len() > limits.max_files {
            let detail = format!("more than {} files", limits.max_files);
            return Err(Fault::new(ReasonCode::TooManyFiles, detail));
        }
        let too_deep = |entry: &&Entry| {
            let slashes = entry.name.as_encoded_bytes().iter().filter(|byte| **byte == b'/');
            entry.kind == Kind::Folder && slashes.count() == MOST_LEVELS && !is_ignored(&entry.name)
        };
        if listing.entries.iter().any(|entry| too_deep(&entry)) {
            let detail = format!("folders within folders, more than {MOST_LEVELS} levels deep");
            return Err(Fault::new(ReasonCode::TooManyFiles, detail));
        }
        let (plain, others): (Vec<_>, Vec<_>) =
            counted.into_iter().partition(|entry| entry.kind == Kind::File);
        let bytes = plain.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.length));
        if bytes > limits.max_study.0 {
            let detail = format!("{} of files, at most {}", Bytes(bytes), limits.max_study);
            return Err(Fault::new(ReasonCode::TooLarge, detail));
        }
        Ok(Self { plain, not_plain: others.len(), marker: listing.marker })
    }

    fn incomplete(&self, claim: &Claim) -> Option<Fault> {
        if self.not_plain > 0 {
            let detail = format!("{} entries are not plain files", self.not_plain);
            return Some(Fault::new(ReasonCode::SymlinkRefused, detail));
        }
        if self.plain.is_empty() {
            return Some(Fault::new(ReasonCode::EmptyStudy, "no file in the folder"));
        }
        let found = self.plain.len();
        if self.marker == Marker::Aborted {
            let detail = format!("the transfer was cut off, with {found} files; send it again");
            return Some(Fault::new(ReasonCode::Incomplete, detail));
        }
        claim.overdue().then(|| {
            let detail = match &self.marker {
                Marker::Present(Promise { files: Some(files), .. }) => {
                    format!("{found} files at the deadline, the .done marker promises {files}")
                }
                Marker::Open => format!("still being sent at the deadline, with {found} files"),
                Marker::Present(_) | Marker::Absent | Marker::Aborted | Marker::Malformed => {
                    format!("not complete at the deadline, with {found} files")
                }
            };
            Fault::new(ReasonCode::Incomplete, detail)
        })
    }
}

/// The files read so far, and the first fault of one.
#[derive(Default)]
struct Read {
    files: Vec<ReadFile>,
    /// By place in `files`.
    series: NamedSeries,
    fault: Option<Fault>,
}

struct ReadFile {
    study_file: StudyFile,
    /// Whether it looks like DICOM.
    dicom: bool,
    /// Whether it looks like what is left of DICOM when a copy was cut off.
    hollow: bool,
    kept: Option<Vec<u8>>,
}

impl Read {
    fn take(&mut self, input: &Path, entry: &Entry, limits: &Limits) {
        // Nobody reads it: neither the worker's memory nor hours of hashing are spent on it.
        if entry.length > limits.max_image.0 {
            let detail = format!("a file of {}, at most {}", Bytes(entry.length), limits.max_image);
            return self.found(Fault::new(ReasonCode::TooLarge, detail));
        }
        let path = input.join(&entry.name);
        let keep = if is_named(&entry.name, CLINICAL_FILE) || is_named(&entry.name, STUDY_FILE) {
            limits.clinical.0
        } else {
            0
        };
        let bounds = Bounds { longest: entry.length, keep };
        match content::read_below(input, &entry.name, bounds) {
            Ok(Content { length, .. }) if length != entry.length => self.changed(),
            Ok(Content { sha256, length, head, kept }) => {
                let (role, name) = (InputRole::Other, entry.name.clone());
                let dicom = is_dicom(&head);
                let named_so = Path::new(&name).extension().is_some_and(|e| is_named(e, "dcm"));
                let hollow = !dicom && (named_so || head.iter().all(|byte| *byte == 0));
                let study_file = StudyFile { role, name, path, length, sha256 };
                self.files.push(ReadFile { study_file, dicom, hollow, kept });
            }
            Err(ContentError::TooLong(_) | ContentError::NotPlain) => self.changed(),
            Err(ContentError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                self.changed();
            }
            Err(ContentError::Io(error)) => {
                log::error!("a file in {}: {error}", input.display());
                let detail = format!("a file cannot be read: {}", error.kind());
                self.found(Fault::new(ReasonCode::Internal, detail));
            }
        }
    }

    fn changed(&mut self) {
        let detail = "a file changed while it was read";
        self.found(Fault::new(ReasonCode::Incomplete, detail));
    }

    fn found(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// Sets every file's role; the fault if they cannot be used.
    fn assign_roles(&mut self, limits: &Limits) -> Option<Fault> {
        let (named, fault) = match self.named_phases(limits) {
            Ok(named) => (named, None),
            Err(fault) => (None, Some(fault)),
        };
        let lossy = |file: &ReadFile| file.study_file.name.to_string_lossy().into_owned();
        let names: Vec<String> = self.files.iter().map(lossy).collect();
        let named_files = names.iter().zip(&self.files);
        let named_files: Vec<Named<'_>> =
            named_files.map(|(name, file)| Named { name, dicom: file.dicom }).collect();
        let assignment = files::assign(&named_files, named.as_ref());
        let fault = fault.or_else(|| self.misplaced()).or_else(|| {
            let hollow = self.files.iter().filter(|file| file.hollow).count();
            let dicom = assignment.roles.contains(&Role::Dicom);
            (dicom && hollow > 0).then(|| {
                let detail = format!("{hollow} files beside DICOM are empty, zeros, or no DICOM");
                Fault::new(ReasonCode::Incomplete, detail)
            })
        });
        for (file, role) in self.files.iter_mut().zip(&assignment.roles) {
            file.study_file.role = wire_role(*role);
        }
        self.series = assignment.series;
        fault.or_else(|| assignment.problem.map(Fault::from))
    }

    /// A file that would say something, and is not looked for where it lies.
    fn misplaced(&self) -> Option<Fault> {
        for (name, reason) in
            [(STUDY_FILE, ReasonCode::StudyInvalid), (CLINICAL_FILE, ReasonCode::ClinicalInvalid)]
        {
            let below = |file: &ReadFile| {
                let path = Path::new(&file.study_file.name);
                path.components().count() > 1
                    && path.file_name().is_some_and(|last| is_named(last, name))
            };
            if self.files.iter().any(below) {
                let detail = format!("{name} lies in a folder within the study, not at its top");
                return Some(Fault::new(reason, detail));
            }
        }
        None
    }

    fn named_phases(&self, limits: &Limits) -> Result<Option<NamedPhases>, Fault> {
        let invalid = |detail: String| Fault::new(ReasonCode::StudyInvalid, detail);
        let is_study = |file: &&ReadFile| is_named(&file.study_file.name, STUDY_FILE);
        let mut candidates = self.files.iter().filter(is_study);
        let Some(file) = candidates.next() else { return Ok(None) };
        if candidates.next().is_some() {
            return Err(invalid("more than one study.json".into()));
        }
        let bytes = file.kept.as_deref().ok_or_else(|| invalid(too_long(STUDY_FILE, limits)))?;
        NamedPhases::parse(bytes).map(Some).map_err(|error| invalid(error.to_string()))
    }

    /// The files by role and name, and the named series by place among those of DICOM.
    fn sorted(self) -> (Vec<StudyFile>, NamedSeries) {
        let before: Vec<StudyFile> = self.files.into_iter().map(|file| file.study_file).collect();
        let mut files = before.clone();
        files.sort_unstable();
        let place = |name: SeriesName| match name {
            SeriesName::File(at) => {
                let dicom = files.iter().filter(|file| file.role == InputRole::Dicom);
                SeriesName::File(dicom.take_while(|file| **file != before[at]).count())
            }
            SeriesName::Uid(uid) => SeriesName::Uid(uid),
        };
        let series = NamedSeries {
            arterial: self.series.arterial.map(place),
            portal: self.series.portal.map(place),
        };
        (files, series)
    }

    fn clinical_file(&self) -> Option<&ReadFile> {
        self.files.iter().find(|file| file.study_file.role == InputRole::Clinical)
    }

    fn clinical_too_large(&self, limits: &Limits) -> Option<Fault> {
        let file = self.clinical_file()?;
        let detail = too_long(CLINICAL_FILE, limits);
        file.kept.is_none().then(|| Fault::new(ReasonCode::ClinicalInvalid, detail))
    }

    fn clinical(&self) -> Option<Vec<u8>> {
        self.clinical_file().and_then(|file| file.kept.clone())
    }
}

/// Where the files are not the ones the marker promises.
fn broken_promise(marker: &Marker, files: &[ReadFile]) -> Option<Fault> {
    let mismatch = |detail: String| Some(Fault::new(ReasonCode::MarkerMismatch, detail));
    let promise = match marker {
        // `Folder::incomplete` refuses both of the latter, which promise nothing.
        Marker::Absent | Marker::Open | Marker::Aborted => return None,
        Marker::Malformed => return mismatch("the .done marker cannot be read".into()),
        Marker::Present(promise) => promise,
    };
    if let Some(promised) = promise.files
        && promised != files.len() as u64
    {
        return mismatch(format!("{} files, the .done marker promises {promised}", files.len()));
    }
    let kept = |(name, digest): &(&String, &String)| {
        let mut all = files.iter().map(|file| &file.study_file);
        all.any(|file| file.name == name.as_str() && file.sha256.to_string() == **digest)
    };
    let broken = promise.sha256.iter().filter(|listed| !kept(listed)).count();
    if broken > 0 {
        let listed = promise.sha256.len();
        return mismatch(format!("{broken} of {listed} listed files are missing or differ"));
    }
    None
}

impl Refusal {
    fn new(fault: Fault, claim: &Claim, files: &[StudyFile]) -> Self {
        let Fault { reason, detail } = fault;
        let series = series(files);
        let mut refused = format!("refused:{}", reason.name());
        if series.is_empty() {
            refused.push_str(&format!(":{}", claim.job));
        }
        let refused = (InputRole::Other, sha256(refused.as_bytes()));
        let study_digest = digest_of(series.iter(), [refused]);
        let inputs = Inputs { rule: claim.rule, series };
        Self { reason, detail, inputs, study_digest }
    }
}

impl Fault {
    fn new(reason: ReasonCode, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl From<files::RoleProblem> for Fault {
    fn from(problem: files::RoleProblem) -> Self {
        let reason = match problem {
            files::RoleProblem::Ambiguous { .. } | files::RoleProblem::TwoKinds { .. } => {
                ReasonCode::AmbiguousRole
            }
            files::RoleProblem::NoImage { .. } => ReasonCode::EmptyStudy,
            files::RoleProblem::StudyFile(_) => ReasonCode::StudyInvalid,
        };
        Self::new(reason, problem.to_string())
    }
}

/// One entry per role that has files, in the order of the roles' numbers.
fn series(files: &[StudyFile]) -> List<InputSeries, 6> {
    let of_role = |role: &InputRole| {
        let files: Vec<&StudyFile> = files.iter().filter(|file| file.role == *role).collect();
        let digests: Vec<Digest> = files.iter().map(|file| file.sha256).collect();
        let digest = series_digest(&digests).expect("at most 10,000 digests stay below its limit");
        let bytes = files.iter().map(|file| file.length).sum();
        (!files.is_empty()).then_some(InputSeries {
            role: *role,
            files: files.len() as u64,
            bytes,
            digest,
        })
    };
    List::new(InputRole::ALL.iter().filter_map(of_role).collect()).expect("there are six roles")
}

fn digest_of<'a>(
    series: impl Iterator<Item = &'a InputSeries>,
    more: impl IntoIterator<Item = (InputRole, Digest)>,
) -> Digest {
    let parts: Vec<_> = series.map(|series| (series.role, series.digest)).chain(more).collect();
    study_digest(&parts).expect("eight digests stay below its limit")
}

/// The bytes that the names in `study.json` lead to: names themselves are in no digest.
fn named_files(files: &[StudyFile], named: &NamedSeries) -> Vec<(InputRole, Digest)> {
    let dicom: Vec<&StudyFile> = files.iter().filter(|f| f.role == InputRole::Dicom).collect();
    let phases = [(InputRole::Arterial, &named.arterial), (InputRole::Portal, &named.portal)];
    let file = |(role, name): (InputRole, &Option<SeriesName>)| match name {
        Some(SeriesName::File(at)) => dicom.get(*at).map(|file| (role, file.sha256)),
        Some(SeriesName::Uid(_)) | None => None,
    };
    phases.into_iter().filter_map(file).collect()
}

fn wire_role(role: Role) -> InputRole {
    match role {
        Role::Portal => InputRole::Portal,
        Role::Arterial => InputRole::Arterial,
        Role::Clinical => InputRole::Clinical,
        Role::Dicom => InputRole::Dicom,
        Role::Phases => InputRole::Phases,
        Role::Other => InputRole::Other,
    }
}

fn is_named(name: &std::ffi::OsStr, wanted: &str) -> bool {
    name.eq_ignore_ascii_case(wanted)
}

fn too_long(what: &str, limits: &Limits) -> String {
    format!("{what} has more than {} bytes", limits.clinical.0)
}

#[cfg(test)]
mod tests;
