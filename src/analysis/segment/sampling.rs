//! Sampling a scan on a regular grid of another spacing, for networks that look at coarse voxels.
//!
//! Linear interpolation between voxels. Where the new step is longer than a voxel, the triangle is
//! widened to the step, so that every voxel counts: a coarse voxel is then a weighted mean, as the
//! scanner would have measured it, and image noise is averaged instead of picked.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis};

use crate::analysis::volume::{HuVolume, ModelVolume, VoxelBox};
use crate::units::Spacing;

/// Sample positions along one axis: `origin + index * step`, in source voxels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::analysis) struct Line {
    /// Position of sample 0.
    pub(in crate::analysis) origin: f64,
    /// Distance of two samples, above zero.
    pub(in crate::analysis) step: f64,
    /// Number of samples.
    pub(in crate::analysis) len: usize,
}

/// Resamples `region` to about `spacing`, so that the new voxels tile the region exactly; values go
/// through `load` first.
pub(in crate::analysis) fn to_model(
    volume: &HuVolume,
    region: VoxelBox,
    spacing: Spacing,
    load: impl Fn(i16) -> f32,
) -> ModelVolume {
    let (source, target) = (volume.geometry.spacing.zyx(), spacing.zyx());
    let lines = [0, 1, 2].map(|axis| {
        let size = (region.end[axis] - region.start[axis]) as f64;
        let len = ((size * source[axis] / target[axis]).round_ties_even() as usize).max(1);
        let step = size / len as f64;
        Line { origin: region.start[axis] as f64 + 0.5 * step - 0.5, step, len }
    });
    ModelVolume {
        values: sample(volume.hu.view(), lines, load),
        origin: lines.map(|line| line.origin),
        step: lines.map(|line| line.step),
    }
}

/// Samples `[z, y, x]` voxels at the crossings of three lines; positions outside take the border.
pub(in crate::analysis) fn sample(
    voxels: ArrayView3<'_, i16>,
    lines: [Line; 3],
    load: impl Fn(i16) -> f32,
) -> Array3<f32> {
    let (depth, height, width) = voxels.dim();
    let taps_y = taps(lines[1], height);
    let taps_x = taps(lines[2], width);
    // For every source slice: which samples along z it feeds, and how much.
    let mut feeds = vec![Vec::new(); depth];
    for (z, tap) in taps(lines[0], depth).iter().enumerate() {
        for (offset, &weight) in tap.weights.iter().enumerate() {
            feeds[tap.first + offset].push((z, weight));
        }
    }
    let mut out = Array3::zeros([lines[0].len, lines[1].len, lines[2].len]);
    for (source, feeds) in feeds.iter().enumerate().filter(|(_, feeds)| !feeds.is_empty()) {
        let plane = sample_plane(voxels.index_axis(Axis(0), source), (&taps_y, &taps_x), &load);
        for &(z, weight) in feeds {
            out.index_axis_mut(Axis(0), z).scaled_add(weight, &plane);
        }
    }
    out
}

fn sample_plane(
    voxels: ArrayView2<'_, i16>,
    (taps_y, taps_x): (&[Tap], &[Tap]),
    load: &impl Fn(i16) -> f32,
) -> Array2<f32> {
    let mut plane = Array2::zeros([taps_y.len(), taps_x.len()]);
    let mut row = vec![0.0f32; voxels.dim().1];
    for (mut out, tap) in plane.outer_iter_mut().zip(taps_y) {
        row.fill(0.0);
        for (offset, &weight) in tap.weights.iter().enumerate() {
            for (sum, &value) in row.iter_mut().zip(voxels.row(tap.first + offset)) {
                *sum += weight * load(value);
            }
        }
        for (value, tap) in out.iter_mut().zip(taps_x) {
            let voxels = &row[tap.first..tap.first + tap.weights.len()];
            *value = voxels.iter().zip(&tap.weights).map(|(voxel, weight)| voxel * weight).sum();
        }
    }
    plane
}

/// The voxels that make one sample; weights sum to one.
#[derive(Debug, Clone, PartialEq)]
struct Tap {
    first: usize,
    weights: Vec<f32>,
}

/// One tap per sample of `line` on an axis of `len` voxels.
fn taps(line: Line, len: usize) -> Vec<Tap> {
    let reach = line.step.max(1.0);
    let last = len as f64 - 1.0;
    (0..line.len)
        .map(|index| {
            let centre = line.origin + index as f64 * line.step;
            let first = (centre - reach).ceil().clamp(0.0, last) as usize;
            let end = (centre + reach).floor().clamp(0.0, last) as usize;
            let weights: Vec<f64> = (first..=end)
                .map(|voxel| (1.0 - (voxel as f64 - centre).abs() / reach).max(0.0))
                .collect();
            let sum: f64 = weights.iter().sum();
            if sum > 0.0 {
                Tap { first, weights: weights.iter().map(|weight| (weight / sum) as f32).collect() }
            } else {
                let nearest = centre.round().clamp(0.0, last) as usize;
                Tap { first: nearest, weights: vec![1.0] }
            }
        })
        .collect()
}
