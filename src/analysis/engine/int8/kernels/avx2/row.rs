//! The sums of a row of voxels, a few at a time, finished while they are in registers.

use std::arch::x86_64::{
    __m256, __m256i, _mm_storeu_si128, _mm256_add_epi32, _mm256_load_si256, _mm256_madd_epi16,
    _mm256_permute2f128_ps, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_shuffle_ps,
    _mm256_storeu_ps, _mm256_storeu_si256, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};

use super::super::path::{Channels, Segment, To};
use super::finish::Constants;
use super::{Avx2, Registers, multiply};

/// Bytes from one round of eight pairs to the next.
const EIGHT_PAIRS: usize = 32;
/// Bytes from one pair to the next.
const ONE_PAIR: usize = 4;
/// Channels that fit in one register.
const HALF: usize = 8;

/// See [`Path::row`](super::super::path::Path::row).
#[target_feature(enable = "avx2")]
pub(super) unsafe fn row(segments: &[Segment<Avx2>], width: usize, at: Channels, to: To) {
    // SAFETY: by the caller's word.
    unsafe {
        let zero = if let To::U8 { zero, .. } = to { zero } else { 0 };
        let constants = Constants::load(at, zero);
        if let To::F32 { count, .. } = to
            && count <= HALF
        {
            return narrow(segments, width, &constants, to);
        }
        let mut x = 0;
        while x < width {
            x += match width - x {
                1 | 2 => two(segments, (x, width), &constants, to),
                3 | 4 | 8 => four(segments, (x, width), &constants, to),
                _ => six(segments, (x, width), &constants, to),
            };
        }
    }
}

macro_rules! tile {
    ($name:ident, $voxels:literal, $multiply:ident) => {
        /// Returns the voxels done, which may reach beyond the row.
        #[inline]
        #[target_feature(enable = "avx2")]
        unsafe fn $name(
            segments: &[Segment<Avx2>],
            (x, width): (usize, usize),
            constants: &Constants,
            to: To,
        ) -> usize {
            let mut sums: Registers<$voxels> = [[_mm256_setzero_si256(); 2]; $voxels];
            for segment in segments {
                let (whole, rest) = (segment.groups / 8, segment.groups % 8);
                let stride = 2 * segment.stride;
                // SAFETY: a segment has `groups` pairs of inputs and weights.
                unsafe {
                    let inputs = segment.inputs.add(x * segment.stride);
                    if whole > 0 {
                        let at = (inputs, segment.weights);
                        multiply::by_eight::$multiply(&mut sums, at, (stride, EIGHT_PAIRS), whole);
                    }
                    if rest > 0 {
                        let at = (inputs.add(whole * 16), segment.weights.add(whole * 256));
                        multiply::by_one::$multiply(&mut sums, at, (stride, ONE_PAIR), rest);
                    }
                }
            }
            // SAFETY: by the caller's word.
            unsafe { store(&sums, (x, width), constants, to) };
            $voxels
        }
    };
}

tile!(two, 2, multiply2);
tile!(four, 4, multiply4);
tile!(six, 6, multiply6);

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store<const N: usize>(
    sums: &Registers<N>,
    (x, width): (usize, usize),
    constants: &Constants,
    to: To,
) {
    let voxels = N.min(width - x);
    // SAFETY: only voxels of the row are written.
    unsafe {
        match to {
            To::U8 { first, stride, .. } => {
                for voxel in (0..voxels).step_by(2) {
                    let [one, other] = constants.pair_to_u8::<false>(sums[voxel], sums[voxel + 1]);
                    let to = first.add((x + voxel) * stride);
                    _mm_storeu_si128(to.cast(), one);
                    if voxel + 1 < voxels {
                        _mm_storeu_si128(to.add(stride).cast(), other);
                    }
                }
            }
            To::I16 { first, stride } => {
                for (voxel, sums) in sums.iter().take(voxels).enumerate() {
                    let to = first.add((x + voxel) * stride);
                    _mm256_storeu_si256(to.cast(), constants.to_i16(*sums));
                }
            }
            To::F32 { first, step, plane, count } => {
                for (voxel, sums) in sums.iter().take(voxels).enumerate() {
                    let mut values = [0.0f32; 2 * HALF];
                    _mm256_storeu_ps(values.as_mut_ptr(), constants.affine(sums[0], 0));
                    _mm256_storeu_ps(values.as_mut_ptr().add(HALF), constants.affine(sums[1], 1));
                    for (channel, value) in values.into_iter().take(count).enumerate() {
                        first.add(channel * plane + (x + voxel) * step).write(value);
                    }
                }
            }
        }
    }
}

/// Up to eight channels to f32: eight voxels at a time, turned around so that a channel's values of
/// neighbouring voxels are stored together.
#[target_feature(enable = "avx2")]
unsafe fn narrow(segments: &[Segment<Avx2>], width: usize, constants: &Constants, to: To) {
    let To::F32 { first, step, plane, count } = to else { return };
    for x in (0..width).step_by(HALF) {
        let mut sums = [_mm256_setzero_si256(); HALF];
        for segment in segments {
            // SAFETY: a segment has `groups` pairs of inputs and weights, the latter aligned.
            unsafe {
                for group in 0..segment.groups {
                    let weights = segment.weights.add(group * 32).cast::<__m256i>();
                    let weights = _mm256_load_si256(weights);
                    for (voxel, sum) in (x..).zip(&mut sums) {
                        let pair = segment.inputs.add(voxel * segment.stride + 2 * group);
                        let pair = _mm256_set1_epi32(pair.cast::<i32>().read_unaligned());
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pair, weights));
                    }
                }
            }
        }
        let voxels = HALF.min(width - x);
        let channels = turned(sums.map(|sum| constants.affine(sum, 0)));
        for (channel, values) in channels.into_iter().take(count).enumerate() {
            // SAFETY: only voxels of the row are written.
            unsafe {
                let to = first.add(channel * plane + x * step);
                if voxels == HALF && step == 1 {
                    _mm256_storeu_ps(to, values);
                } else {
                    let mut row = [0.0f32; HALF];
                    _mm256_storeu_ps(row.as_mut_ptr(), values);
                    for (voxel, value) in row.into_iter().take(voxels).enumerate() {
                        to.add(voxel * step).write(value);
                    }
                }
            }
        }
    }
}

/// Rows to columns, 8 × 8.
#[inline]
#[target_feature(enable = "avx2")]
fn turned(rows: [__m256; HALF]) -> [__m256; HALF] {
    let mut pairs = rows;
    for at in (0..HALF).step_by(2) {
        pairs[at] = _mm256_unpacklo_ps(rows[at], rows[at + 1]);
        pairs[at + 1] = _mm256_unpackhi_ps(rows[at], rows[at + 1]);
    }
    let mut fours = pairs;
    for at in [0, 4] {
        fours[at] = _mm256_shuffle_ps::<0b01_00_01_00>(pairs[at], pairs[at + 2]);
        fours[at + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(pairs[at], pairs[at + 2]);
        fours[at + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(pairs[at + 1], pairs[at + 3]);
        fours[at + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(pairs[at + 1], pairs[at + 3]);
    }
    let mut columns = fours;
    for at in 0..4 {
        columns[at] = _mm256_permute2f128_ps::<0x20>(fours[at], fours[at + 4]);
        columns[at + 4] = _mm256_permute2f128_ps::<0x31>(fours[at], fours[at + 4]);
    }
    columns
}
