//! Everything an analysis concluded, as values with units; no wire types, no pictures.

use super::gate::GateReport;
use super::lesions::Lesions;
use super::pmn::{HeatMap, Risk};
use super::volume::{HuVolume, Mask};
use crate::clinical::{ClinicalFindings, Reason as ClinicalReason};

/// How an analysis ended. A study that made the worker fail is not here: the daemon says `failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A score and a recommendation were computed.
    Ok,
    /// Looked at, and no score: see the reasons.
    Abstained,
    /// The image files cannot be used: see the reasons.
    Unreadable,
}

/// Why there is no score, in the order found.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// A file could not be decoded or is not a usable CT.
    Image(super::decode::DecodeError),
    /// No series of the DICOM files is a usable CT: why one of them is not.
    Series(super::decode::dicom::DicomError),
    /// A phase is missing, or which series it is is not clear.
    Phases(super::phases::PhaseProblem),
    /// The image was read, and the gate refuses it.
    Gate(super::gate::GateReason),
    /// The clinical layer refuses: outside the validity box, or a criterion is unknown.
    Clinical(ClinicalReason),
    /// `clinical.json` cannot be used: what is wrong with it. Nothing in it was used.
    ClinicalFile(String),
}

/// What one study's analysis concluded.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// How it ended.
    pub outcome: Outcome,
    /// Empty exactly when `outcome` is `Ok`.
    pub reasons: Vec<Reason>,
    /// What the DICOM files were; `None` for NIfTI and when nothing was read.
    pub series: Option<super::phases::SeriesReport>,
    /// What the gate measured; `None` when no image was read.
    pub gate: Option<GateReport>,
    /// `None` when nothing was segmented.
    pub lesions: Option<Lesions>,
    /// `None` unless both phases passed the gate and a tumour was found.
    pub risk: Option<Risk>,
    /// Eligibility, liver function, nomograms, recommendation (absent when abstained).
    pub clinical: ClinicalFindings,
    /// Stage name and duration, in the order run.
    pub timings: Vec<StageTiming>,
}

/// The stages of an analysis, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Bytes → `HuVolume`.
    Decode,
    /// Is this a liver CT?
    Gate,
    /// Liver box at low resolution.
    Localise,
    /// Liver and tumour labels.
    Segment,
    /// Components and diameters.
    Measure,
    /// The arterial phase onto the portal venous one.
    Register,
    /// Risk score and heat map.
    Classify,
    /// Eligibility, nomograms, recommendation.
    Clinical,
    /// Pictures and report.
    Render,
}

/// How long one stage took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageTiming {
    /// Which stage.
    pub stage: Stage,
    /// Wall time.
    pub elapsed: crate::units::Millis,
}

/// The volumes behind the findings, for masks and pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    /// The portal venous phase.
    pub portal: HuVolume,
    /// The arterial phase resampled to the portal grid, when there is one.
    pub arterial: Option<HuVolume>,
    /// Liver and tumour on the portal grid.
    pub mask: Mask,
    /// The PMN's explanation.
    pub heat_map: Option<HeatMap>,
}
