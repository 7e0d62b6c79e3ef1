//! The analysis of one study, top to bottom: decode, gate, localise, segment, measure, register,
//! classify, assess. Pure: files come as bytes, time from the observer, networks through [`Networks`].
//!
//! What ends without a score keeps everything that was found up to there: a missing arterial phase
//! still gives a mask, lesions and pictures.

use super::decode::dicom::{DicomError, Source};
use super::decode::limits::Limits;
use super::decode::{Decoded, ImageName};
use super::findings::{Findings, Images, Outcome, Reason, Stage, StageTiming};
use super::gate::GateReport;
use super::lesions::{LesionError, Lesions, keep_largest_liver, measure};
use super::phases::{self, PhaseProblem, Phases, SeriesReport, StudyInput, Unread};
use super::pmn::{HeatMap, Risk};
use super::registration::register;
use super::volume::resample::onto_grid;
use super::volume::{BACKGROUND, HuVolume, Mask, VoxelBox};
use crate::clinical::data::Subject;
use crate::clinical::{ClinicalFindings, Measured};
use crate::units::{Bytes, Millis};

use ndarray::Array3;
use thiserror::Error;

/// What the site sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Bounds on each image file.
    pub limits: Limits,
    /// Threads for resampling, at least 1.
    pub threads: usize,
    /// Whether to keep what DICOM objects of the result repeat of their source, the patient's
    /// identity included.
    pub keep_source: bool,
}

/// The networks in use.
pub trait Networks {
    /// Why a network gave no answer.
    type Error: std::error::Error + Send + Sync + 'static;

    /// A box that holds the liver, at low resolution; `None` when there is none.
    fn locate_liver(&self, portal: &HuVolume) -> Result<Option<VoxelBox>, Self::Error>;

    /// Liver and tumour within the box, on the portal grid, while `others` of other volumes are held.
    /// `progress` takes percent.
    fn segment(
        &self,
        portal: &HuVolume,
        liver: VoxelBox,
        others: Bytes,
        progress: &mut dyn FnMut(u8),
    ) -> Result<Mask, Self::Error>;

    /// Risk and explanation; both volumes and the mask lie on the portal grid.
    fn classify(
        &self,
        arterial: &HuVolume,
        portal: &HuVolume,
        mask: &Mask,
    ) -> Result<(Risk, HeatMap), Self::Error>;
}

/// The clinical layer, with this patient's data and the nomograms in use.
pub trait Clinic {
    /// Eligibility and, when a risk was measured and the patient is eligible, the nomograms; with
    /// the reasons against a score: [`Reason::Clinical`] or [`Reason::ClinicalFile`].
    fn assess(&self, measured: &Measured) -> (ClinicalFindings, Vec<Reason>);
}

/// Who watches: the only source of time here.
pub trait Observer {
    /// The time now, for durations only.
    fn now(&mut self) -> Millis;

    /// A stage is so far.
    fn stage(&mut self, stage: Stage, percent: u8);
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// Everything concluded.
    pub findings: Findings,
    /// The volumes behind it; `None` when no portal image was read.
    pub images: Option<Images>,
    /// Whose images they are, as DICOM files say: for the pseudonym, and for nothing else.
    pub subject: Option<Subject>,
    /// What the portal venous series repeats of its source, or why that cannot be read; `None` unless
    /// it is asked for, and for NIfTI.
    pub source: Option<Result<Source, DicomError>>,
}

/// The analysis itself failed: no fault of the study's that has a name.
#[derive(Debug, Error)]
pub enum AnalysisError<E: std::error::Error + 'static> {
    /// A network gave no answer.
    #[error("running a network at stage {stage:?} failed")]
    Network {
        /// Where.
        stage: Stage,
        /// Why.
        source: E,
    },
    /// The mask could not be measured.
    #[error("measuring the mask failed")]
    Measure(#[from] LesionError),
}

