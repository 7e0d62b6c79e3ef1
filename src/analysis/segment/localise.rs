//! The liver's box from one look at the whole scan at low resolution.

use ndarray::{Array3, Array4};

use super::window::blended;
use super::{Mirroring, Progress, SegmentError, sampling};
use crate::analysis::engine::int8::compute::Compute;
use crate::analysis::engine::manifest::Task;
use crate::analysis::engine::network::{EngineInfo, Network};
use crate::analysis::engine::package::Package;
use crate::analysis::volume::{HuVolume, ModelVolume, VoxelBox};
use crate::units::Spacing;

/// Added to the liver's box on every side: a coarse voxel, and room for what the coarse look missed.
pub const MARGIN_MM: f64 = 16.0;
/// A smaller thing is no liver: the smallest part of one worth scoring, 100 ml. A normal liver has
/// about 1,500 ml.
pub const MIN_LIVER_MM3: f64 = 100_000.0;
/// The largest scan, in voxels of the localiser's grid, that is shown in one piece.
pub const WHOLE_VOXELS: usize = 128 * 128 * 128;
/// Sides shown in one piece are padded to this: the networks halve their input up to four times.
const SIDE_MULTIPLE: usize = 16;

const STAGE: &str = "localise the liver";

/// Finds the liver.
pub struct Localiser<'a> {
    package: &'a Package,
    spacing: Spacing,
    compute: Compute,
}

/// Where the liver is, and what said so.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    /// The liver's box with [`MARGIN_MM`] around it; `None`: no liver of [`MIN_LIVER_MM3`].
    pub region: Option<VoxelBox>,
    /// Volume of the largest connected piece, mm³.
    pub liver_mm3: f64,
    /// What computed it.
    pub engine: EngineInfo,
}

impl<'a> Localiser<'a> {
    /// Takes a localisation package; its network is built per scan, because it fits the scan's shape.
    pub fn new(package: &'a Package, compute: Compute) -> Result<Self, SegmentError> {
        match package.manifest.task {
            Task::Localisation(_, spacing) => Ok(Self { package, spacing, compute }),
            Task::Segmentation(..) | Task::Classification(..) | Task::Nomogram => {
                Err(SegmentError::WrongTask {
                    package: package.manifest.name.clone(),
                    stage: STAGE,
                })
            }
        }
    }

