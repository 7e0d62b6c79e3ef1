//! The files of a study → its two phases. NIfTI files come with their phase; of DICOM files the
//! series are sorted, named and, where their attributes name none or contradict each other, looked
//! at. Only the two series that are chosen stay in memory.

mod series;

use thiserror::Error;

use super::analyse::{Networks, Settings};
use super::decode::dicom::{DicomError, SeriesName, Source};
use super::decode::{DecodeError, Decoded, ImageName, decode};
use super::findings::Reason;
use super::threads::both;
use super::volume::Mask;
use crate::clinical::data::Subject;

pub use series::{SeriesReport, SeriesSeen};

/// The files of one study, as stored. They are taken by value, so that each is freed as soon as it
/// is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StudyInput {
    /// One NIfTI file per phase.
    Nifti {
        /// The late arterial phase.
        arterial: Option<Vec<u8>>,
        /// The portal venous phase.
        portal: Option<Vec<u8>>,
    },
    /// DICOM files, of any number of series.
    Dicom {
        /// The files, in any order.
        files: Vec<Vec<u8>>,
        /// The series that `study.json` names.
        named: NamedSeries,
    },
}

/// The series of a DICOM study that `study.json` names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamedSeries {
    /// The arterial phase.
    pub arterial: Option<SeriesName>,
    /// The portal venous phase.
    pub portal: Option<SeriesName>,
}

/// The two phases as far as they are there.
#[derive(Debug, Default)]
pub(super) struct Phases {
    pub(super) arterial: Option<Decoded>,
    pub(super) portal: Option<Decoded>,
    /// What is missing or unclear: reasons against a score.
    pub(super) problems: Vec<PhaseProblem>,
    /// The portal venous phase's labels, where they were made to find out that it is this phase.
    pub(super) mask: Option<Mask>,
    /// Whose images they are, as the images say; `None` for NIfTI.
    pub(super) subject: Option<Subject>,
    /// What the DICOM files were; `None` for NIfTI.
    pub(super) series: Option<SeriesReport>,
    /// What objects made from the portal venous series repeat of it, where they are asked for.
    pub(super) source: Option<Result<Source, DicomError>>,
}

/// Why a phase is not there, or cannot be believed.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PhaseProblem {
    /// No series or file is of this phase.
    #[error("{seen}")]
    Missing {
        /// The phase.
        image: ImageName,
        /// What there was instead; empty for NIfTI.
        seen: String,
    },
    /// Several could be this phase, or one could be this one or another.
    #[error("{count} series could be the {image}; seen: {seen}")]
    Unclear {
        /// The phase.
        image: ImageName,
        /// How many.
        count: usize,
        /// What there was.
        seen: String,
    },
    /// The two series have coordinates of their own.
    #[error("the two series state different frames of reference")]
    FramesOfReference,
    /// The two series are of different people.
    #[error("the two series state different patients")]
    Patients,
    /// `study.json` names a series that is not there or cannot be used.
    #[error("study.json: the series of the {image} is not among the usable ones; seen: {seen}")]
    NotThere {
        /// The phase.
        image: ImageName,
        /// What there was.
        seen: String,
    },
    /// The two series are of different examinations.
    #[error("the two series state different studies, or times more than half an hour apart")]
    Examinations,
    /// Files that may be slices cannot be read.
    #[error("{count} files cannot be read, which may be slices of either series: {error}")]
    Lost {
        /// How many.
        count: usize,
        /// Why the first of them.
        error: DicomError,
    },
    /// A series that may be the missing phase cannot be used.
    #[error("a series of {slices} slices: {error}")]
    Refused {
        /// Its slices or files.
        slices: usize,
        /// Why.
        error: DicomError,
    },
}

/// Why there is no volume at all.
pub(super) enum Unread<E> {
    /// The files cannot be used.
    Files(Vec<Reason>),
    /// A network that was to look at a series gave no answer.
    Network(E),
}

/// Reads the study.
pub(super) fn read<N: Networks>(
    study: StudyInput,
    networks: &N,
    settings: &Settings,
) -> Result<Phases, Unread<N::Error>> {
    match study {
        StudyInput::Nifti { arterial, portal } => {
            nifti(arterial, portal, settings).map_err(Unread::Files)
        }
        StudyInput::Dicom { files, named } => series::read(files, &named, networks, settings),
    }
}

/// Decodes what there is, both files at a time where two threads are allowed; every file that cannot
/// be read is named.
fn nifti(
    arterial: Option<Vec<u8>>,
    portal: Option<Vec<u8>>,
    settings: &Settings,
) -> Result<Phases, Vec<Reason>> {
    let read = |image, bytes: Option<Vec<u8>>| {
        // The file's bytes are dropped here, as soon as they are unpacked.
        bytes.map(|bytes| decode(image, &bytes, &settings.limits)).transpose()
    };
    let (arterial, portal) = both(
        settings.threads,
        || read(ImageName::Arterial, arterial),
        || read(ImageName::Portal, portal),
    );
    let (arterial, portal) = match (arterial, portal) {
        (Ok(arterial), Ok(portal)) => (arterial, portal),
        (arterial, portal) => {
            let errors: Vec<DecodeError> = arterial.err().into_iter().chain(portal.err()).collect();
            return Err(errors.into_iter().map(Reason::Image).collect());
        }
    };
    let phases = [(ImageName::Portal, portal.is_some()), (ImageName::Arterial, arterial.is_some())];
    let missing = phases.iter().filter(|(_, there)| !there);
    let problems =
        missing.map(|(image, _)| PhaseProblem::Missing { image: *image, seen: String::new() });
    let problems = problems.collect();
    Ok(Phases { arterial, portal, problems, ..Phases::default() })
}
