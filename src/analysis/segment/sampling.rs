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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition: every voxel within the triangle's reach, weighed and divided by the sum.
    fn reference(voxels: &Array3<i16>, lines: [Line; 3], at: [usize; 3]) -> f64 {
        let (mut sum, mut weights) = (0.0, 0.0);
        for ((z, y, x), &value) in voxels.indexed_iter() {
            let weight: f64 = [z, y, x]
                .into_iter()
                .enumerate()
                .map(|(axis, voxel)| {
                    let line = lines[axis];
                    let last = voxels.shape()[axis] as f64 - 1.0;
                    let centre = line.origin + at[axis] as f64 * line.step;
                    let triangle =
                        |c: f64| (1.0 - (voxel as f64 - c).abs() / line.step.max(1.0)).max(0.0);
                    // A position so far outside that no voxel is in reach takes the border voxel.
                    let beyond =
                        centre + line.step.max(1.0) <= 0.0 || centre - line.step.max(1.0) >= last;
                    if beyond {
                        f64::from(centre.clamp(0.0, last) == voxel as f64)
                    } else {
                        triangle(centre)
                    }
                })
                .product();
            sum += weight * f64::from(value);
            weights += weight;
        }
        sum / weights
    }

    fn line() -> impl Strategy<Value = Line> {
        (-3.0..8.0, 0.2..4.0, 1usize..5).prop_map(|(origin, step, len)| Line { origin, step, len })
    }

    proptest! {
        #[test]
        fn equals_the_definition(
            seed in any::<u64>(),
            lines in [line(), line(), line()],
        ) {
            let voxels = Array3::from_shape_fn([5, 4, 6], |(z, y, x)| {
                ((seed >> ((z * 7 + y * 3 + x) % 50)) % 2000) as i16 - 1000
            });
            let found = sample(voxels.view(), lines, f32::from);
            for ((z, y, x), &value) in found.indexed_iter() {
                let expected = reference(&voxels, lines, [z, y, x]);
                prop_assert!((f64::from(value) - expected).abs() < 0.01, "{value} for {expected}");
            }
        }
    }

    #[test]
    fn a_ramp_stays_a_ramp_and_noise_is_averaged() {
        let ramp = Array3::from_shape_fn([4, 4, 40], |(_, _, x)| 10 * x as i16);
        let one = Line { origin: 0.0, step: 1.0, len: 4 };
        let along = Line { origin: 5.5, step: 2.5, len: 10 };
        let found = sample(ramp.view(), [one, one, along], f32::from);
        for ((_, _, x), &value) in found.indexed_iter() {
            assert!((f64::from(value) - 10.0 * (5.5 + 2.5 * x as f64)).abs() < 1e-3);
        }
        let stripes =
            Array3::from_shape_fn([4, 4, 40], |(_, _, x)| if x % 2 == 0 { 100 } else { -100 });
        let coarse = Line { origin: 8.0, step: 4.0, len: 6 };
        let found = sample(stripes.view(), [one, one, coarse], f32::from);
        assert!(found.iter().all(|value| value.abs() < 1.0), "{found}");
    }
}