/// Analyses one study.
pub fn analyse<N: Networks>(
    study: StudyInput,
    networks: &N,
    clinic: &dyn Clinic,
    settings: &Settings,
    observer: &mut dyn Observer,
) -> Result<Analysis, AnalysisError<N::Error>> {
    let mut course = Course { observer, timings: Vec::new() };

    let read = course.time(Stage::Decode, |_| phases::read(study, networks, settings));
    let Phases { arterial, portal, problems, mask: known, subject, series, source } = match read {
        Ok(phases) => phases,
        Err(Unread::Files(reasons)) => return Ok(unreadable(reasons, clinic, course.timings)),
        Err(Unread::Network(source)) => {
            return Err(AnalysisError::Network { stage: Stage::Decode, source });
        }
    };
    let mut draft = Draft { problems, series, subject, source, ..Draft::default() };
    let Some(portal) = portal else {
        return Ok(draft.conclude(None, clinic, course));
    };

    let (portal, arterial) = course.time(Stage::Gate, |_| admit(&mut draft.gate, portal, arterial));

    let mut mask = empty_mask(&portal);
    if draft.gate.admits(ImageName::Portal) {
        mask = match known {
            Some(known) => known,
            None => {
                let others = arterial.as_ref().map_or(Bytes(0), HuVolume::bytes);
                find_tumour(&portal, networks, &mut course, (mask, others))?
            }
        };
        course.time(Stage::Measure, |_| draft.measure(&portal, &mut mask))?;
    }

    let arterial = arterial.map(|arterial| {
        course.time(Stage::Register, |_| {
            align(&mut draft.gate, arterial, (&portal, &mask), settings.threads)
        })
    });
    draft.gate.add_enhancement(arterial.as_ref(), &portal, &mask, settings.threads);
    let mut heat_map = None;
    if let Some(arterial) = arterial.as_ref().filter(|_| draft.allows_score(clinic)) {
        let (risk, explanation) = course
            .time(Stage::Classify, |_| networks.classify(arterial, &portal, &mask))
            .map_err(|source| AnalysisError::Network { stage: Stage::Classify, source })?;
        if draft.gate.admits_distances(&risk) {
            draft.risk = Some(risk);
            heat_map = Some(explanation);
        }
    }

    Ok(draft.conclude(Some(Images { portal, arterial, mask, heat_map }), clinic, course))
}

/// Measures each image, and how their grids lie.
fn admit(
    gate: &mut GateReport,
    portal: Decoded,
    arterial: Option<Decoded>,
) -> (HuVolume, Option<HuVolume>) {
    gate.add_image(ImageName::Portal, &portal.volume, &portal.intake);
    let arterial = arterial.map(|arterial| {
        gate.add_image(ImageName::Arterial, &arterial.volume, &arterial.intake);
        gate.add_overlap(&portal.volume.geometry, &arterial.volume.geometry);
        arterial.volume
    });
    (portal.volume, arterial)
}

/// Brings the arterial phase onto the portal grid, its liver onto the portal venous one's as far as
/// the gate allows, and measures the pair.
fn align(
    gate: &mut GateReport,
    mut arterial: HuVolume,
    (portal, mask): (&HuVolume, &Mask),
    threads: usize,
) -> HuVolume {
    let comparable = gate.can_be_aligned();
    let found = comparable.then(|| register(&arterial, portal, mask, threads)).flatten();
    if let Some(alignment) = &found {
        arterial.geometry.move_by(gate.add_alignment(alignment));
    }
    let phase = onto_grid(arterial, &portal.geometry, threads);
    gate.add_difference(portal, &phase);
    gate.add_arterial_liver(&phase, mask);
    if comparable && found.is_none() {
        gate.add_no_alignment();
    }
    phase.volume
}

/// Localise, then segment within the box, while so much of other volumes is held; `empty` where there
/// is no liver.
fn find_tumour<N: Networks>(
    portal: &HuVolume,
    networks: &N,
    course: &mut Course<'_>,
    (empty, others): (Mask, Bytes),
) -> Result<Mask, AnalysisError<N::Error>> {
    let failed = |stage| move |source| AnalysisError::Network { stage, source };
    let liver = course
        .time(Stage::Localise, |_| networks.locate_liver(portal))
        .map_err(failed(Stage::Localise))?;
    let Some(liver) = liver else {
        return Ok(empty);
    };
    course
        .time(Stage::Segment, |observer| {
            let mut progress = |percent| observer.stage(Stage::Segment, percent);
            networks.segment(portal, liver, others, &mut progress)
        })
        .map_err(failed(Stage::Segment))
}

