//! Sums of up to two values with an activation: residual additions, InstanceNorm, changes of scale.
//!
//! InstanceNorm takes three kernels, one after the other: [`Statistics`] adds up staged values,
//! [`Normaliser`] makes a scale and a bias per channel of the sums, [`Combining`] uses them. The sums are
//! whole numbers, so the order in which units add them changes nothing.

use super::super::layout::{BLOCK, Layout};
use super::super::memory::Packed;
use super::super::program::normalisation;
use super::path::{Operand, Path, Stored};
use super::{Kernel, Place};

/// The most units that one value's statistics are gathered in.
pub(crate) const STATISTICS_UNITS: usize = 64;

/// A value that is added.
pub(crate) struct Added {
    /// Where it lies.
    pub(crate) layout: Layout,
    /// Its zero point; `None` for a staged one.
    pub(crate) zero: Option<u8>,
    /// Multiplies.
    pub(crate) scale: Numbers,
    /// Is added.
    pub(crate) bias: Numbers,
}

/// One number per channel, padded to whole blocks.
pub(crate) enum Numbers {
    /// Known when the program was made.
    Fixed(Packed<f32>),
    /// Written into the arena by [`Normaliser`].
    Measured(usize),
}

impl Numbers {
    pub(crate) fn fixed(values: &[f32]) -> Self {
        let mut packed = Packed::zeros(values.len().next_multiple_of(BLOCK));
        packed.as_mut_slice()[..values.len()].copy_from_slice(values);
        Self::Fixed(packed)
    }

    unsafe fn pointer(&self, place: Place<'_>) -> *const f32 {
        match self {
            Self::Fixed(packed) => packed.pointer(),
            // SAFETY: the offset was given by the plan of this arena.
            Self::Measured(offset) => unsafe { place.at(*offset) },
        }
    }
}

/// The sum, requantised. A unit is one row.
pub(crate) struct Combining<P: Path> {
    terms: Vec<Added>,
    slope: Packed<f32>,
    output: Layout,
    zero: u8,
    path: std::marker::PhantomData<P>,
}

impl<P: Path> Combining<P> {
    pub(crate) fn new(terms: Vec<Added>, slope: &[f32], (output, zero): (Layout, u8)) -> Self {
        let mut padded = Packed::zeros(output.channels);
        padded.as_mut_slice()[..slope.len()].copy_from_slice(slope);
        Self { terms, slope: padded, output, zero, path: std::marker::PhantomData }
    }
}

impl<P: Path> Kernel for Combining<P> {
    fn units(&self) -> usize {
        self.output.size[0] * self.output.size[1]
    }

    unsafe fn unit(&self, unit: usize, place: Place<'_>, _: *mut u8) {
        let (z, y) = (unit / self.output.size[1], unit % self.output.size[1]);
        // SAFETY: rows of values of one shape; this unit alone writes its row of the output.
        unsafe {
            let row = |layout: &Layout| layout.voxel([z, y, 0]);
            let to = place.at::<u8>(self.output.offset + row(&self.output));
            for block in (0..self.output.channels).step_by(BLOCK) {
                let operand = |term: &Added| {
                    let at = row(&term.layout) + block;
                    Operand {
                        values: match term.zero {
                            Some(zero) => Stored::U8(place.at::<u8>(term.layout.offset + at), zero),
                            None => Stored::I16(place.at::<i16>(term.layout.offset).add(at)),
                        },
                        stride: term.layout.channels,
                        scale: term.scale.pointer(place).add(block),
                        bias: term.bias.pointer(place).add(block),
                    }
                };
                let slope = self.slope.pointer().add(block);
                let to = (to.add(block), self.output.channels, self.output.size[2]);
                match &self.terms[..] {
                    [only] => P::combine(&[operand(only)], slope, self.zero, to),
                    [first, second, ..] => {
                        let terms = [operand(first), operand(second)];
                        P::combine(&terms, slope, self.zero, to);
                    }
                    [] => {}
                }
            }
        }
    }
}

/// Where the statistics of one value lie in the arena.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// `[unit][channel]` of sum and sum of squares, i64.
    pub(crate) sums: usize,
    /// `[channel]`, f32.
    pub(crate) scale: usize,
    /// `[channel]`, f32.
    pub(crate) bias: usize,
}

