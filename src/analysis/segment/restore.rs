//! Evidence on a network's grid → labels on the scan's own grid, one slice of the scan at a time.

use ndarray::{Array2, Array3, ArrayView4, Axis, Zip, s};

use crate::analysis::volume::{BACKGROUND, Mask, VoxelBox};

/// Where a network's grid lies on the scan's: `scan voxel = origin + index * step`, `[z, y, x]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Placement {
    pub(super) origin: [f64; 3],
    pub(super) step: [f64; 3],
}

/// Interpolates `evidence` (`[classes − 1, z, y, x]`, logits less background's) linearly at every
/// voxel of `region` and labels it with the largest class; ties go to the lower label. Voxels
/// outside the region are background.
pub(super) fn labels(
    evidence: ArrayView4<'_, f32>,
    placement: Placement,
    region: VoxelBox,
    shape: [usize; 3],
) -> Mask {
    let (classes, depth, height, width) = evidence.dim();
    let between = [depth, height, width];
    let axes = [0, 1, 2].map(|axis| {
        let (origin, step) = (placement.origin[axis], placement.step[axis]);
        let position = |voxel| Between::new((voxel as f64 - origin) / step, between[axis]);
        (region.start[axis]..region.end[axis]).map(position).collect::<Vec<Between>>()
    });
    let mut labels = Array3::from_elem(shape, BACKGROUND);
    let mut planes = vec![Array2::<f32>::zeros([height, width]); classes];
    let mut rows = vec![vec![0.0f32; width]; classes];
    for (z, &at_z) in (region.start[0]..).zip(&axes[0]) {
        for (class, plane) in planes.iter_mut().enumerate() {
            let source = evidence.index_axis(Axis(0), class);
            let (low, high) =
                (source.index_axis(Axis(0), at_z.low), source.index_axis(Axis(0), at_z.high));
            Zip::from(plane).and(low).and(high).for_each(|out, &a, &b| *out = at_z.mix(a, b));
        }
        for (y, &at_y) in (region.start[1]..).zip(&axes[1]) {
            for (row, plane) in rows.iter_mut().zip(&planes) {
                let pair = plane.row(at_y.low).into_iter().zip(plane.row(at_y.high));
                row.iter_mut().zip(pair).for_each(|(out, (&a, &b))| *out = at_y.mix(a, b));
            }
            let mut line = labels.slice_mut(s![z, y, region.start[2]..region.end[2]]);
            line.iter_mut().zip(&axes[2]).for_each(|(label, at)| *label = largest(&rows, at));
        }
    }
    Mask { labels }
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
