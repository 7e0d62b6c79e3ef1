//! Liver and tumour labels inside the liver's box.

use super::restore::{Placement, labels};
use super::window::blended;
use super::{Mirroring, Progress, SegmentError, sampling};
use crate::analysis::engine::manifest::{InputSpec, Task};
use crate::analysis::engine::network::{EngineInfo, Network};
use crate::analysis::engine::package::Package;
use crate::analysis::volume::{HuVolume, Mask, VoxelBox};
use crate::units::{Bytes, Spacing};

const STAGE: &str = "segment liver and tumour";

/// The fine network, loaded for its patch.
pub struct Segmenter {
    network: Network,
    input: InputSpec,
    classes: usize,
    spacing: Spacing,
    mirroring: Mirroring,
    peak_per_patch: Bytes,
}

impl Segmenter {
    /// Loads a segmentation package; `threads` patches are computed at a time.
    pub fn load(package: &Package, threads: usize) -> Result<Self, SegmentError> {
        let failed = |source| SegmentError::Engine { stage: STAGE, source };
        let Task::Segmentation(spec, spacing) = &package.manifest.task else {
            let package = package.manifest.name.clone();
            return Err(SegmentError::WrongTask { package, stage: STAGE });
        };
        let [z, y, x] = spec.input.patch;
        let network = Network::load(package, &[1, 1, z, y, x]).map_err(failed)?;
        let classes = spec.classes.len();
        network.expect_output(0, &spec.outputs[0], &[1, classes, z, y, x]).map_err(failed)?;
        Ok(Self {
            network: network.with_threads(threads),
            input: spec.input.clone(),
            classes,
            spacing: *spacing,
            mirroring: Mirroring::Off,
            peak_per_patch: package.manifest.peak_ram,
        })
    }

    /// Shows patches mirrored too, or not.
    #[must_use]
    pub fn with_mirroring(mut self, mirroring: Mirroring) -> Self {
        self.mirroring = mirroring;
        self
    }

    /// What computes.
    pub fn engine(&self) -> EngineInfo {
        self.network.engine()
    }

    /// Memory that [`Self::segment`] needs at its peak, beside the scan: the patches in flight, the
    /// resampled region with its evidence, the labels.
    pub fn predicted_peak(&self, portal: &HuVolume, region: VoxelBox) -> Bytes {
        let source = portal.geometry.spacing.zyx();
        let voxels: f64 = (0..3)
            .map(|axis| {
                let size = (region.end[axis].saturating_sub(region.start[axis])) as f64;
                let fine = size * source[axis] / self.spacing.zyx()[axis];
                fine.max(self.input.patch[axis] as f64)
            })
            .product();
        // The values twice (the padded copy), one plane of evidence per foreground class.
        let arrays = voxels * ((1 + self.classes) * size_of::<f32>()) as f64;
        let scan: usize = portal.geometry.shape.iter().product();
        let patches = self.peak_per_patch.0 * self.network.engine().threads as u64;
        Bytes(patches + arrays as u64 + scan as u64)
    }

    /// Labels `region` on the scan's own grid; background outside it. The network sees a wider part
    /// of the scan where the region is smaller than its patch.
    pub fn segment(
        &self,
        portal: &HuVolume,
        region: VoxelBox,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Mask, SegmentError> {
        let shape = portal.geometry.shape;
        if (0..3).any(|a| region.start[a] >= region.end[a] || region.end[a] > shape[a]) {
            return Err(SegmentError::Region { region, shape });
        }
        let seen = self.widened(portal, region);
        // nnU-Net normalises before it resamples, so that air does not bleed into clipped tissue.
        let load = |hu: i16| self.input.normalise(f32::from(hu));
        let model = sampling::to_model(portal, seen, self.spacing, load);
        let evidence = blended(&self.network, model.values.view(), self.mirroring, progress)
            .map_err(|source| SegmentError::Engine { stage: STAGE, source })?;
        let placement = Placement { origin: model.origin, step: model.step };
        Ok(labels(evidence.view(), placement, region, shape))
    }

    /// The region grown to a patch, as far as the scan reaches: context instead of padding.
    fn widened(&self, portal: &HuVolume, region: VoxelBox) -> VoxelBox {
        let (shape, source) = (portal.geometry.shape, portal.geometry.spacing.zyx());
        let mut seen = region;
        for axis in 0..3 {
            let wanted = self.input.patch[axis] as f64 * self.spacing.zyx()[axis] / source[axis];
            let wanted = (wanted.ceil() as usize).min(shape[axis]);
            let missing = wanted.saturating_sub(region.end[axis] - region.start[axis]);
            if missing > 0 {
                let start = region.start[axis].saturating_sub(missing / 2);
                seen.start[axis] = start.min(shape[axis] - wanted);
                seen.end[axis] = seen.start[axis] + wanted;
            }
        }
        seen
    }
}