impl Room {
    /// Bytes for a value of `channels` stored channels.
    pub(crate) fn bytes(channels: usize) -> usize {
        channels * (STATISTICS_UNITS * 2 * size_of::<i64>() + 2 * size_of::<f32>())
    }

    /// From `offset` on.
    pub(crate) fn at(offset: usize, channels: usize) -> Self {
        let scale = offset + channels * STATISTICS_UNITS * 2 * size_of::<i64>();
        Self { sums: offset, scale, bias: scale + channels * size_of::<f32>() }
    }
}

/// Sums and sums of squares of a staged value. A unit is a share of its planes.
pub(crate) struct Statistics {
    layout: Layout,
    sums: usize,
}

impl Statistics {
    pub(crate) fn new(layout: Layout, room: Room) -> Self {
        Self { layout, sums: room.sums }
    }
}

impl Kernel for Statistics {
    fn units(&self) -> usize {
        self.layout.size[0].min(STATISTICS_UNITS)
    }

    unsafe fn unit(&self, unit: usize, place: Place<'_>, _: *mut u8) {
        let Layout { offset, channels, size: [depth, height, width], .. } = self.layout;
        let share = |unit: usize| depth * unit / self.units();
        // SAFETY: the unit reads its own planes and writes its own row of sums.
        unsafe {
            let sums = place.at::<i64>(self.sums).add(unit * 2 * channels);
            let sums = std::slice::from_raw_parts_mut(sums, 2 * channels);
            sums.fill(0);
            let (sums, squares) = sums.split_at_mut(channels);
            for z in share(unit)..share(unit + 1) {
                for y in 0..height {
                    let row = place.at::<i16>(offset).add(self.layout.voxel([z, y, 0]));
                    let row = std::slice::from_raw_parts(row.cast_const(), width * channels);
                    add_row(row, sums, squares);
                }
            }
        }
    }
}

/// Adds the voxels of a row: its sum in 32 bits, which 4,096 voxels of i16 do not fill, the rest in 64.
#[cfg(target_arch = "x86_64")]
fn add_row(row: &[i16], sums: &mut [i64], squares: &mut [i64]) {
    // SAFETY: every x86-64 has SSE2.
    unsafe { add_row_in_pairs(row, sums, squares) }
}

/// As [`add_row`]: pairs of voxels are multiplied and added at once. The squares of four staged values,
/// ±32,767 at most, fit in 32 bits without sign.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
fn add_row_in_pairs(row: &[i16], sums: &mut [i64], squares: &mut [i64]) {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_add_epi64, _mm_and_si128, _mm_loadu_si128, _mm_madd_epi16,
        _mm_set1_epi16, _mm_set1_epi64x, _mm_setzero_si128, _mm_srli_epi64, _mm_unpackhi_epi16,
        _mm_unpacklo_epi16,
    };
    /// Channels of a register.
    const EIGHT: usize = 8;

    let channels = sums.len();
    let (ones, low) = (_mm_set1_epi16(1), _mm_set1_epi64x(0xffff_ffff));
    for first in (0..channels).step_by(EIGHT) {
        let mut sum = [_mm_setzero_si128(); 2];
        let mut even = [_mm_setzero_si128(); 2];
        let mut odd = [_mm_setzero_si128(); 2];
        for four in row.chunks(4 * channels) {
            let voxel = |voxel: usize| {
                let from = voxel * channels + first;
                let values = four.get(from..from + EIGHT);
                // SAFETY: there are eight.
                values
                    .map_or(_mm_setzero_si128(), |v| unsafe { _mm_loadu_si128(v.as_ptr().cast()) })
            };
            let [a, b, c, d] = [voxel(0), voxel(1), voxel(2), voxel(3)];
            let pairs = [
                (_mm_unpacklo_epi16(a, b), _mm_unpacklo_epi16(c, d)),
                (_mm_unpackhi_epi16(a, b), _mm_unpackhi_epi16(c, d)),
            ];
            for (half, (ab, cd)) in pairs.into_iter().enumerate() {
                let four = _mm_add_epi32(_mm_madd_epi16(ab, ones), _mm_madd_epi16(cd, ones));
                sum[half] = _mm_add_epi32(sum[half], four);
                let four = _mm_add_epi32(_mm_madd_epi16(ab, ab), _mm_madd_epi16(cd, cd));
                even[half] = _mm_add_epi64(even[half], _mm_and_si128(four, low));
                odd[half] = _mm_add_epi64(odd[half], _mm_srli_epi64::<32>(four));
            }
        }
        for half in 0..2 {
            // SAFETY: numbers of the same size as their register.
            let (sum, square) = unsafe {
                let pairs = |v: __m128i| std::mem::transmute::<__m128i, [i64; 2]>(v);
                let sum = std::mem::transmute::<__m128i, [i32; 4]>(sum[half]);
                (sum, [pairs(even[half]), pairs(odd[half])])
            };
            for (lane, sum) in sum.into_iter().enumerate() {
                let channel = first + half * EIGHT / 2 + lane;
                sums[channel] += i64::from(sum);
                squares[channel] += square[lane % 2][lane / 2];
            }
        }
    }
}

