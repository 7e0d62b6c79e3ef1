//! What nnU-Net v2 does around its network (Isensee 2021, Nat Methods 18:203), for networks that were imported from
//! it: crop to what is not zero, normalise, resample by its rules, slide, resample the answer back, label. Axes are in
//! the order the network was trained with, which is the package's to say.

use ndarray::{Array3, ArrayView3, ArrayViewMut3, Axis, AxisDescription, Slice, s};

use super::restore;
use super::window::blended;
use super::{Mirroring, Progress};
use crate::analysis::engine::manifest::{InputSpec, NnUnet, Orientation};
use crate::analysis::engine::network::{EngineError, Network};
use crate::analysis::volume::geometry::StoredGrid;
use crate::analysis::volume::kernel::Order;
use crate::analysis::volume::{BACKGROUND, HuVolume, Mask, VoxelBox, resample};

/// The network's axes as axes of a `[z, y, x]` array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axes {
    /// Axis of the network → axis of the array.
    of_array: [usize; 3],
    /// By axis of the array: whether the network's runs against it.
    reversed: [bool; 3],
}

impl Axes {
    pub(super) fn new(recipe: &NnUnet, stored: &StoredGrid) -> Self {
        let (oriented, reversed) = match recipe.orientation {
            Orientation::Ras => ([0, 1, 2], [false; 3]),
            Orientation::Lps => ([0, 1, 2], [false, true, true]),
            Orientation::File => {
                let mut oriented = [0; 3];
                for (axis, from) in stored.axes.iter().enumerate() {
                    oriented[2 - from.file_axis] = axis;
                }
                (oriented, stored.axes.map(|axis| axis.reversed))
            }
        };
        Self { of_array: recipe.transpose.map(|axis| oriented[axis]), reversed }
    }

    /// Numbers by axis of the array → by axis of the network.
    fn of_network<T: Copy>(&self, zyx: [T; 3]) -> [T; 3] {
        self.of_array.map(|axis| zyx[axis])
    }

    /// Numbers by axis of the network → by axis of the array.
    pub(super) fn to_array<T: Copy>(self, own: [T; 3]) -> [T; 3] {
        let mut zyx = own;
        for (axis, value) in self.of_array.into_iter().zip(own) {
            zyx[axis] = value;
        }
        zyx
    }

    fn view<'a, T>(&self, mut array: ArrayView3<'a, T>) -> ArrayView3<'a, T> {
        for axis in (0..3).filter(|&axis| self.reversed[axis]) {
            array.invert_axis(Axis(axis));
        }
        array.permuted_axes(self.of_array)
    }

    fn view_mut<'a, T>(&self, mut array: ArrayViewMut3<'a, T>) -> ArrayViewMut3<'a, T> {
        for axis in (0..3).filter(|&axis| self.reversed[axis]) {
            array.invert_axis(Axis(axis));
        }
        array.permuted_axes(self.of_array)
    }
}

/// A network with all that nnU-Net does around it.
pub(super) struct Imported<'a> {
    pub(super) network: &'a Network,
    pub(super) input: &'a InputSpec,
    /// Along the network's axes.
    pub(super) spacing_mm: [f64; 3],
    pub(super) recipe: &'a NnUnet,
    pub(super) mirroring: Mirroring,
}

