//! The sliding window of nnU-Net (Isensee 2021, Nat Methods 18:203): patches overlap by half, spread
//! evenly, and answers are blended with a Gaussian of σ = patch/8.
//!
//! The Gaussian is a product over axes and the windows form a grid, so the sum of weights at a voxel
//! is a product over axes too: weights are divided by it beforehand, per axis, and no volume of
//! weights exists. Kept per voxel is each foreground class's logit less the background's: the arg-max
//! needs no more, and blending and interpolation, being linear, give the same differences.

use ndarray::{Array3, Array4, ArrayView3, ArrayViewD, Axis, Slice, Zip, s};

use super::{Mirroring, Progress};
use crate::analysis::engine::network::{EngineError, Network};
use crate::analysis::threads::slabs;

/// σ of the Gaussian as a fraction of the patch.
const SIGMA: f64 = 1.0 / 8.0;

/// Slides `network`, loaded for `[1, 1, D, H, W]`, over `values` `[z, y, x]` and returns
/// `[classes − 1, z, y, x]`: logit of each foreground class less the logit of background. Volumes
/// smaller than a patch are padded with 0 on both sides.
pub(super) fn blended(
    network: &Network,
    values: ArrayView3<'_, f32>,
    mirroring: Mirroring,
    progress: &mut dyn FnMut(Progress),
) -> Result<Array4<f32>, EngineError> {
    let shape = network.input_shape();
    let patch = [shape[2], shape[3], shape[4]];
    let classes = network.output_shapes()[0][1];
    let (padded, before) = padded(values, patch);
    let windows = Windows::new(padded.dim().into(), patch);
    let flips = flips(mirroring);
    let (share, threads) = (1.0 / flips.len() as f32, network.engine().threads);
    let total = windows.count() * flips.len();
    let mut evidence = Array4::zeros([classes - 1, padded.dim().0, padded.dim().1, padded.dim().2]);
    progress(Progress { done: 0, total });
    network.run_each(
        total,
        |index| {
            let (window, flip) = (index / flips.len(), flips[index % flips.len()]);
            let mut view = padded.slice_each_axis(|axis| windows.slice(window, axis.axis.index()));
            mirror(&mut view, flip);
            view.insert_axis(Axis(0)).insert_axis(Axis(0)).into_dyn()
        },
        |index, outputs| {
            let (window, flip) = (index / flips.len(), flips[index % flips.len()]);
            let logits = (outputs[0].view(), flip);
            windows.add(window, &mut evidence, logits, (share, threads));
            progress(Progress { done: index + 1, total });
        },
    )?;
    let size = values.dim();
    let [z, y, x] = before;
    Ok(evidence.slice_move(s![.., z..z + size.0, y..y + size.1, x..x + size.2]))
}

/// Windows needed for `size` voxels, each side at least the patch's.
pub(super) fn window_count(size: [usize; 3], patch: [usize; 3]) -> usize {
    (0..3).map(|axis| starts(size[axis], patch[axis]).len()).product()
}

/// The eight mirrorings, none first.
const ALL_FLIPS: [[bool; 3]; 8] = [
    [false, false, false],
    [false, false, true],
    [false, true, false],
    [false, true, true],
    [true, false, false],
    [true, false, true],
    [true, true, false],
    [true, true, true],
];

/// The mirrorings along the axes that are asked for; none first.
fn flips(Mirroring(axes): Mirroring) -> Vec<[bool; 3]> {
    let asked = |flip: &&[bool; 3]| (0..3).all(|axis| axes[axis] || !flip[axis]);
    ALL_FLIPS.iter().filter(asked).copied().collect()
}

fn mirror<T>(view: &mut ArrayView3<'_, T>, flip: [bool; 3]) {
    for (axis, _) in flip.iter().enumerate().filter(|&(_, &flip)| flip) {
        view.invert_axis(Axis(axis));
    }
}

/// Pads with 0 to at least `patch`, the odd voxel after; also how much was put before.
fn padded(values: ArrayView3<'_, f32>, patch: [usize; 3]) -> (Array3<f32>, [usize; 3]) {
    let size: [usize; 3] = values.dim().into();
    let whole = [0, 1, 2].map(|axis| size[axis].max(patch[axis]));
    let before = [0, 1, 2].map(|axis| (whole[axis] - size[axis]) / 2);
    let mut padded = Array3::zeros(whole);
    let inside = |axis: usize| Slice::from(before[axis]..before[axis] + size[axis]);
    padded.slice_each_axis_mut(|axis| inside(axis.axis.index())).assign(&values);
    (padded, before)
}

/// A grid of windows with the blending weights of each axis.
struct Windows {
    patch: [usize; 3],
    axes: [WindowAxis; 3],
}

/// Windows along one axis.
#[derive(Debug, Clone, PartialEq)]
struct WindowAxis {
    starts: Vec<usize>,
    /// Per window and position in it; over all windows that cover a voxel the sum is 1.
    weights: Vec<Vec<f32>>,
}

