//! Liver and tumour labels inside the liver's box.

use super::nnunet::{Axes, Imported};
use super::restore::{Placement, labels};
use super::window::{blended, window_count};
use super::{Mirroring, Progress, SegmentError, sampling};
use crate::analysis::engine::int8::compute::Compute;
use crate::analysis::engine::manifest::{InputSpec, NnUnet, Task};
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
    /// `None`: ours.
    recipe: Option<NnUnet>,
    mirroring: Mirroring,
    peak_per_patch: Bytes,
}

impl Segmenter {
    /// Loads a segmentation package.
    pub fn load(package: &Package, compute: Compute) -> Result<Self, SegmentError> {
        let failed = |source| SegmentError::Engine { stage: STAGE, source };
        let Task::Segmentation(spec, spacing, recipe) = &package.manifest.task else {
            let package = package.manifest.name.clone();
            return Err(SegmentError::WrongTask { package, stage: STAGE });
        };
        let [z, y, x] = spec.input.patch;
        let network = Network::load(package, &[1, 1, z, y, x], compute).map_err(failed)?;
        let classes = spec.classes.len();
        network.expect_output(0, &spec.outputs[0], &[1, classes, z, y, x]).map_err(failed)?;
        // The engine's own memory, the patch, and the logits.
        let beside = (1 + classes) * z * y * x * size_of::<f32>();
        let peak_per_patch = network
            .memory()
            .map_or(package.manifest.peak_ram, |engine| Bytes(engine.0 + beside as u64));
        Ok(Self {
            network,
            input: spec.input.clone(),
            classes,
            spacing: *spacing,
            recipe: *recipe,
            mirroring: Mirroring::OFF,
            peak_per_patch,
        })
    }

    /// Shows patches mirrored too, as far as the package says that the network was trained on such.
    #[must_use]
    pub fn with_mirroring(mut self) -> Self {
        self.mirroring = self.recipe.map_or(Mirroring::OFF, |recipe| Mirroring(recipe.mirror_axes));
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
        let (mut patch, mut spacing) = (self.input.patch, self.spacing.zyx());
        if let Some(recipe) = &self.recipe {
            let axes = Axes::new(recipe, &portal.geometry.stored);
            (patch, spacing) = (axes.to_array(patch), axes.to_array(spacing));
        }
        let fine = [0, 1, 2].map(|axis| {
            let size = region.end[axis].saturating_sub(region.start[axis]) as f64;
            let fine = (size * source[axis] / spacing[axis]).ceil() as usize;
            fine.max(patch[axis])
        });
        // The values twice (the padded copy), one plane of evidence per foreground class.
        let voxel_bytes = (1 + self.classes) * size_of::<f32>();
        let arrays = fine.iter().product::<usize>() * voxel_bytes;
        let scan: usize = portal.geometry.shape.iter().product();
        let in_flight = self.network.inputs_at_once().min(window_count(fine, patch));
        Bytes(self.peak_per_patch.0 * in_flight as u64 + (arrays + scan) as u64)
    }

    /// Labels `region` on the scan's own grid; background outside it. A network of ours sees a wider part
    /// of the scan where the region is smaller than its patch; an imported one sees the region as nnU-Net would show it.
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
        let failed = |source| SegmentError::Engine { stage: STAGE, source };
        if let Some(recipe) = &self.recipe {
            let imported = Imported {
                network: &self.network,
                input: &self.input,
                spacing_mm: self.spacing.zyx(),
                recipe,
                mirroring: self.mirroring,
            };
            return imported.segment(portal, region, progress).map_err(failed);
        }
        let (seen, threads) = (self.widened(portal, region), self.engine().threads);
        // nnU-Net normalises before it resamples, so that air does not bleed into clipped tissue.
        let load = |hu: i16| self.input.normalise(f32::from(hu));
        let model = sampling::to_model(portal, seen, self.spacing, load, threads);
        let evidence = blended(&self.network, model.values.view(), self.mirroring, progress)
            .map_err(failed)?;
        let placement = Placement { origin: model.origin, step: model.step };
        Ok(labels(evidence.view(), placement, (region, shape), threads))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::engine::fixture::unet_package;
    use crate::analysis::segment::phantom_scan::scan;
    use crate::analysis::volume::{BACKGROUND, LIVER, TUMOUR};

    /// Of HU / 100: background below 0.5, liver from there, tumour from 1.5.
    fn package() -> Package {
        unet_package(&[(0.0, 0.0), (1.0, -0.5), (2.0, -2.0)], 2.0)
    }

    const ORGAN: VoxelBox = VoxelBox { start: [4, 6, 8], end: [16, 30, 40] };
    const NODULE: VoxelBox = VoxelBox { start: [6, 10, 12], end: [12, 22, 24] };
    const REGION: VoxelBox = VoxelBox { start: [2, 4, 6], end: [18, 32, 42] };

