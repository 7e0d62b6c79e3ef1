//! Sampling a scan on a regular grid of another spacing, for networks that look at coarse voxels.
//!
//! Linear interpolation between voxels. Where the new step is longer than a voxel, the triangle is
//! widened to the step, so that every voxel counts: a coarse voxel is then a weighted mean, as the
//! scanner would have measured it, and image noise is averaged instead of picked.

use std::ops::Range;

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, ArrayViewMut1, Axis, s};

use crate::analysis::threads::slabs;
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
/// through `load` first. What comes out does not depend on the number of threads.
pub(in crate::analysis) fn to_model(
    volume: &HuVolume,
    region: VoxelBox,
    spacing: Spacing,
    load: impl Fn(i16) -> f32 + Sync,
    threads: usize,
) -> ModelVolume {
    let (source, target) = (volume.geometry.spacing.zyx(), spacing.zyx());
    let lines = [0, 1, 2].map(|axis| {
        let size = (region.end[axis] - region.start[axis]) as f64;
        let len = ((size * source[axis] / target[axis]).round_ties_even() as usize).max(1);
        let step = size / len as f64;
        Line { origin: region.start[axis] as f64 + 0.5 * step - 0.5, step, len }
    });
    ModelVolume {
        values: sample(volume.hu.view(), lines, load, threads),
        origin: lines.map(|line| line.origin),
        step: lines.map(|line| line.step),
    }
}

/// Samples `[z, y, x]` voxels at the crossings of three lines; positions outside take the border.
/// Each thread makes some planes of the result: a slice that feeds planes of two threads is sampled
/// by both, and a plane takes its slices in their order, however many threads there are.
pub(in crate::analysis) fn sample(
    voxels: ArrayView3<'_, i16>,
    lines: [Line; 3],
    load: impl Fn(i16) -> f32 + Sync,
    threads: usize,
) -> Array3<f32> {
    let (depth, height, width) = voxels.dim();
    let taps_z = taps(lines[0], depth);
    let in_plane = InPlane::new(taps(lines[1], height), taps(lines[2], width));
    let mut out = Array3::zeros([lines[0].len, lines[1].len, lines[2].len]);
    slabs(threads, out.view_mut(), |first, mut slab| {
        let taps_z = &taps_z[first..first + slab.dim().0];
        let from = taps_z.iter().map(|tap| tap.first).min().unwrap_or(0);
        let to = taps_z.iter().map(Tap::end).max().unwrap_or(0);
        for source in from..to {
            let feeds = taps_z.iter().enumerate();
            let mut feeds = feeds.filter_map(|(z, tap)| Some((z, tap.weight(source)?))).peekable();
            if feeds.peek().is_none() {
                continue;
            }
            let plane = in_plane.sample(voxels.index_axis(Axis(0), source), &load);
            for (z, weight) in feeds {
                slab.index_axis_mut(Axis(0), z).scaled_add(weight, &plane);
            }
        }
    });
    out
}

/// Samples along y and x, and the window of voxels that they need.
struct InPlane {
    y: Vec<Tap>,
    x: Vec<Tap>,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl InPlane {
    fn new(y: Vec<Tap>, x: Vec<Tap>) -> Self {
        let (rows, columns) = (reach(&y), reach(&x));
        Self { y, x, rows, columns }
    }

    /// One slice: rows are summed first, because whole rows add fast, then samples within a row.
    fn sample(&self, voxels: ArrayView2<'_, i16>, load: &impl Fn(i16) -> f32) -> Array2<f32> {
        let loaded = voxels.slice(s![self.rows.clone(), self.columns.clone()]).mapv(load);
        let mut plane = Array2::zeros([self.y.len(), self.x.len()]);
        let mut row = vec![0.0f32; loaded.ncols()];
        for (mut out, tap) in plane.outer_iter_mut().zip(&self.y) {
            row.fill(0.0);
            for (offset, &weight) in tap.weights.iter().enumerate() {
                let voxels = loaded.row(tap.first - self.rows.start + offset);
                ArrayViewMut1::from(&mut row[..]).scaled_add(weight, &voxels);
            }
            for (value, tap) in out.iter_mut().zip(&self.x) {
                let voxels = row[tap.first - self.columns.start..].iter();
                *value = voxels.zip(&tap.weights).map(|(voxel, weight)| voxel * weight).sum();
            }
        }
        plane
    }
}

/// From the first voxel that any of the samples takes to the last.
fn reach(taps: &[Tap]) -> Range<usize> {
    let first = taps.iter().map(|tap| tap.first).min().unwrap_or(0);
    first..taps.iter().map(Tap::end).max().unwrap_or(first)
}

/// The voxels that make one sample; weights sum to one.
#[derive(Debug, Clone, PartialEq)]
struct Tap {
    first: usize,
    weights: Vec<f32>,
}

impl Tap {
    /// One past the last voxel.
    fn end(&self) -> usize {
        self.first + self.weights.len()
    }