impl Windows {
    /// `size[a] >= patch[a]` on every axis.
    fn new(size: [usize; 3], patch: [usize; 3]) -> Self {
        let axes = [0, 1, 2].map(|axis| WindowAxis::new(size[axis], patch[axis]));
        Self { patch, axes }
    }

    fn count(&self) -> usize {
        self.axes.iter().map(|axis| axis.starts.len()).product()
    }

    /// Window numbers along `[z, y, x]`; x runs fastest.
    fn place(&self, window: usize) -> [usize; 3] {
        let [_, y, x] = [0, 1, 2].map(|axis| self.axes[axis].starts.len());
        [window / (y * x), window / x % y, window % x]
    }

    fn slice(&self, window: usize, axis: usize) -> Slice {
        let start = self.axes[axis].starts[self.place(window)[axis]];
        Slice::from(start..start + self.patch[axis])
    }

    /// Adds one patch's logits `[1, C, D, H, W]`, mirrored as told, `share` of their weight. Each thread
    /// adds some planes.
    fn add(
        &self,
        window: usize,
        evidence: &mut Array4<f32>,
        (logits, flip): (ArrayViewD<'_, f32>, [bool; 3]),
        (share, threads): (f32, usize),
    ) {
        let place = self.place(window);
        let [wz, wy, wx] = [0, 1, 2].map(|axis| &self.axes[axis].weights[place[axis]]);
        let channel = |class: usize| {
            let mut view = logits
                .slice(s![0, class, .., .., ..])
                .into_dimensionality()
                .expect("a slice with two axes fixed of five has three");
            mirror(&mut view, flip);
            view
        };
        let background = channel(0);
        for (index, mut target) in evidence.outer_iter_mut().enumerate() {
            let target = target.slice_each_axis_mut(|axis| self.slice(window, axis.axis.index()));
            let class = channel(index + 1);
            slabs(threads, target, |first, mut slab| {
                for (z, mut plane) in (first..).zip(slab.outer_iter_mut()) {
                    for (y, row) in plane.outer_iter_mut().enumerate() {
                        let weight = share * wz[z] * wy[y];
                        let [class, background] =
                            [&class, &background].map(|c| c.slice(s![z, y, ..]));
                        Zip::from(row).and(class).and(background).and(&wx[..]).for_each(
                            |sum, class, background, wx| *sum += weight * wx * (class - background),
                        );
                    }
                }
            });
        }
    }
}

impl WindowAxis {
    fn new(size: usize, patch: usize) -> Self {
        let starts = starts(size, patch);
        let gaussian = gaussian(patch);
        let mut sums = vec![0.0f64; size];
        for &start in &starts {
            for (sum, weight) in sums[start..].iter_mut().zip(&gaussian) {
                *sum += weight;
            }
        }
        let weights = starts
            .iter()
            .map(|&start| {
                let sums = &sums[start..start + patch];
                gaussian.iter().zip(sums).map(|(weight, sum)| (weight / sum) as f32).collect()
            })
            .collect();
        Self { starts, weights }
    }
}

/// First voxels of the windows: a step of at most half a patch, rounded to even as numpy does.
fn starts(size: usize, patch: usize) -> Vec<usize> {
    let room = (size - patch) as f64;
    let steps = (room / (patch as f64 * 0.5)).ceil();
    let step = if steps > 0.0 { room / steps } else { 0.0 };
    (0..=steps as usize).map(|index| (index as f64 * step).round_ties_even() as usize).collect()
}

/// exp(−(i − centre)² / 2σ²) with nnU-Net's centre, patch / 2.
fn gaussian(patch: usize) -> Vec<f64> {
    let (sigma, centre) = (patch as f64 * SIGMA, (patch / 2) as f64);
    (0..patch).map(|i| (-0.5 * ((i as f64 - centre) / sigma).powi(2)).exp()).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::Array5;
    use proptest::prelude::*;

    use super::*;
    use crate::analysis::engine::fixture::unet_package;
    use crate::analysis::engine::int8::compute::Compute;

    const CLASSES: [(f32, f32); 3] = [(0.5, 0.5), (2.0, -1.0), (-1.0, 0.25)];

    #[test]
    fn windows_stand_where_nnunet_puts_them() {
        assert_eq!(starts(96, 96), [0]);
        assert_eq!(starts(97, 96), [0, 1]);
        assert_eq!(starts(144, 96), [0, 48]);
        // ceil(54 / 48) = 2 steps of 27.
        assert_eq!(starts(150, 96), [0, 27, 54]);
        // Steps of 33.5: numpy rounds halves to even.
        assert_eq!(starts(163, 96), [0, 34, 67]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn every_voxel_is_covered_with_a_weight_of_one(patch in 8usize..40, more in 0usize..120) {
            let size = patch + more;
            let axis = WindowAxis::new(size, patch);
            prop_assert_eq!(axis.starts.last().map(|start| start + patch), Some(size));
            let mut sums = vec![0.0f64; size];
            for (&start, weights) in axis.starts.iter().zip(&axis.weights) {
                for (offset, &weight) in weights.iter().enumerate() {
                    prop_assert!(weight > 0.0 && weight <= 1.0);
                    sums[start + offset] += f64::from(weight);
                }
            }
            prop_assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-6));
            let steps = axis.starts.windows(2).map(|pair| pair[1] - pair[0]);
            prop_assert!(steps.max().unwrap_or(0) <= patch / 2 + 1);
        }

        /// Logits differ from window to window here, so that every weight matters: against the
        /// definition, a volume of summed weighted logits divided by a volume of summed weights.
        #[test]
        fn blending_equals_the_definition(
            size in [8usize..15, 8usize..15, 8usize..15],
            flip in any::<[bool; 3]>(),
        ) {
            let (patch, windows) = ([8, 6, 7], Windows::new(size, [8, 6, 7]));
            let logits = |window: usize| Array5::from_shape_fn([1, 3, 8, 6, 7], |(_, c, z, y, x)| {
                ((window * 31 + c * 17 + z * 7 + y * 5 + x * 3) % 23) as f32 - 11.0
            });
            let mut evidence = Array4::zeros([2, size[0], size[1], size[2]]);
            let mut sums = Array4::<f64>::zeros([3, size[0], size[1], size[2]]);
            let mut weights = Array3::<f64>::zeros(size);
            for window in 0..windows.count() {
                let patch_logits = logits(window);
                windows.add(window, &mut evidence, (patch_logits.view().into_dyn(), flip), (1.0, 2));
                let place = windows.place(window);
                for ((_, c, z, y, x), &value) in patch_logits.indexed_iter() {
                    let inside = [z, y, x];
                    let mut weight = 1.0;
                    let mut at = [0; 3];
                    for axis in 0..3 {
                        let offset = if flip[axis] { patch[axis] - 1 - inside[axis] } else { inside[axis] };
                        weight *= gaussian(patch[axis])[offset];
                        at[axis] = starts(size[axis], patch[axis])[place[axis]] + offset;
                    }
                    sums[[c, at[0], at[1], at[2]]] += weight * f64::from(value);
                    if c == 0 {
                        weights[at] += weight;
                    }
                }
            }
            for ((c, z, y, x), &value) in evidence.indexed_iter() {
                let logit = |class| sums[[class, z, y, x]] / weights[[z, y, x]];
                let expected = logit(c + 1) - logit(0);
                prop_assert!((f64::from(value) - expected).abs() < 1e-4, "{value} for {expected}");
            }
        }

        /// The whole way through a network that treats voxels alone: windows, padding, mirroring
        /// and threads must all leave no trace.
        #[test]
        fn a_pointwise_network_sees_no_windows(
            size in [3usize..20, 3usize..20, 3usize..20],
            mirrored in any::<[bool; 3]>(),
            threads in 1usize..4,
        ) {
            let package = unet_package(&CLASSES, 2.0);
            let network = Network::load(&package, &[1, 1, 8, 8, 8], Compute::with_threads(threads)).unwrap();
            let value = |(z, y, x)| ((z * 5 + y * 3 + x) % 9) as f32 - 4.0;
            let values = Array3::from_shape_fn(size, value);
            let mut seen = Vec::new();
            let evidence =
                blended(&network, values.view(), Mirroring(mirrored), &mut |progress| seen.push(progress)).unwrap();
            prop_assert_eq!(evidence.dim(), (2, size[0], size[1], size[2]));
            for ((class, z, y, x), &found) in evidence.indexed_iter() {
                let logit = |class: usize| CLASSES[class].0 * values[[z, y, x]] + CLASSES[class].1;
                let expected = logit(class + 1) - logit(0);
                prop_assert!((found - expected).abs() < 1e-4, "{found} for {expected}");
            }
            let total = seen[0].total;
            prop_assert_eq!(seen.iter().map(|progress| progress.done).collect::<Vec<_>>(),
                (0..=total).collect::<Vec<_>>());
        }
    }

    #[test]
    fn only_the_axes_that_are_asked_for_are_mirrored() {
        assert_eq!(flips(Mirroring::OFF), [[false; 3]]);
        let y_and_x = [[false; 3], [false, false, true], [false, true, false], [false, true, true]];
        assert_eq!(flips(Mirroring([false, true, true])), y_and_x);
        assert_eq!(flips(Mirroring([true; 3])), ALL_FLIPS);
    }

    #[test]
    fn a_constant_stays_a_constant() {
        let windows = Windows::new([13, 9, 20], [8, 8, 8]);
        let logits = Array5::from_shape_fn([1, 2, 8, 8, 8], |(_, c, ..)| c as f32 * 3.0 + 1.0);
        let mut evidence = Array4::zeros([1, 13, 9, 20]);
        for window in 0..windows.count() {
            windows.add(window, &mut evidence, (logits.view().into_dyn(), [false; 3]), (1.0, 1));
        }
        assert!(evidence.iter().all(|value: &f32| (value - 3.0).abs() < 1e-5));
    }
}
