//! One-dimensional interpolation as a short list of weights per output sample. Cubic, linear and
//! nearest share one shape, so the resampler is one loop for all three.

/// How samples between voxels are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The voxel nearest to the sample (order 0).
    Nearest,
    /// Between the two neighbours (order 1).
    Linear,
    /// Through all voxels with continuous curvature: the interpolating cubic B-spline (order 3).
    Cubic,
}

/// Weights below this are left out of a cubic kernel: 0.04 HU over the whole range of a CT.
const LEAST_WEIGHT: f64 = 1e-5;

/// Taps to each side that can reach [`LEAST_WEIGHT`] (`√3 · 0.268^n`).
const CUBIC_REACH: i64 = 11;

/// For each output sample along one axis: the first input sample it reads, and its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct AxisKernel {
    taps: Vec<(usize, Vec<f32>)>,
}

impl AxisKernel {
    /// From `input` samples to `output` samples over the same length, sample centres at
    /// `(n + 0.5) · input / output − 0.5`, edges repeated: what `scipy.ndimage.zoom` calls
    /// `grid_mode=True, mode="nearest"`, and scikit-image's `resize(mode="edge")` uses.
    pub fn new(input: usize, output: usize, order: Order) -> Self {
        let taps = (0..output).map(|n| taps(source_position(n, input, output), input, order));
        Self { taps: taps.collect() }
    }

    /// Output samples.
    pub fn len(&self) -> usize {
        self.taps.len()
    }

    /// True when there is no output.
    pub fn is_empty(&self) -> bool {
        self.taps.is_empty()
    }

    /// First input sample and weights of output sample `n`.
    pub fn taps(&self, n: usize) -> (usize, &[f32]) {
        let (first, weights) = &self.taps[n];
        (*first, weights)
    }
}

/// Where output sample `n` lies among the input samples.
pub fn source_position(n: usize, input: usize, output: usize) -> f64 {
    (n as f64 + 0.5) * input as f64 / output as f64 - 0.5
}

fn taps(position: f64, input: usize, order: Order) -> (usize, Vec<f32>) {
    match order {
        Order::Nearest => (clamp((position + 0.5).floor() as i64, input), vec![1.0]),
        Order::Linear => folded(position, input, (0, 1), |t| (1.0 - t.abs()).max(0.0)),
        Order::Cubic => folded(position, input, (-CUBIC_REACH, CUBIC_REACH + 1), cardinal_cubic),
    }
}

/// Samples `kernel` around `position`, adds what falls outside to the edge voxel, drops what is too
/// small at both ends, and scales the rest to sum one.
fn folded(
    position: f64,
    input: usize,
    (from, to): (i64, i64),
    kernel: impl Fn(f64) -> f64,
) -> (usize, Vec<f32>) {
    let base = position.floor() as i64;
    let first = clamp(base + from, input);
    let last = clamp(base + to, input);
    let mut weights = vec![0.0; last - first + 1];
    for tap in base + from..=base + to {
        weights[clamp(tap, input) - first] += kernel(position - tap as f64);
    }
    let kept = |w: &f64| w.abs() >= LEAST_WEIGHT;
    let start = weights.iter().position(kept).unwrap_or(0);
    let end = weights.iter().rposition(kept).map_or(1, |n| n + 1);
    let sum: f64 = weights[start..end].iter().sum();
    (first + start, weights[start..end].iter().map(|w| (w / sum) as f32).collect())
}

fn clamp(tap: i64, input: usize) -> usize {
    tap.clamp(0, input as i64 - 1) as usize
}

/// The cardinal cubic spline: 1 at 0, 0 at every other integer. A B-spline filtered by the inverse
/// of its own samples, whose impulse response is `√3 · (√3 − 2)^|k|` (Unser 1999, IEEE Signal
/// Process Mag 16:22).
fn cardinal_cubic(t: f64) -> f64 {
    let pole = 3f64.sqrt() - 2.0;
    let nearest = t.floor() as i32;
    (nearest - 1..=nearest + 2)
        .map(|k| 3f64.sqrt() * pole.powi(k.abs()) * cubic_b_spline(t - f64::from(k)))
        .sum()
}

/// The cubic B-spline, support −2..2.
pub(super) fn cubic_b_spline(t: f64) -> f64 {
    match t.abs() {
        t if t < 1.0 => 2.0 / 3.0 - t * t * (1.0 - t / 2.0),
        t if t < 2.0 => (2.0 - t).powi(3) / 6.0,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_sizes_change_nothing() {
        for order in [Order::Nearest, Order::Linear, Order::Cubic] {
            let kernel = AxisKernel::new(20, 20, order);
            for n in 0..20 {
                assert_eq!(kernel.taps(n), (n, &[1.0f32][..]), "{order:?}");
            }
        }
    }

    #[test]
    fn halving_puts_samples_between_voxels() {
        let kernel = AxisKernel::new(8, 4, Order::Linear);
        assert_eq!(kernel.taps(0), (0, &[0.5f32, 0.5][..]));
        assert_eq!(AxisKernel::new(8, 4, Order::Nearest).taps(3).0, 7);
    }

    proptest! {
        #[test]
        fn weights_sum_to_one_and_stay_inside(input in 1usize..80, output in 1usize..80) {
            for order in [Order::Nearest, Order::Linear, Order::Cubic] {
                let kernel = AxisKernel::new(input, output, order);
                prop_assert_eq!(kernel.len(), output);
                for n in 0..output {
                    let (first, weights) = kernel.taps(n);
                    prop_assert!(first + weights.len() <= input);
                    prop_assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                }
            }
        }
    }
}
