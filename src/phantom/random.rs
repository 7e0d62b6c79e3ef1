//! Random numbers that are the same on every platform: SplitMix64 and lattice noise. Not for keys.

/// SplitMix64 (Steele, Lea and Flood 2014): one 64-bit state, full period.
#[derive(Debug, Clone)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    /// A stream of its own for every pair of seed and purpose.
    pub(super) fn new(seed: u64, purpose: u64) -> Self {
        Self { state: mix(seed ^ mix(purpose)) }
    }

    /// The next 64 bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// Uniform in `low..high`.
    pub(super) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * unit(self.bits())
    }

    /// A point with each coordinate uniform in `-1..1`.
    pub(super) fn offset(&mut self) -> [f64; 3] {
        [self.uniform(-1.0, 1.0), self.uniform(-1.0, 1.0), self.uniform(-1.0, 1.0)]
    }

    /// A whole number in `low..=high`.
    pub(super) fn whole(&mut self, low: u32, high: u32) -> u32 {
        let span = u64::from(high - low) + 1;
        low + (self.bits() % span) as u32
    }
}

/// SplitMix64's finaliser: a bijection whose output looks random.
pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// 53 of the bits as a number in `0..1`.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// A nearly normal number with mean 0 and variance 1 from one hash: the sum of eight bytes.
/// Tails end at ±4.9 standard deviations.
pub(super) fn nearly_normal(bits: u64) -> f32 {
    let sum: u32 = bits.to_le_bytes().iter().map(|byte| u32::from(*byte)).sum();
    // Eight uniform bytes: mean 1020, variance 8 * (256² − 1) / 12 = 43,690.
    (sum as f32 - 1020.0) / 209.021
}

/// Smooth noise in −1..1 over space, from random values at the corners of a cubic lattice.
#[derive(Debug, Clone)]
pub(super) struct LatticeNoise {
    seed: u64,
    cell_mm: f64,
}

impl LatticeNoise {
    /// Features of about `cell_mm`.
    pub(super) fn new(seed: u64, cell_mm: f64) -> Self {
        Self { seed, cell_mm }
    }

    /// The noise at a point in millimetres.
    pub(super) fn at(&self, point: [f64; 3]) -> f64 {
        let (cell, part) = self.cell(point);
        interpolate(part, |corner| unit(self.corner(cell, corner)) * 2.0 - 1.0)
    }

    /// Three independent noises at a point, for displacements.
    pub(super) fn vector_at(&self, point: [f64; 3]) -> [f64; 3] {
        let (cell, part) = self.cell(point);
        let mut corners = [[0.0; 3]; 8];
        for (index, values) in corners.iter_mut().enumerate() {
            let bits = self.corner(cell, index);
            // 21 bits per axis.
            *values = [0, 21, 42]
                .map(|shift| f64::from((bits >> shift) as u32 & 0x1f_ffff) / 1_048_576.0 - 1.0);
        }
        [0, 1, 2].map(|axis| interpolate(part, |corner| corners[corner][axis]))
    }

    fn cell(&self, point: [f64; 3]) -> ([i64; 3], [f64; 3]) {
        let scaled = point.map(|v| v / self.cell_mm);
        let low = scaled.map(f64::floor);
        let part = [0, 1, 2].map(|axis| {
            let t = scaled[axis] - low[axis];
            t * t * (3.0 - 2.0 * t)
        });
        (low.map(|v| v as i64), part)
    }

    fn corner(&self, cell: [i64; 3], corner: usize) -> u64 {
        let key =
            [0, 1, 2].map(|axis| (cell[axis] + (corner >> axis & 1) as i64) as u64 & 0x1f_ffff);
        mix(self.seed ^ mix(key[0] | key[1] << 21 | key[2] << 42))
    }
}

/// Trilinear interpolation of eight corners; bit `axis` of a corner's index is its side.
fn interpolate(part: [f64; 3], value: impl Fn(usize) -> f64) -> f64 {
    let along_x = [0, 2, 4, 6].map(|corner| blend(value(corner), value(corner + 1), part[0]));
    let along_y = [0, 2].map(|row| blend(along_x[row], along_x[row + 1], part[1]));
    blend(along_y[0], along_y[1], part[2])
}

fn blend(a: f64, b: f64, t: f64) -> f64 {
    a + (b - a) * t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_the_published_stream() {
        // Seed 0 of the reference implementation, without our mixing of seed and purpose.
        let mut random = Random { state: 0 };
        assert_eq!(random.bits(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(random.bits(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn ranges_are_kept_and_reached() {
        let mut random = Random::new(1, 2);
        let values: Vec<f64> = (0..2000).map(|_| random.uniform(-3.0, 5.0)).collect();
        assert!(values.iter().all(|v| (-3.0..5.0).contains(v)));
        assert!(values.iter().any(|v| *v < -2.9) && values.iter().any(|v| *v > 4.9));
        let whole: Vec<u32> = (0..200).map(|_| random.whole(2, 4)).collect();
        assert!((2..=4).all(|n| whole.contains(&n)) && whole.iter().all(|n| (2..=4).contains(n)));
    }

    #[test]
    fn nearly_normal_has_mean_zero_and_variance_one() {
        let mut random = Random::new(3, 4);
        let n = 100_000;
        let values: Vec<f64> = (0..n).map(|_| f64::from(nearly_normal(random.bits()))).collect();
        let mean = values.iter().sum::<f64>() / f64::from(n);
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 0.02, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.02, "variance {variance}");
    }

    #[test]
    fn lattice_noise_is_bounded_and_continuous_across_cells() {
        let noise = LatticeNoise::new(9, 20.0);
        for step in -200..200 {
            let x = f64::from(step) * 1.0;
            let here = noise.at([x, 3.0, -7.0]);
            let near = noise.at([x + 1e-4, 3.0, -7.0]);
            assert!(here.abs() <= 1.0);
            assert!((here - near).abs() < 1e-4, "jump at {x}");
            assert!(noise.vector_at([x, 1.0, 2.0]).iter().all(|v| v.abs() <= 1.0));
        }
    }
}
