//! x86-64 with AVX2.
//!
//! | file | makes |
//! |---|---|
//! | `multiply` | products of rows and weights: `vpmaddwd`, written out |
//! | `row` | the sums of a row, tile by tile |
//! | `finish` | sums to values |
//! | `transform`, `winograd` | what the Winograd kernel needs |
//!
//! `vpmaddwd` multiplies i16 and adds pairs in i32: nothing saturates with weights of full 8 bits, as
//! `vpmaddubsw` would.

pub(crate) mod multiply;

mod row;

pub(crate) mod finish;

pub(crate) mod transform;

pub(crate) mod winograd;

use std::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm256_cvtepu8_epi16, _mm256_storeu_si256,
};

use super::super::program::Quant;
use super::path::{Channels, Operand, Path, Segment, To, Widen};

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
    const WIDEN: Option<Widen<i16>> = Some(widen);

    fn weight(weight: i8) -> i16 {
        i16::from(weight)
    }

    unsafe fn row(segments: &[Segment<Self>], width: usize, at: Channels, to: To) {
        // SAFETY: see above.
        unsafe { row::row(segments, width, at, to) }
    }

    unsafe fn quantise(from: *const f32, count: usize, quant: Quant, to: *mut u8) {
        // SAFETY: see above.
        unsafe { finish::quantise(from, count, quant, to) }
    }

    unsafe fn combine(
        terms: &[Operand],
        slope: *const f32,
        zero: u8,
        row: (*mut u8, usize, usize),
    ) {
        // SAFETY: see above.
        unsafe { finish::combine(terms, slope, zero, row) }
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
