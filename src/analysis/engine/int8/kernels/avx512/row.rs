//! The sums of a row of voxels, a few at a time, finished while they are in registers.

use std::arch::x86_64::{
    __m512i, _mm_storeu_si128, _mm256_storeu_si256, _mm512_castsi512_si128,
    _mm512_extracti32x4_epi32, _mm512_storeu_ps, _mm512_storeu_si512,
};

use super::super::super::layout::BLOCK;
use super::super::path::{Block, Segment, To};
use super::Avx512;
use super::dot;
use super::finish::Constants;

/// Voxels that can be computed together.
const SIZES: [usize; 6] = [1, 2, 4, 6, 8, 12];

/// The next voxels of a row of `width` voxels of which `left` are to be done: as few as finish it, else as
/// many as there are. What was done already may be done again, but nothing beyond the row is.
fn next(left: usize, width: usize) -> usize {
    let last = SIZES.into_iter().find(|size| (left..=width).contains(size));
    last.or(SIZES.into_iter().rfind(|&size| size <= left)).unwrap_or(1)
}

macro_rules! row {
    ($name:ident, $($block:literal)+) => {
        /// See [`Path::rows`](super::super::path::Path::rows); for channels that lie side by side.
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        pub(super) unsafe fn $name(
            segments: &[Segment<Avx512>],
            apart: usize,
            width: usize,
            blocks: [Block; [$($block),+].len()],
        ) {
            let mut x = 0;
            while x < width {
                let voxels = next(width - x, width);
                x = x.min(width - voxels);
                macro_rules! tile {
                    ($voxels:ident) => {{
                        let sums = dot::$voxels::$name(segments, x, apart);
                        $(store(&sums[$block], x, blocks[$block]);)+
                    }};
                }
                // SAFETY: by the caller's word.
                unsafe {
                    match voxels {
                        12 => tile!(twelve),
                        8 => tile!(eight),
                        6 => tile!(six),
                        4 => tile!(four),
                        2 => tile!(two),
                        _ => tile!(one),
                    }
                }
                x += voxels;
            }
        }
    };
}

row!(one, 0);
row!(two, 0 1);

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn store<const V: usize>(sums: &[__m512i; V], x: usize, Block { channels, to }: Block) {
    // SAFETY: only voxels of the row are written, and there are constants of sixteen channels.
    unsafe {
        match to {
            To::U8 { first, stride, zero } => {
                let constants = Constants::load(channels, zero);
                let mut to = first.add(x * stride);
                let (fours, rest) = sums.as_chunks::<4>();
                for &four in fours {
                    store_four(constants.four_to_u8::<false>(four), to, stride);
                    to = to.add(4 * stride);
                }
                for &sums in rest {
                    _mm_storeu_si128(to.cast(), constants.to_u8(sums));
                    to = to.add(stride);
                }
            }
            To::I16 { first, stride } => {
                let constants = Constants::load(channels, 0);
                for (voxel, &sums) in (x..).zip(sums) {
                    let to = first.add(voxel * stride);
                    _mm256_storeu_si256(to.cast(), constants.to_i16(sums));
                }
            }
            To::F32 { first, step, .. } => {
                let constants = Constants::load(channels, 0);
                for (voxel, &sums) in (x..).zip(sums) {
                    _mm512_storeu_ps(first.add(voxel * step), constants.affine(sums));
                }
            }
        }
    }
}

/// Four voxels of sixteen channels, `stride` bytes from voxel to voxel.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn store_four(voxels: __m512i, to: *mut u8, stride: usize) {
    // SAFETY: by the caller's word.
    unsafe {
        if stride == BLOCK {
            _mm512_storeu_si512(to.cast(), voxels);
            return;
        }
        _mm_storeu_si128(to.cast(), _mm512_castsi512_si128(voxels));
        _mm_storeu_si128(to.add(stride).cast(), _mm512_extracti32x4_epi32::<1>(voxels));
        _mm_storeu_si128(to.add(2 * stride).cast(), _mm512_extracti32x4_epi32::<2>(voxels));
        _mm_storeu_si128(to.add(3 * stride).cast(), _mm512_extracti32x4_epi32::<3>(voxels));
    }
}
