//! Evidence on a network's grid → labels on the scan's own grid, one slice of the scan at a time.

use ndarray::{Array2, Array3, ArrayView4, ArrayViewMut1, ArrayViewMut3, Axis, Zip, s};

use crate::analysis::threads::slabs;
use crate::analysis::volume::kernel::{Order, source_position};
use crate::analysis::volume::{BACKGROUND, Mask, VoxelBox};

/// Where a network's grid lies on the scan's: `scan voxel = origin + index * step`, `[z, y, x]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Placement {
    pub(super) origin: [f64; 3],
    pub(super) step: [f64; 3],
}

/// Interpolates `evidence` (`[classes − 1, z, y, x]`, logits less background's) linearly at every
/// voxel of `region` and labels it with the largest class; ties go to the lower label. Voxels
/// outside the region are background. Each thread labels some slices of the scan of `shape`.
pub(super) fn labels(
    evidence: ArrayView4<'_, f32>,
    placement: Placement,
    (region, shape): (VoxelBox, [usize; 3]),
    threads: usize,
) -> Mask {
    let (_, depth, height, width) = evidence.dim();
    let between = [depth, height, width];
    let axes = [0, 1, 2].map(|axis| {
        let (origin, step) = (placement.origin[axis], placement.step[axis]);
        let position = |voxel| Between::new((voxel as f64 - origin) / step, between[axis]);
        (region.start[axis]..region.end[axis]).map(position).collect::<Vec<Between>>()
    });
    let mut labels = Array3::from_elem(shape, BACKGROUND);
    let [z, y, x] = [0, 1, 2].map(|axis| region.start[axis]..region.end[axis]);
    label(evidence, &axes, labels.slice_mut(s![z, y, x]), threads);
    Mask { labels }
}

/// The same where `labels` and the evidence are two grids of one box; `orders` say how to interpolate along each axis.
pub(super) fn resized(
    evidence: ArrayView4<'_, f32>,
    orders: [Order; 3],
    labels: ArrayViewMut3<'_, u8>,
    threads: usize,
) {
    let (_, depth, height, width) = evidence.dim();
    let (input, output) = ([depth, height, width], <[usize; 3]>::from(labels.dim()));
    let axes = [0, 1, 2].map(|axis| {
        let position = |voxel| source_position(voxel, input[axis], output[axis]);
        let at = |voxel| match orders[axis] {
            Order::Nearest => Between::new((position(voxel) + 0.5).floor(), input[axis]),
            Order::Linear | Order::Cubic => Between::new(position(voxel), input[axis]),
        };
        (0..output[axis]).map(at).collect::<Vec<Between>>()
    });
    label(evidence, &axes, labels, threads);
}

fn label(
    evidence: ArrayView4<'_, f32>,
    axes: &[Vec<Between>; 3],
    labels: ArrayViewMut3<'_, u8>,
    threads: usize,
) {
    slabs(threads, labels, |first, slab| label_slices(evidence, axes, first, slab));
}

/// Labels the slices of the region from number `first` on.
fn label_slices(
    evidence: ArrayView4<'_, f32>,
    [in_z, in_y, in_x]: &[Vec<Between>; 3],
    first: usize,
    mut slab: ArrayViewMut3<'_, u8>,
) {
    let (classes, _, height, width) = evidence.dim();
    let mut planes = vec![Array2::<f32>::zeros([height, width]); classes];
    let mut rows = vec![vec![0.0f32; width]; classes];
    for (mut slice, &at_z) in slab.outer_iter_mut().zip(&in_z[first..]) {
        for (plane, source) in planes.iter_mut().zip(evidence.outer_iter()) {
            let (low, high) =
                (source.index_axis(Axis(0), at_z.low), source.index_axis(Axis(0), at_z.high));
            Zip::from(plane).and(low).and(high).for_each(|out, &a, &b| *out = at_z.mix(a, b));
        }
        for (mut line, &at_y) in slice.outer_iter_mut().zip(in_y) {
            for (row, plane) in rows.iter_mut().zip(&planes) {
                let (low, high) = (plane.row(at_y.low), plane.row(at_y.high));
                let row = ArrayViewMut1::from(&mut row[..]);
                Zip::from(row).and(low).and(high).for_each(|out, &a, &b| *out = at_y.mix(a, b));
            }
            line.iter_mut().zip(in_x).for_each(|(label, at)| *label = largest(&rows, at));
        }
    }
}

fn largest(rows: &[Vec<f32>], at: &Between) -> u8 {
    let mut best = (0.0, BACKGROUND);
    for (label, row) in (BACKGROUND + 1..).zip(rows) {
        let value = at.mix(row[at.low], row[at.high]);
        if value > best.0 {
            best = (value, label);
        }
    }
    best.1
}

/// A position between two samples of an axis; beyond the ends the end sample counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::analysis) struct Between {
    pub(in crate::analysis) low: usize,
    pub(in crate::analysis) high: usize,
    fraction: f32,
}

impl Between {
    pub(in crate::analysis) fn new(position: f64, len: usize) -> Self {
        let position = position.clamp(0.0, len as f64 - 1.0);
        let low = position.floor() as usize;
        Self { low, high: (low + 1).min(len - 1), fraction: (position - low as f64) as f32 }
    }