fn empty_mask(portal: &HuVolume) -> Mask {
    Mask { labels: Array3::from_elem(portal.geometry.shape, BACKGROUND) }
}

fn unreadable(reasons: Vec<Reason>, clinic: &dyn Clinic, timings: Vec<StageTiming>) -> Analysis {
    let (clinical, _) =
        clinic.assess(&Measured { largest_diameter: None, lesion_count: None, risk: None });
    let findings = Findings {
        outcome: Outcome::Unreadable,
        reasons,
        series: None,
        gate: None,
        lesions: None,
        risk: None,
        clinical,
        timings,
    };
    Analysis { findings, images: None, subject: None, source: None }
}

/// The observer and the time each stage took.
struct Course<'a> {
    observer: &'a mut dyn Observer,
    timings: Vec<StageTiming>,
}

impl Course<'_> {
    fn time<T>(&mut self, stage: Stage, work: impl FnOnce(&mut dyn Observer) -> T) -> T {
        self.observer.stage(stage, 0);
        let start = self.observer.now();
        let done = work(self.observer);
        let Millis(end) = self.observer.now();
        let elapsed = Millis(end.saturating_sub(start.0));
        self.timings.push(StageTiming { stage, elapsed });
        self.observer.stage(stage, 100);
        done
    }
}

/// Findings in the making.
#[derive(Default)]
struct Draft {
    problems: Vec<PhaseProblem>,
    series: Option<SeriesReport>,
    subject: Option<Subject>,
    source: Option<Result<Source, DicomError>>,
    gate: GateReport,
    lesions: Option<Lesions>,
    risk: Option<Risk>,
}

impl Draft {
    /// Keeps the liver of the mask and measures it and its lesions.
    fn measure(&mut self, portal: &HuVolume, mask: &mut Mask) -> Result<(), LesionError> {
        let outside = keep_largest_liver(mask) as f64 * portal.geometry.spacing.voxel_mm3();
        let lesions = measure(mask, &portal.geometry)?;
        self.gate.add_liver(portal, mask, &lesions, outside);
        self.lesions = Some(lesions);
        Ok(())
    }

    /// True when neither the images nor the patient's data speak against a score.
    fn allows_score(&self, clinic: &dyn Clinic) -> bool {
        self.image_reasons().is_empty() && clinic.assess(&self.for_clinic()).1.is_empty()
    }

    fn image_reasons(&self) -> Vec<Reason> {
        let problems = self.problems.iter().cloned().map(Reason::Phases);
        problems.chain(self.gate.reasons().into_iter().map(Reason::Gate)).collect()
    }

    fn for_clinic(&self) -> Measured {
        // No lesion found is a count of 0, which can contradict the clinicians; not looked is none.
        let lesions = self.lesions.as_ref();
        Measured {
            largest_diameter: lesions.and_then(|l| l.lesions.first()).map(|l| l.diameter),
            lesion_count: lesions.map(|l| u32::try_from(l.count).unwrap_or(u32::MAX)),
            risk: self.risk.as_ref().map(|risk| (risk.score, risk.proliferative)),
        }
    }

    fn conclude(
        self,
        images: Option<Images>,
        clinic: &dyn Clinic,
        mut course: Course<'_>,
    ) -> Analysis {
        let measured = self.for_clinic();
        let (clinical, against) = course.time(Stage::Clinical, |_| clinic.assess(&measured));
        let reasons: Vec<Reason> = self.image_reasons().into_iter().chain(against).collect();
        let outcome = if reasons.is_empty() { Outcome::Ok } else { Outcome::Abstained };
        let findings = Findings {
            outcome,
            reasons,
            series: self.series,
            gate: images.is_some().then_some(self.gate),
            lesions: self.lesions,
            risk: self.risk,
            clinical,
            timings: course.timings,
        };
        Analysis { findings, images, subject: self.subject, source: self.source }
    }
}

#[cfg(test)]
#[path = "analyse_tests.rs"]
mod tests;