    #[test]
    fn labels_come_back_on_the_scans_own_grid() {
        let shape = [20, 40, 50];
        let portal = scan(shape, [3.0, 1.5, 1.0], 0, &[(ORGAN, 100), (NODULE, 200)]);
        let segmenter = Segmenter::load(&package(), Compute::with_threads(2)).unwrap();
        let mask = segmenter.segment(&portal, REGION, &mut |_| ()).unwrap();
        assert_eq!(mask.labels.shape(), shape);
        let near = |at: [usize; 3], region: VoxelBox, grow: isize| {
            (0..3).all(|a| {
                let low = region.start[a] as isize - grow;
                (low..region.end[a] as isize + grow).contains(&(at[a] as isize))
            })
        };
        // Edges blur by a voxel or two of either grid; within and without they must not.
        for (at, &label) in mask.labels.indexed_iter() {
            let at: [usize; 3] = at.into();
            if near(at, NODULE, -2) {
                assert_eq!(label, TUMOUR, "{at:?}");
            } else if near(at, ORGAN, -2) && !near(at, NODULE, 2) {
                assert_eq!(label, LIVER, "{at:?}");
            } else if !near(at, ORGAN, 2) {
                assert_eq!(label, BACKGROUND, "{at:?}");
            }
        }
        let volume = |wanted| mask.labels.iter().filter(|&&label| label == wanted).count() as f64;
        let true_tumour = 6.0 * 12.0 * 12.0;
        assert!((volume(TUMOUR) / true_tumour - 1.0).abs() < 0.15, "{}", volume(TUMOUR));
    }

    #[test]
    fn outside_the_region_is_background() {
        let portal = scan([20, 40, 50], [3.0, 1.5, 1.0], 100, &[]);
        let segmenter = Segmenter::load(&package(), Compute::with_threads(1)).unwrap();
        let mask = segmenter.segment(&portal, REGION, &mut |_| ()).unwrap();
        for ((z, y, x), &label) in mask.labels.indexed_iter() {
            let inside = (0..3).all(|a| (REGION.start[a]..REGION.end[a]).contains(&[z, y, x][a]));
            assert_eq!(label, if inside { LIVER } else { BACKGROUND });
        }
    }

    #[test]
    fn a_region_must_lie_in_the_scan() {
        let portal = scan([20, 40, 50], [3.0, 1.5, 1.0], 100, &[]);
        let segmenter = Segmenter::load(&package(), Compute::with_threads(1)).unwrap();
        for (start, end) in [([0; 3], [20, 40, 51]), ([3, 4, 5], [3, 9, 9])] {
            let refused = segmenter.segment(&portal, VoxelBox { start, end }, &mut |_| ());
            assert!(matches!(refused, Err(SegmentError::Region { .. })));
        }
        let whole = VoxelBox { start: [0; 3], end: [20, 40, 50] };
        assert!(segmenter.segment(&portal, whole, &mut |_| ()).is_ok());
    }

    #[test]
    fn a_small_region_is_shown_with_its_surroundings() {
        let portal = scan([20, 40, 50], [3.0, 1.5, 1.0], 100, &[]);
        let segmenter = Segmenter::load(&package(), Compute::with_threads(1)).unwrap();
        // The patch is 16 mm: 6 slices, 11 rows, 16 columns.
        let seen = |start, end| {
            let seen = segmenter.widened(&portal, VoxelBox { start, end });
            (seen.start, seen.end)
        };
        assert_eq!(seen([10, 20, 30], [11, 21, 31]), ([8, 15, 23], [14, 26, 39]));
        assert_eq!(seen([0, 0, 0], [1, 1, 1]), ([0; 3], [6, 11, 16]));
        assert_eq!(seen([19, 39, 49], [20, 40, 50]), ([14, 29, 34], [20, 40, 50]));
        assert_eq!(seen([0, 0, 0], [20, 40, 50]), ([0; 3], [20, 40, 50]));
    }

    #[test]
    fn the_predicted_peak_grows_with_region_and_threads() {
        let portal = scan([20, 40, 50], [3.0, 1.5, 1.0], 100, &[]);
        let whole = VoxelBox { start: [0; 3], end: [20, 40, 50] };
        let peak = |threads: usize, region| {
            Segmenter::load(&package(), Compute::with_threads(threads))
                .unwrap()
                .predicted_peak(&portal, region)
                .0
        };
        // 64 MiB a patch; 30 × 30 × 25 fine voxels of 16 bytes; a byte a voxel of labels.
        assert_eq!(peak(1, whole), (64 << 20) + 30 * 30 * 25 * 16 + 40_000);
        assert_eq!(peak(2, whole) - peak(1, whole), 64 << 20);
        assert!(peak(1, REGION) < peak(1, whole));
        // One window needs one patch, however many threads wait.
        let patch = VoxelBox { start: [0; 3], end: [5, 10, 16] };
        assert_eq!(peak(8, patch), peak(1, patch));
    }

    #[test]
    fn takes_no_other_package() {
        let package = unet_package(&[(0.0, 0.0), (1.0, 0.0)], 4.0);
        assert!(matches!(
            Segmenter::load(&package, Compute::with_threads(1)),
            Err(SegmentError::WrongTask { .. })
        ));
    }
}
