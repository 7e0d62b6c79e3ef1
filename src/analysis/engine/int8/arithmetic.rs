//! The f32 arithmetic of float layers ([`tokens`](super::tokens)), number by number.
//!
//! As in [`program`](super::program), everything that rounds is defined here: the order of every sum, and `exp` and `ln` in
//! additions and multiplications only, because a library's own may differ from machine to machine. No operation is fused,
//! so every path gives the same bits.
//!
//! Sums over channels go through sixteen lanes, lane `l` adding channels `l, l + 16, …` in order; the lanes are added as
//! halves ([`across`]). That is why float layers take channels in blocks of sixteen.

use super::tokens::Norm;

/// Channels that go side by side.
pub const LANES: usize = 16;

/// Sixteen numbers. Short sums over them are written with `array::from_fn`, which becomes vector instructions where a
/// loop becomes scalar ones; `array::map`, and `from_fn` of anything long, become a call.
pub type Lanes = [f32; LANES];

/// The sum of sixteen lanes: halves are added until one is left.
#[inline(always)]
pub fn across(mut lanes: Lanes) -> f32 {
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

/// Blocks of sixteen channels; the length is a multiple.
#[inline(always)]
pub fn blocks(token: &[f32]) -> &[Lanes] {
    token.as_chunks().0
}

/// Mean 0 and variance 1 over the channels, `(((x − mean) · (1 / √(variance + ε))) · weight) + bias`.
#[inline(always)]
pub fn normalise(token: &mut [f32], norm: &Norm) {
    let count = token.len() as f32;
    let mut sums = [0.0; LANES];
    for block in blocks(token) {
        sums = std::array::from_fn(|lane| sums[lane] + block[lane]);
    }
    let mean = across(sums) / count;
    let mut squares = [0.0; LANES];
    for block in blocks(token) {
        let gap: Lanes = std::array::from_fn(|lane| block[lane] - mean);
        squares = std::array::from_fn(|lane| squares[lane] + gap[lane] * gap[lane]);
    }
    let inverse = 1.0 / (across(squares) / count + norm.epsilon).sqrt();
    let (chunks, _) = token.as_chunks_mut::<LANES>();
    for ((block, weight), bias) in
        chunks.iter_mut().zip(blocks(&norm.weight)).zip(blocks(&norm.bias))
    {
        let unit: Lanes = std::array::from_fn(|lane| (block[lane] - mean) * inverse);
        *block = std::array::from_fn(|lane| unit[lane] * weight[lane] + bias[lane]);
    }
}

/// The sum of products over channels.
#[inline(always)]
pub fn product(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    for (a, b) in blocks(a).iter().zip(blocks(b)) {
        sums = std::array::from_fn(|lane| sums[lane] + a[lane] * b[lane]);
    }
    across(sums)
}

/// The sum of squared differences over channels.
#[inline(always)]
pub fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    for (a, b) in blocks(a).iter().zip(blocks(b)) {
        let gap: Lanes = std::array::from_fn(|lane| a[lane] - b[lane]);
        sums = std::array::from_fn(|lane| sums[lane] + gap[lane] * gap[lane]);
    }
    across(sums)
}

/// e^x within two units in the last place; what lies outside −87..=88 is taken to the nearest. By Cody and Waite's
/// reduction and the polynomial of the Cephes library (Moshier 1989).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// 1.5 · 2²³: adding it rounds to a whole number, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = x - whole * 0.693_359_4 - whole * -2.121_944_4e-4;
    let p = 1.987_569_1e-4 * rest + 1.398_199_9e-3;
    let p = p * rest + 8.333_452e-3;
    let p = p * rest + 4.166_579_6e-2;
    let p = p * rest + 1.666_666_5e-1;
    let p = p * rest + 0.5;
    let mantissa = p * (rest * rest) + rest + 1.0;
    mantissa * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// x / (1 + e^−x). Of −∞ it is −∞, not the limit 0, because `exp` is bounded; no program reaches it
/// (`bounds`).
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// ln(1 + e^x), as `max(x, 0) + ln(1 + e^−|x|)` with the series of the inverse hyperbolic tangent.
#[inline(always)]
pub fn softplus(x: f32) -> f32 {
    let small = exp(-x.abs());
    // ln(1 + t) = 2 atanh(t / (2 + t)), and here t <= 1.
    let s = small / (2.0 + small);
    let square = s * s;
    let p = square * (1.0 / 13.0) + (1.0 / 11.0);
    let p = p * square + (1.0 / 9.0);
    let p = p * square + (1.0 / 7.0);
    let p = p * square + (1.0 / 5.0);
    let p = p * square + (1.0 / 3.0);
    let p = p * square + 1.0;
    (if x > 0.0 { x } else { 0.0 }) + 2.0 * s * p
}