    /// The weight of a voxel, if it is one of them.
    fn weight(&self, voxel: usize) -> Option<f32> {
        self.weights.get(voxel.checked_sub(self.first)?).copied()
    }
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
            let found = sample(voxels.view(), lines, f32::from, 1);
            for ((z, y, x), &value) in found.indexed_iter() {
                let expected = reference(&voxels, lines, [z, y, x]);
                prop_assert!((f64::from(value) - expected).abs() < 0.01, "{value} for {expected}");
            }
        }
    }

    /// Plane by plane of the source, every voxel loaded where it is used: no window, no threads.
    fn plain(voxels: &Array3<i16>, lines: [Line; 3]) -> Array3<f32> {
        let [taps_z, taps_y, taps_x] =
            [0, 1, 2].map(|axis| taps(lines[axis], voxels.shape()[axis]));
        Array3::from_shape_fn(lines.map(|line| line.len), |(z, y, x)| {
            let mut sum = 0.0f32;
            for (dz, weight_z) in taps_z[z].weights.iter().enumerate() {
                let row = |voxel: usize| {
                    let mut sum = 0.0f32;
                    for (dy, weight_y) in taps_y[y].weights.iter().enumerate() {
                        let at = [taps_z[z].first + dz, taps_y[y].first + dy, voxel];
                        sum += weight_y * f32::from(voxels[at]);
                    }
                    sum
                };
                let along = taps_x[x].weights.iter().enumerate();
                sum += weight_z * along.map(|(dx, w)| row(taps_x[x].first + dx) * w).sum::<f32>();
            }
            sum
        })
    }

    proptest! {
        #[test]
        fn threads_and_windows_change_no_bit(
            seed in any::<u64>(),
            lines in [line(), line(), line()],
            threads in 1usize..5,
        ) {
            let voxels = Array3::from_shape_fn([7, 6, 9], |(z, y, x)| {
                ((seed >> ((z * 7 + y * 3 + x) % 50)) % 2000) as i16 - 1000
            });
            let found = sample(voxels.view(), lines, f32::from, threads);
            let bits = |values: Array3<f32>| values.mapv(f32::to_bits);
            prop_assert_eq!(bits(found), bits(plain(&voxels, lines)));
        }
    }

    #[test]
    fn a_ramp_stays_a_ramp_and_noise_is_averaged() {
        let ramp = Array3::from_shape_fn([4, 4, 40], |(_, _, x)| 10 * x as i16);
        let one = Line { origin: 0.0, step: 1.0, len: 4 };
        let along = Line { origin: 5.5, step: 2.5, len: 10 };
        let found = sample(ramp.view(), [one, one, along], f32::from, 2);
        for ((_, _, x), &value) in found.indexed_iter() {
            assert!((f64::from(value) - 10.0 * (5.5 + 2.5 * x as f64)).abs() < 1e-3);
        }
        let stripes =
            Array3::from_shape_fn([4, 4, 40], |(_, _, x)| if x % 2 == 0 { 100 } else { -100 });
        let coarse = Line { origin: 8.0, step: 4.0, len: 6 };
        let found = sample(stripes.view(), [one, one, coarse], f32::from, 2);
        assert!(found.iter().all(|value| value.abs() < 1.0), "{found}");
    }
}
