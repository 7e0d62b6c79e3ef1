//! The shipped networks and the clinical layer behind the two seams of [`analyse`](super::analyse()).

use std::cell::RefCell;

use thiserror::Error;

use super::analyse::{Clinic, Networks};
use super::engine::int8::compute::Compute;
use super::engine::network::EngineInfo;
use super::engine::package::Package;
use super::findings::Reason;
use super::pmn::{Classifier, HeatMap, Phases, PmnError, Risk};
use super::segment::{Localiser, Progress, SegmentError, Segmenter};
use super::volume::{HuVolume, Mask, VoxelBox};
use crate::clinical::{self, ClinicalData, ClinicalFindings, Measured, NomogramPair};
use crate::units::Bytes;

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
    /// What the networks may compute with; the memory is that of the whole process.
    pub compute: Compute,
    /// What has computed, each once, in order.
    pub ran_on: RefCell<Vec<EngineInfo>>,
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
    /// Refused before the work began, instead of being stopped in the middle of it.
    #[error(
        "segmenting this scan needs about {predicted}, the limit is {limit}: send a smaller series \
         or raise `limits.worker_memory_mib`"
    )]
    Memory {
        /// Peak that was predicted, the two phases included.
        predicted: Bytes,
        /// What the process may use.
        limit: Bytes,
    },
}

/// Both phases, on one grid.
fn both(portal: &HuVolume) -> Bytes {
    Bytes(2 * portal.bytes().0)
}

impl Packages {
    /// What a network may compute with beside so much of volumes.
    fn beside(&self, Bytes(volumes): Bytes) -> Compute {
        let memory = self.compute.memory.saturating_sub(volumes as usize);
        Compute { memory, ..self.compute }
    }

    /// Refuses a scan whose segmentation would not fit beside so much of volumes.
    fn check_memory(&self, volumes: Bytes, needed: Bytes) -> Result<(), NetworkFailure> {
        let predicted = Bytes(needed.0 + volumes.0);
        let limit = Bytes(self.compute.memory as u64);
        if predicted > limit {
            return Err(NetworkFailure::Memory { predicted, limit });
        }
        Ok(())
    }

    fn note(&self, engine: EngineInfo) {
        let mut ran_on = self.ran_on.borrow_mut();
        if !ran_on.contains(&engine) {
            ran_on.push(engine);
        }
    }
}

impl Networks for Packages {
    type Error = NetworkFailure;

    fn locate_liver(&self, portal: &HuVolume) -> Result<Option<VoxelBox>, NetworkFailure> {
        let localiser = Localiser::new(&self.localiser, self.beside(both(portal)))?;
        let located = localiser.locate(portal, &mut |_| {})?;
        self.note(located.engine);
        Ok(located.region)
    }

    fn segment(
        &self,
        portal: &HuVolume,
        liver: VoxelBox,
        Bytes(others): Bytes,
        progress: &mut dyn FnMut(u8),
    ) -> Result<Mask, NetworkFailure> {
        let volumes = Bytes(portal.bytes().0 + others);
        let segmenter = Segmenter::load(&self.segmenter, self.beside(volumes))?;
        self.check_memory(volumes, segmenter.predicted_peak(portal, liver))?;
        self.note(segmenter.engine());
        Ok(segmenter.segment(portal, liver, &mut |p| progress(percent(p)))?)
    }

    fn classify(
        &self,
        arterial: &HuVolume,
        portal: &HuVolume,
        mask: &Mask,
    ) -> Result<(Risk, HeatMap), NetworkFailure> {
        let classifier = Classifier::load(&self.pmn, self.beside(both(portal)))?;
        self.note(classifier.engine());
        Ok(classifier.classify(Phases { arterial, portal }, mask)?)
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