    pub(in crate::analysis) fn mix(self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.fraction
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array4;
    use proptest::prelude::*;

    use super::*;
    use crate::analysis::volume::resample::orders;

    /// All eight corners of every voxel, in f64, then the arg-max over all classes.
    fn reference(
        evidence: &Array4<f32>,
        placement: Placement,
        (region, shape): (VoxelBox, [usize; 3]),
    ) -> Array3<Option<u8>> {
        Array3::from_shape_fn(shape, |(z, y, x)| {
            let at = [z, y, x];
            if (0..3).any(|a| at[a] < region.start[a] || at[a] >= region.end[a]) {
                return Some(BACKGROUND);
            }
            let mut logits = vec![0.0f64; 1];
            for class in evidence.outer_iter() {
                let mut sum = 0.0;
                for corner in 0..8usize {
                    let (mut weight, mut index) = (1.0, [0; 3]);
                    for axis in 0..3 {
                        let last = class.shape()[axis] as f64 - 1.0;
                        let p = (at[axis] as f64 - placement.origin[axis]) / placement.step[axis];
                        let p = p.clamp(0.0, last);
                        let high = corner >> axis & 1 == 1;
                        weight *= if high { p.fract() } else { 1.0 - p.fract() };
                        index[axis] = (p.floor() as usize + usize::from(high)).min(last as usize);
                    }
                    sum += weight * f64::from(class[index]);
                }
                logits.push(sum);
            }
            let best = logits.iter().copied().fold(f64::MIN, f64::max);
            let close = logits.iter().filter(|&&logit| best - logit < 1e-4).count();
            let label = logits.iter().position(|&logit| logit == best).unwrap() as u8;
            (close == 1).then_some(label)
        })
    }

    proptest! {
        /// Voxels where two classes come within rounding of each other are not compared.
        #[test]
        fn equals_the_definition(
            values in prop::collection::vec(-4.0f32..4.0, 2 * 4 * 3 * 5),
            origin in [-1.0..3.0, -1.0..3.0, -1.0..3.0],
            step in [0.3..2.5, 0.3..2.5, 0.3..2.5],
            start in [0usize..4, 0usize..4, 0usize..4],
            threads in 1usize..5,
        ) {
            let evidence = Array4::from_shape_vec([2, 4, 3, 5], values).unwrap();
            let region = VoxelBox { start, end: [7, 6, 8] };
            let (placement, shape) = (Placement { origin, step }, [8, 7, 8]);
            let mask = labels(evidence.view(), placement, (region, shape), threads);
            let expected = reference(&evidence, placement, (region, shape));
            let mut compared = 0;
            for (at, expected) in expected.indexed_iter() {
                if let Some(expected) = expected {
                    prop_assert_eq!(mask.labels[at], *expected, "at {:?}", at);
                    compared += 1;
                }
            }
            prop_assert!(compared > 400);
        }
    }

    /// Labels that `resample_data_or_seg_to_shape` of nnunetv2 2.8.1 gives on the same evidence, order 1.
    #[test]
    fn labels_come_back_as_in_nnunet() {
        let noise = |z: usize, y: usize, x: usize| {
            ((z * 7919 + y * 104_729 + x * 1_299_709) % 2001) as f32 - 1000.0
        };
        let mm = [[2.0, 1.3, 1.4], [4.0, 1.3, 1.4], [1.3, 1.4, 3.4]];
        let scan_mm = [[2.5, 1.0, 1.0], [5.0, 1.0, 1.0], [1.0, 1.0, 5.0]];
        let sizes = [([4, 3, 4], [3, 4, 5]), ([4, 3, 4], [3, 4, 5]), ([3, 4, 4], [4, 5, 3])];
        let expected = [
            "202210100101111100101102111101021111221011110011110000212202",
            "202210110101111100101111111111020011221011110011110000212222",
            "221001111220221221001011120221121001011110121111011001110111",
        ];
        for case in 0..3 {
            let ([d, h, w], shape) = sizes[case];
            let evidence = Array4::from_shape_fn([2, d, h, w], |(class, z, y, x)| match class {
                0 => noise(z, y, x) / 500.0,
                _ => noise(z + 1, y + 1, x + 1) / 400.0 - 0.3,
            });
            let mut labels = Array3::zeros(shape);
            let orders = orders(mm[case], scan_mm[case], Order::Linear);
            resized(evidence.view(), orders, labels.view_mut(), 2);
            let found: String = labels.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected[case], "case {case}");
        }
    }

    #[test]
    fn ties_go_to_the_lower_label() {
        let evidence = Array4::from_shape_fn([2, 1, 1, 3], |(_, _, _, x)| x as f32 - 1.0);
        let region = VoxelBox { start: [0; 3], end: [1, 1, 3] };
        let placement = Placement { origin: [0.0; 3], step: [1.0; 3] };
        let mask = labels(evidence.view(), placement, (region, [1, 1, 3]), 1);
        assert_eq!(mask.labels.into_raw_vec_and_offset().0, [0, 0, 1]);
    }
}