/// One token of one head's block of sixteen channels: advances the states and gives the output.
#[inline(always)]
pub fn advance(states: &mut [Lanes], (b, c): (&[f32], &[f32]), decay: f32, x: &Lanes) -> Lanes {
    let [mut first, mut second, mut third, mut fourth] = [[0.0; LANES]; 4];
    let (fours, _) = states.as_chunks_mut::<4>();
    let (b, c) = (b.as_chunks::<4>().0, c.as_chunks::<4>().0);
    for ((four, b), c) in fours.iter_mut().zip(b).zip(c) {
        first = advance_one(&mut four[0], (b[0], c[0]), (decay, x), first);
        second = advance_one(&mut four[1], (b[1], c[1]), (decay, x), second);
        third = advance_one(&mut four[2], (b[2], c[2]), (decay, x), third);
        fourth = advance_one(&mut four[3], (b[3], c[3]), (decay, x), fourth);
    }
    std::array::from_fn(|lane| (first[lane] + second[lane]) + (third[lane] + fourth[lane]))
}

/// Advances one state and adds its part of the output to `sum`.
#[inline(always)]
fn advance_one(
    state: &mut Lanes,
    (b, c): (f32, f32),
    (decay, x): (f32, &Lanes),
    sum: Lanes,
) -> Lanes {
    let next: Lanes = std::array::from_fn(|lane| state[lane] * decay + b * x[lane]);
    *state = next;
    std::array::from_fn(|lane| sum[lane] + c * next[lane])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against f64, over the whole range.
    #[test]
    fn exponentials_and_logarithms_are_exact_to_a_few_units() {
        for step in -87_000..=88_000 {
            let x = step as f32 / 1000.0;
            let close = |found: f32, exact: f64, units: f64| {
                let error = (f64::from(found) - exact).abs();
                assert!(
                    error <= units * exact.abs() * f64::from(f32::EPSILON) + 1e-38,
                    "{x}: {found} for {exact}"
                );
            };
            let real = f64::from(x);
            close(exp(x), real.exp(), 2.0);
            close(softplus(x), real.exp().ln_1p(), 4.0);
            close(silu(x), real / (1.0 + (-real).exp()), 4.0);
        }
    }

    #[test]
    fn what_is_not_finite_stays_so_or_is_bounded() {
        assert!(exp(f32::NAN).is_nan());
        assert!(silu(f32::NAN).is_nan());
        assert_eq!(exp(f32::INFINITY), exp(88.0));
        assert_eq!(exp(f32::NEG_INFINITY), exp(-87.0));
        assert_eq!(softplus(f32::INFINITY), f32::INFINITY);
        assert_eq!(silu(f32::NEG_INFINITY), f32::NEG_INFINITY);
    }

    /// −1..1, the same every time.
    fn numbers(seed: u32, count: usize) -> Vec<f32> {
        let mut state = seed;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(next).collect()
    }

    fn wide(numbers: &[f32]) -> Vec<f64> {
        numbers.iter().map(|&number| f64::from(number)).collect()
    }

    /// Channels of every count that networks have; sums from the first channel to the last, in f64.
    #[test]
    fn sums_over_channels_are_those_of_f64() {
        for count in [16, 32, 48, 256, 2048] {
            let (a, b) = (numbers(1, count), numbers(2, count));
            let (wide_a, wide_b) = (wide(&a), wide(&b));
            let pairs = || wide_a.iter().zip(&wide_b);
            let room = 1e-6 * count as f64;
            let products: f64 = pairs().map(|(a, b)| a * b).sum();
            assert!((f64::from(product(&a, &b)) - products).abs() <= room, "{count} channels");
            let squares: f64 = pairs().map(|(a, b)| (a - b).powi(2)).sum();
            let found = f64::from(squared_distance(&a, &b));
            assert!((found - squares).abs() <= room, "{count} channels: {found} for {squares}");
        }
    }

    /// Values far from 0 and close together, and the other way round.
    #[test]
    fn norms_are_those_of_f64() {
        let cases: [(usize, f32, f32); 5] =
            [(16, 1.0, 0.0), (32, 0.01, 3.0), (64, 50.0, -7.0), (512, 1.0, 1.0), (2048, 4.0, 0.5)];
        for (count, spread, offset) in cases {
            let values: Vec<f32> = numbers(3, count).iter().map(|x| spread * x + offset).collect();
            let (weight, bias) = (numbers(4, count), numbers(5, count));
            let exact = wide(&values);
            let mean = exact.iter().sum::<f64>() / count as f64;
            let variance = exact.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count as f64;
            let norm = Norm { weight: weight.into(), bias: bias.into(), epsilon: 1e-5 };
            let mut found = values;
            normalise(&mut found, &norm);
            for (c, found) in found.into_iter().enumerate() {
                let unit = (exact[c] - mean) / (variance + 1e-5).sqrt();
                let expected = unit * f64::from(norm.weight[c]) + f64::from(norm.bias[c]);
                // An offset of 300 times the spread costs as many units of rounding.
                let room = 4e-6 * (1.0 + f64::from(offset / spread).abs());
                assert!(
                    (f64::from(found) - expected).abs() <= room,
                    "channel {c} of {count}: {found} for {expected}"
                );
            }
        }
    }

    #[test]
    fn lanes_are_added_as_halves() {
        let mut lanes = [0.0; LANES];
        // 1 is lost beside 2²⁵ unless its own kind meets it first.
        lanes[0] = 33_554_432.0;
        lanes[1] = 1.0;
        lanes[9] = 1.0;
        lanes[3] = 1.0;
        lanes[11] = 1.0;
        assert_eq!(across(lanes), 33_554_436.0);
    }
}
