//! x86-64 with AVX2.
//!
//! | file | makes |
//! |---|---|
//! | `multiply` | products of rows and weights: `vpmaddwd`, written out |
//! | `finish` | sums to values |
//! | `winograd` | 3×3×3 convolution with a sixth of the products, exact in integers |
//! | `transform` | what goes before and after its products |
//!
//! `vpmaddwd` multiplies i16 and adds pairs in i32: nothing saturates with weights of full 8 bits, as
//! `vpmaddubsw` would.

pub(crate) mod multiply;

pub(crate) mod finish;

pub(crate) mod transform;

pub(crate) mod winograd;

use std::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm256_cvtepu8_epi16, _mm256_setzero_si256,
    _mm256_store_si256, _mm256_storeu_si256,
};

use super::super::layout::BLOCK;
use super::path::{Channels, Operand, Path, Segment, Sums, TILE};
use finish::Constants;

/// AVX2.
pub(crate) struct Avx2;

/// Sums of `N` voxels: channels 0..8 and 8..16.
pub(crate) type Registers<const N: usize> = [[__m256i; 2]; N];

// SAFETY of all functions below: `Isa::available` was asked before a kernel of this path was made, and
// the pointers hold what `Path` says.
impl Path for Avx2 {
    type Input = i16;
    type Weight = i16;
    const GROUP: usize = 2;
    const SHIFT: i32 = 0;

    fn weight(weight: i8) -> i16 {
        i16::from(weight)
    }

    unsafe fn widen(from: *const u8, to: *mut i16, count: usize) {
        // SAFETY: see above.
        unsafe { widen(from, to, count) }
    }

    unsafe fn tile(segments: &[Segment<Self>], voxels: usize, sums: &mut Sums) {
        // SAFETY: see above.
        unsafe {
            match voxels {
                0..=2 => tile2(segments, sums),
                3 | 4 => tile4(segments, sums),
                _ => tile6(segments, sums),
            }
        }
    }

    unsafe fn to_u8(sums: &Sums, voxels: usize, at: Channels, zero: u8, to: (*mut u8, usize)) {
        // SAFETY: see above.
        unsafe { Constants::load(at, zero).sums_to_u8(sums, voxels, to) }
    }

    unsafe fn to_i16(sums: &Sums, voxels: usize, at: Channels, to: (*mut i16, usize)) {
        // SAFETY: see above.
        unsafe { Constants::load(at, 0).sums_to_i16(sums, voxels, to) }
    }

    unsafe fn to_f32(sums: &Sums, at: Channels, to: &mut [[f32; BLOCK]; TILE]) {
        // SAFETY: see above.
        unsafe { Constants::load(at, 0).sums_to_f32(sums, to) }
    }

    unsafe fn combine(terms: &[Operand], slope: *const f32, zero: u8, to: *mut u8) {
        // SAFETY: see above.
        unsafe { finish::combine(terms, slope, zero, to) }
    }
}

#[target_feature(enable = "avx2")]
unsafe fn widen(from: *const u8, to: *mut i16, count: usize) {
    for at in (0..count).step_by(16) {
        // SAFETY: up to 15 more may be read and written.
        unsafe {
            let bytes = _mm_loadu_si128(from.add(at).cast::<__m128i>());
            _mm256_storeu_si256(to.add(at).cast::<__m256i>(), _mm256_cvtepu8_epi16(bytes));
        }
    }
}

/// Elements from one group of eight pairs to the next, in bytes.
const PAIRS: usize = 32;

macro_rules! tile {
    ($name:ident, $voxels:literal, $multiply:ident) => {
        #[target_feature(enable = "avx2")]
        unsafe fn $name(segments: &[Segment<Avx2>], sums: &mut Sums) {
            let mut registers: Registers<$voxels> = [[_mm256_setzero_si256(); 2]; $voxels];
            for segment in segments {
                let (whole, rest) = (segment.groups / 8, segment.groups % 8);
                let stride = 2 * segment.stride;
                // SAFETY: a segment has `groups` pairs of inputs and weights.
                unsafe {
                    if whole > 0 {
                        let at = (segment.inputs, segment.weights);
                        multiply::by_eight::$multiply(&mut registers, at, (stride, PAIRS), whole);
                    }
                    if rest > 0 {
                        let at = (segment.inputs.add(whole * 16), segment.weights.add(whole * 256));
                        multiply::by_one::$multiply(&mut registers, at, (stride, 4), rest);
                    }
                }
            }
            for (voxel, [low, high]) in registers.iter().enumerate() {
                let to = sums.0[voxel].as_mut_ptr().cast::<__m256i>();
                // SAFETY: a row of sums is two registers, aligned to 64.
                unsafe {
                    _mm256_store_si256(to, *low);
                    _mm256_store_si256(to.add(1), *high);
                }
            }
        }
    };
}

tile!(tile2, 2, multiply2);
tile!(tile4, 4, multiply4);
tile!(tile6, 6, multiply6);
