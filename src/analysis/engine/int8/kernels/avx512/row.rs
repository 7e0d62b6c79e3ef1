//! The sums of a row of voxels, a few at a time, finished while they are in registers.

use std::arch::x86_64::{__m512i, _mm_storeu_si128, _mm256_storeu_si256, _mm512_setzero_si512};

use super::super::path::{Channels, Segment, To};
use super::finish::Constants;
use super::{Avx512, multiply};

/// Bytes from one round of eight pairs to the next.
const EIGHT_PAIRS: usize = 32;
/// Bytes from one pair to the next.
const ONE_PAIR: usize = 4;

/// See [`Path::row`](super::super::path::Path::row); not for values in f32.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) unsafe fn row(segments: &[Segment<Avx512>], width: usize, at: Channels, to: To) {
    // SAFETY: by the caller's word.
    unsafe {
        let zero = if let To::U8 { zero, .. } = to { zero } else { 0 };
        let constants = Constants::load(at, zero);
        let mut x = 0;
        while x < width {
            x += match width - x {
                1 | 2 => two(segments, (x, width), &constants, to),
                3 | 4 => four(segments, (x, width), &constants, to),
                5 | 6 => six(segments, (x, width), &constants, to),
                7..=10 | 13..=16 => eight(segments, (x, width), &constants, to),
                _ => twelve(segments, (x, width), &constants, to),
            };
        }
    }
}

macro_rules! tile {
    ($name:ident, $voxels:literal, $multiply:ident) => {
        /// Returns the voxels done, which may reach beyond the row.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        unsafe fn $name(
            segments: &[Segment<Avx512>],
            (x, width): (usize, usize),
            constants: &Constants,
            to: To,
        ) -> usize {
            let mut sums = [_mm512_setzero_si512(); $voxels];
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
tile!(eight, 8, multiply8);
tile!(twelve, 12, multiply12);

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn store<const N: usize>(
    sums: &[__m512i; N],
    (x, width): (usize, usize),
    constants: &Constants,
    to: To,
) {
    // SAFETY: only voxels of the row are written.
    unsafe {
        for (voxel, sums) in (x..width).zip(sums) {
            match to {
                To::U8 { first, stride, .. } => {
                    _mm_storeu_si128(first.add(voxel * stride).cast(), constants.to_u8(*sums));
                }
                To::I16 { first, stride } => {
                    _mm256_storeu_si256(first.add(voxel * stride).cast(), constants.to_i16(*sums));
                }
                To::F32 { .. } => {}
            }
        }
    }
}