    /// Looks at the whole scan.
    pub fn locate(
        &self,
        portal: &HuVolume,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Located, SegmentError> {
        let (model, evidence, engine) = self.evidence(portal, progress)?;
        let liver = evidence.index_axis_move(ndarray::Axis(0), 0).mapv(|logit| logit > 0.0);
        let step: f64 = model.step.iter().product();
        let voxel_mm3 = step * portal.geometry.spacing.voxel_mm3();
        let Some((voxels, bounds)) = largest_component(liver) else {
            return Ok(Located { region: None, liver_mm3: 0.0, engine });
        };
        let liver_mm3 = voxels as f64 * voxel_mm3;
        let region = (liver_mm3 >= MIN_LIVER_MM3).then(|| scan_box(&model, bounds, portal));
        Ok(Located { region, liver_mm3, engine })
    }

    /// Coarse volume, `[1, z, y, x]` logit of liver less background, what computed.
    fn evidence(
        &self,
        portal: &HuVolume,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(ModelVolume, Array4<f32>, EngineInfo), SegmentError> {
        let failed = |source| SegmentError::Engine { stage: STAGE, source };
        let missing = || SegmentError::WrongTask {
            package: self.package.manifest.name.clone(),
            stage: STAGE,
        };
        let spec = self.package.network().ok_or_else(missing)?;
        let whole = VoxelBox { start: [0; 3], end: portal.geometry.shape };
        let mut model =
            sampling::to_model(portal, whole, self.spacing, f32::from, self.compute.threads);
        model.values.mapv_inplace(|hu| spec.input.normalise(hu));
        let [z, y, x] = one_look(model.values.dim().into()).unwrap_or(spec.input.patch);
        let network =
            Network::load(self.package, &[1, 1, z, y, x], self.compute).map_err(failed)?;
        let shape = [1, spec.classes.len(), z, y, x];
        network.expect_output(0, &spec.outputs[0], &shape).map_err(failed)?;
        let evidence = blended(&network, model.values.view(), Mirroring::OFF, progress);
        Ok((model, evidence.map_err(failed)?, network.engine()))
    }
}

/// The padded shape, if the volume is small enough to be shown in one piece.
fn one_look(shape: [usize; 3]) -> Option<[usize; 3]> {
    let padded = shape.map(|size| size.next_multiple_of(SIDE_MULTIPLE));
    (padded.iter().product::<usize>() <= WHOLE_VOXELS).then_some(padded)
}

/// A coarse box as a box of the scan's voxels, grown by the margin, cut to the scan.
fn scan_box(model: &ModelVolume, bounds: VoxelBox, portal: &HuVolume) -> VoxelBox {
    let (shape, spacing) = (portal.geometry.shape, portal.geometry.spacing.zyx());
    let edge = |axis: usize, index: usize, side: f64| {
        let voxel = model.origin[axis] + (index as f64 - 0.5) * model.step[axis] + 0.5;
        (voxel + side * MARGIN_MM / spacing[axis]).clamp(0.0, shape[axis] as f64)
    };
    VoxelBox {
        start: [0, 1, 2].map(|axis| edge(axis, bounds.start[axis], -1.0).floor() as usize),
        end: [0, 1, 2].map(|axis| edge(axis, bounds.end[axis], 1.0).ceil() as usize),
    }
}

/// Voxel count and box of the largest piece connected through faces; the first of equals.
fn largest_component(mut mask: Array3<bool>) -> Option<(usize, VoxelBox)> {
    let shape: [usize; 3] = mask.dim().into();
    let seeds: Vec<[usize; 3]> =
        mask.indexed_iter().filter(|&(_, &inside)| inside).map(|(at, _)| at.into()).collect();
    let mut best: Option<(usize, VoxelBox)> = None;
    let mut open = Vec::new();
    for seed in seeds {
        if !std::mem::take(&mut mask[seed]) {
            continue;
        }
        let mut count = 0;
        let mut bounds = VoxelBox { start: seed, end: seed.map(|index| index + 1) };
        open.push(seed);
        while let Some(at) = open.pop() {
            count += 1;
            for axis in 0..3 {
                bounds.start[axis] = bounds.start[axis].min(at[axis]);
                bounds.end[axis] = bounds.end[axis].max(at[axis] + 1);
                for next in neighbours(at, axis, shape[axis]).into_iter().flatten() {
                    if std::mem::take(&mut mask[next]) {
                        open.push(next);
                    }
                }
            }
        }
        if best.is_none_or(|(most, _)| count > most) {
            best = Some((count, bounds));
        }
    }
    best
}

/// The voxels before and after `at` along `axis`.
fn neighbours(at: [usize; 3], axis: usize, len: usize) -> [Option<[usize; 3]>; 2] {
    let moved = |index| {
        let mut next = at;
        next[axis] = index;
        next
    };
    let before = at[axis].checked_sub(1).map(moved);
    let after = (at[axis] + 1 < len).then(|| moved(at[axis] + 1));
    [before, after]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::engine::fixture::unet_package;
    use crate::analysis::segment::phantom_scan::scan;

    /// Liver where HU / 100 is above 0.5.
    fn package() -> Package {
        unet_package(&[(0.0, 0.0), (1.0, -0.5)], 4.0)
    }

    const LIVER: VoxelBox = VoxelBox { start: [10, 20, 30], end: [40, 60, 90] };
    const SPLEEN: VoxelBox = VoxelBox { start: [5, 80, 100], end: [15, 90, 110] };

    #[test]
    fn finds_the_largest_piece_with_its_margin() {
        let portal = scan([50, 100, 120], [3.0, 2.0, 2.0], -100, &[(LIVER, 110), (SPLEEN, 110)]);
        let package = package();
        let mut last = None;
        let located = Localiser::new(&package, Compute::with_threads(2))
            .unwrap()
            .locate(&portal, &mut |progress| last = Some(progress))
            .unwrap();
        let region = located.region.unwrap();
        let spacing = [3.0, 2.0, 2.0];
        for (axis, spacing) in spacing.into_iter().enumerate() {
            let margin = MARGIN_MM / spacing;
            let start = (LIVER.start[axis] as f64 - margin).max(0.0);
            let end = (LIVER.end[axis] as f64 + margin).min(portal.geometry.shape[axis] as f64);
            // Within a coarse voxel.
            let slack = 4.0 / spacing + 1.0;
            assert!((region.start[axis] as f64 - start).abs() <= slack, "{region:?}");
            assert!((region.end[axis] as f64 - end).abs() <= slack, "{region:?}");
        }
        let true_mm3 = 30.0 * 40.0 * 60.0 * 12.0;
        assert!((located.liver_mm3 / true_mm3 - 1.0).abs() < 0.15, "{}", located.liver_mm3);
        assert_eq!(last, Some(Progress { done: 1, total: 1 }));
    }

    #[test]
    fn what_is_too_small_is_no_liver() {
        let package = package();
        let localiser = Localiser::new(&package, Compute::with_threads(1)).unwrap();
        // The scan's voxels are the localiser's: nothing is resampled.
        let block = |x: usize| {
            let region = VoxelBox { start: [2; 3], end: [12, 12, 2 + x] };
            let portal = scan([20, 20, 32], [4.0; 3], -100, &[(region, 300)]);
            localiser.locate(&portal, &mut |_| ()).unwrap()
        };
        // 10 · 10 · 15 · 64 mm³ = 96,000; one column more is 102,400.
        assert_eq!((block(15).liver_mm3, block(15).region), (96_000.0, None));
        assert_eq!(block(16).liver_mm3, 102_400.0);
        assert!(block(16).region.is_some());
        let empty = scan([20, 20, 32], [4.0; 3], -100, &[]);
        let located = localiser.locate(&empty, &mut |_| ()).unwrap();
        assert_eq!((located.region, located.liver_mm3), (None, 0.0));
    }

    #[test]
    fn large_scans_go_through_windows() {
        assert_eq!(one_look([128, 128, 128]), Some([128; 3]));
        assert_eq!(one_look([75, 96, 90]), Some([80, 96, 96]));
        assert_eq!(one_look([129, 128, 128]), None);
    }

    #[test]
    fn takes_no_other_package() {
        let package = unet_package(&[(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)], 2.0);
        assert!(matches!(
            Localiser::new(&package, Compute::with_threads(1)),
            Err(SegmentError::WrongTask { .. })
        ));
    }

    #[test]
    fn components_touch_through_faces_only() {
        let mut mask = Array3::from_elem([3, 3, 4], false);
        for at in [[0, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1], [0, 0, 3], [0, 1, 3]] {
            mask[at] = true;
        }
        let expected = VoxelBox { start: [1, 1, 0], end: [3, 2, 2] };
        assert_eq!(largest_component(mask), Some((3, expected)));
        assert_eq!(largest_component(Array3::from_elem([2, 2, 2], false)), None);
    }
}