impl Imported<'_> {
    /// Labels `region` of the scan as nnU-Net would label a scan that is cut to it.
    pub(super) fn segment(
        &self,
        scan: &HuVolume,
        region: VoxelBox,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Mask, EngineError> {
        let axes = Axes::new(self.recipe, &scan.geometry.stored);
        let threads = self.network.engine().threads;
        let mut mask = Mask { labels: Array3::from_elem(scan.geometry.shape, BACKGROUND) };
        let [z, y, x] = [0, 1, 2].map(|axis| region.start[axis]..region.end[axis]);
        let voxels = axes.view(scan.hu.slice(s![z.clone(), y.clone(), x.clone()]));
        let Some(body) = VoxelBox::of_voxels(voxels, |hu| hu != 0) else { return Ok(mask) };
        let inside = |axis: AxisDescription| {
            let axis = axis.axis.index();
            Slice::from(body.start[axis]..body.end[axis])
        };
        let voxels = voxels.slice_each_axis(inside);
        let mm = axes.of_network(scan.geometry.spacing.zyx());
        let load = |hu: i16| self.input.normalise(f32::from(hu));
        let values = resample::to_spacing(voxels, (mm, self.spacing_mm), load, threads);
        let evidence = blended(self.network, values.view(), self.mirroring, progress)?;
        drop(values);
        let orders = resample::orders(self.spacing_mm, mm, Order::Linear);
        let mut labels = axes.view_mut(mask.labels.slice_mut(s![z, y, x]));
        restore::resized(evidence.view(), orders, labels.slice_each_axis_mut(inside), threads);
        Ok(mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::engine::fixture::unet_package;
    use crate::analysis::engine::int8::compute::Compute;
    use crate::analysis::engine::manifest::Task;
    use crate::analysis::segment::Segmenter;
    use crate::analysis::segment::phantom_scan::scan;
    use crate::analysis::volume::geometry::StoredAxis;
    use crate::analysis::volume::{LIVER, TUMOUR};
    use crate::units::Spacing;

    fn recipe(orientation: Orientation, transpose: [usize; 3]) -> NnUnet {
        NnUnet { orientation, transpose, mirror_axes: [true, false, true] }
    }

    /// A file whose first axis runs to the back, its second upwards, its third to the left.
    fn stored() -> StoredGrid {
        let axis = |file_axis, reversed| StoredAxis { file_axis, reversed };
        let axes = [axis(1, false), axis(0, true), axis(2, true)];
        StoredGrid { shape: [3, 2, 4], axes, header: Vec::new() }
    }

    #[test]
    fn the_network_sees_the_files_own_order_transposed() {
        // [z, y, x] of 2, 3 and 4 voxels that tell where they are.
        let array = Array3::from_shape_fn([2, 3, 4], |(z, y, x)| 100 * z + 10 * y + x);
        let axes = Axes::new(&recipe(Orientation::File, [2, 0, 1]), &stored());
        let file = stored().file_order(array.view()).reversed_axes().permuted_axes([2, 0, 1]);
        assert_eq!(axes.view(array.view()), file);
        assert_eq!(axes.of_network([2, 3, 4]), [3, 4, 2]);
        assert_eq!(axes.to_array([3, 4, 2]), [2, 3, 4]);
        let ras = Axes::new(&recipe(Orientation::Ras, [0, 1, 2]), &stored());
        assert_eq!(ras.view(array.view()), array);
        let lps = Axes::new(&recipe(Orientation::Lps, [0, 1, 2]), &stored());
        assert_eq!(lps.view(array.view())[[1, 0, 0]], 123);
        let mut copy = Array3::zeros([2, 3, 4]);
        axes.view_mut(copy.view_mut()).assign(&file);
        assert_eq!(copy, array);
    }

    /// Of HU / 100: liver from 0.5, tumour from 1.5; the scan is padded with HU 0.
    #[test]
    fn an_imported_network_labels_what_is_not_padding() {
        let mut package = unet_package(&[(0.0, 0.0), (1.0, -0.5), (2.0, -2.0)], 2.0);
        let organ = VoxelBox { start: [4, 6, 8], end: [16, 30, 40] };
        let nodule = VoxelBox { start: [6, 10, 12], end: [12, 22, 24] };
        let body = VoxelBox { start: [1, 2, 3], end: [19, 35, 45] };
        let mut portal =
            scan([20, 40, 50], [2.0; 3], 0, &[(body, -100), (organ, 100), (nodule, 200)]);
        portal.geometry.stored = StoredGrid { shape: [40, 20, 50], ..stored() };
        let Task::Segmentation(spec, spacing, _) = package.manifest.task.clone() else {
            panic!("{:?}", package.manifest.task)
        };
        let task = |spacing, orientation, transpose| {
            Task::Segmentation(spec.clone(), spacing, Some(recipe(orientation, transpose)))
        };
        let whole = VoxelBox { start: [0; 3], end: [20, 40, 50] };
        let mut answers = Vec::new();
        for (orientation, transpose) in [
            (Orientation::Ras, [0, 1, 2]),
            (Orientation::File, [0, 1, 2]),
            (Orientation::File, [2, 0, 1]),
        ] {
            package.manifest.task = task(spacing, orientation, transpose);
            let segmenter = Segmenter::load(&package, Compute::with_threads(2)).unwrap();
            let mut patches = 0;
            let segmenter = segmenter.with_mirroring();
            let mask = segmenter.segment(&portal, whole, &mut |p| patches = p.total).unwrap();
            // The scan's voxels are the network's, so a pointwise network gives exact labels.
            for (at, &label) in mask.labels.indexed_iter() {
                let expected = match portal.hu[at] {
                    200 => TUMOUR,
                    100 => LIVER,
                    _ => 0,
                };
                assert_eq!(label, expected, "{at:?}");
            }
            // Of 18, 33 and 42 voxels that are not padding with patches of 8: 4 · 8 · 10 windows, four mirrorings.
            assert_eq!(patches, 4 * 8 * 10 * 4);
            answers.push(mask);
        }
        assert!(answers.iter().all(|mask| *mask == answers[0]));
        // The network's axes are y, x and z here: 22 · 34 · 9 voxels, 5 · 8 · 2 windows.
        let uneven = Spacing::new([3.0, 2.5, 4.0]).unwrap();
        package.manifest.task = task(uneven, Orientation::File, [2, 0, 1]);
        let segmenter = Segmenter::load(&package, Compute::with_threads(1)).unwrap();
        let mut patches = 0;
        segmenter.segment(&portal, whole, &mut |p| patches = p.total).unwrap();
        assert_eq!(patches, 5 * 8 * 2);
    }

    #[test]
    fn padding_alone_has_no_labels() {
        let mut package = unet_package(&[(0.0, 0.0), (0.0, 5.0), (0.0, -1.0)], 2.0);
        let Task::Segmentation(spec, spacing, _) = package.manifest.task.clone() else {
            panic!("{:?}", package.manifest.task)
        };
        package.manifest.task =
            Task::Segmentation(spec, spacing, Some(recipe(Orientation::Ras, [0, 1, 2])));
        let segmenter = Segmenter::load(&package, Compute::with_threads(1)).unwrap();
        let portal = scan([20, 20, 20], [2.0; 3], 0, &[]);
        let whole = VoxelBox { start: [0; 3], end: [20; 3] };
        let mask = segmenter.segment(&portal, whole, &mut |_| ()).unwrap();
        assert!(mask.labels.iter().all(|&label| label == BACKGROUND));
    }
}
