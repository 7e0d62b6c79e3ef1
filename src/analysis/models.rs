//! The shipped networks and the clinical layer behind the two seams of [`analyse`](super::analyse()).

use thiserror::Error;

use super::analyse::{Clinic, Networks};
use super::engine::network::EngineInfo;
use super::engine::package::Package;
use super::findings::Reason;
use super::pmn::{Classifier, HeatMap, Phases, PmnError, Risk};
use super::segment::{Localiser, Progress, SegmentError, Segmenter};
use super::volume::{HuVolume, Mask, VoxelBox};
use crate::clinical::{self, ClinicalData, ClinicalFindings, Measured, NomogramPair};

/// The three network packages in use. Each network is loaded when its stage begins and freed when
/// it ends, so that the stages' memory does not add up.
#[derive(Debug)]
pub struct Packages {
    /// Task `localisation`.
    pub localiser: Package,
    /// Task `segmentation`.
    pub segmenter: Package,
    /// Task `classification`.
    pub pmn: Package,
    /// Compute threads, at least 1.
    pub threads: usize,
}

/// Why a network gave no answer.
#[derive(Debug, Error)]
pub enum NetworkFailure {
    /// Localiser or segmentation.
    #[error("segmenting the liver")]
    Segment(#[from] SegmentError),
    /// Prototype Mamba Net.
    #[error("classifying the tumour")]
    Classify(#[from] PmnError),
}

impl Packages {
    /// What computes: the engine as the segmentation network reports it.
    pub fn engine(&self) -> Result<EngineInfo, NetworkFailure> {
        Ok(Segmenter::load(&self.segmenter, self.threads)?.engine())
    }
}

impl Networks for Packages {
    type Error = NetworkFailure;

    fn locate_liver(&self, portal: &HuVolume) -> Result<Option<VoxelBox>, NetworkFailure> {
        let localiser = Localiser::new(&self.localiser, self.threads)?;
        Ok(localiser.locate(portal, &mut |_| {})?.region)
    }

    fn segment(
        &self,
        portal: &HuVolume,
        liver: VoxelBox,
        progress: &mut dyn FnMut(u8),
    ) -> Result<Mask, NetworkFailure> {
        let segmenter = Segmenter::load(&self.segmenter, self.threads)?;
        Ok(segmenter.segment(portal, liver, &mut |p| progress(percent(p)))?)
    }

    fn classify(
        &self,
        arterial: &HuVolume,
        portal: &HuVolume,
        mask: &Mask,
    ) -> Result<(Risk, HeatMap), NetworkFailure> {
        Ok(Classifier::load(&self.pmn)?.classify(Phases { arterial, portal }, mask)?)
    }
}

/// One patient's clinical data and the nomograms in use.
#[derive(Debug)]
pub struct Patient {
    /// What was supplied; everything unknown when the file could not be used.
    pub data: ClinicalData,
    /// Why the file could not be used, if it could not.
    pub unusable: Option<String>,
    /// TACE and HAIC.
    pub nomograms: NomogramPair,
}

impl Clinic for Patient {
    fn assess(&self, measured: &Measured) -> (ClinicalFindings, Vec<Reason>) {
        let found = clinical::assess(&self.data, measured, &self.nomograms);
        let unusable = self.unusable.iter().cloned().map(Reason::ClinicalFile);
        let reasons = unusable.chain(found.reasons().into_iter().map(Reason::Clinical)).collect();
        (found, reasons)
    }
}

fn percent(progress: Progress) -> u8 {
    (100 * progress.done / progress.total.max(1)).min(100) as u8
}