/// Adds the voxels of a row: its sum in 32 bits, which 4,096 voxels of i16 do not fill, the rest in 64.
#[cfg(not(target_arch = "x86_64"))]
fn add_row(row: &[i16], sums: &mut [i64], squares: &mut [i64]) {
    let channels = sums.len();
    for block in (0..channels).step_by(BLOCK) {
        let mut sum = [0i32; BLOCK];
        let mut square = [0u64; BLOCK];
        for voxel in row.chunks_exact(channels) {
            for ((sum, square), &value) in sum.iter_mut().zip(&mut square).zip(&voxel[block..]) {
                *sum += i32::from(value);
                *square += u64::from((i32::from(value) * i32::from(value)).unsigned_abs());
            }
        }
        for lane in 0..BLOCK {
            sums[block + lane] += i64::from(sum[lane]);
            squares[block + lane] += square[lane].cast_signed();
        }
    }
}

/// Scale and bias per channel from the sums. One unit.
pub(crate) struct Normaliser {
    /// What the units of [`Statistics`] wrote.
    pub(crate) units: usize,
    /// Where.
    pub(crate) room: Room,
    /// Stored channels.
    pub(crate) channels: usize,
    /// Voxels.
    pub(crate) count: u64,
    /// Real channels: gamma, beta and real units per step.
    pub(crate) constants: Vec<(f32, f32, f64)>,
    /// Is added to the variance.
    pub(crate) epsilon: f32,
}

impl Kernel for Normaliser {
    fn units(&self) -> usize {
        1
    }

    unsafe fn unit(&self, _: usize, place: Place<'_>, _: *mut u8) {
        // SAFETY: the room was planned for this many units and channels.
        unsafe {
            let sums = place.at::<i64>(self.room.sums).cast_const();
            let (scale, bias) = (place.at::<f32>(self.room.scale), place.at::<f32>(self.room.bias));
            for c in 0..self.channels {
                let at =
                    |unit: usize, which: usize| *sums.add((unit * 2 + which) * self.channels + c);
                let sum = (0..self.units).map(|unit| at(unit, 0)).sum();
                let squares = (0..self.units).map(|unit| at(unit, 1)).sum();
                let (scaled, biased) = match self.constants.get(c) {
                    Some(&(gamma, beta, unit)) => normalisation(
                        (self.count, sum, squares),
                        (gamma, beta),
                        (unit, self.epsilon),
                    ),
                    None => (0.0, 0.0),
                };
                scale.add(c).write(scaled);
                bias.add(c).write(biased);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All remainders of voxels, with the largest squares there are.
    #[test]
    fn rows_are_added_exactly() {
        for (channels, voxels) in [16, 48].into_iter().flat_map(|c| (1..10).map(move |v| (c, v))) {
            let value = |at: usize| match at % 5 {
                0 => -32_767,
                1 => 32_767,
                _ => (at * 7919 % 65_535) as i32 - 32_767,
            };
            let row: Vec<i16> = (0..channels * voxels).map(|at| value(at) as i16).collect();
            let (mut sums, mut squares) = (vec![5; channels], vec![7; channels]);
            add_row(&row, &mut sums, &mut squares);
            add_row(&vec![-32_767; channels * voxels], &mut sums, &mut squares);
            for channel in 0..channels {
                let values = || row.iter().skip(channel).step_by(channels).map(|&v| i64::from(v));
                let (lowest, count) = (-32_767, voxels as i64);
                assert_eq!(sums[channel], 5 + values().sum::<i64>() + lowest * count);
                let square = values().map(|v| v * v).sum::<i64>();
                assert_eq!(squares[channel], 7 + square + lowest * lowest * count);
            }
        }
    }
}
