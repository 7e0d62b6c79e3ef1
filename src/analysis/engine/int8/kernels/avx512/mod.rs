//! x86-64 with AVX-512 and VNNI: sixteen sums in one register.
//!
//! | file | makes |
//! |---|---|
//! | `dot` | sums of a few voxels: `vpdpbusd`, four products an instruction, written out |
//! | `row` | the sums of a row, tile by tile |
//! | `across` | the sums of a row in f32 whose channels lie apart, sixteen voxels in one register |
//! | `finish` | sums to values |
//! | `input` | f32 to u8 |
//! | `combine` | sums of a row of values |
//! | `transform`, `winograd` | what the Winograd kernel needs: `vpdpwssd` on i16 |
//!
//! `vpdpbusd` multiplies bytes without sign by bytes with one, and nothing saturates: activations are
//! multiplied where they lie. What is not named here is computed as on AVX2.

mod dot;

mod row;

mod across;

mod finish;

mod input;

mod combine;

mod transform;

mod winograd;

use super::super::program::Quant;
use super::path::{Block, Channels, Operand, Path, Segment, To, Widen, one_by_one};

/// AVX-512 F, BW, DQ, VL and VNNI.
pub(crate) struct Avx512;

// SAFETY of all functions below: `Isa::available` was asked before a kernel of this path was made, and
// the pointers hold what `Path` says. Every such machine has AVX2.
impl Path for Avx512 {
    type Input = u8;
    type Weight = i8;
    const GROUP: usize = 4;
    const SHIFT: i32 = 0;
    const WIDEN: Option<Widen<u8>> = None;

    fn weight(weight: i8) -> i8 {
        weight
    }

    unsafe fn row(segments: &[Segment<Self>], width: usize, at: Channels, to: To) {
        // SAFETY: see above.
        unsafe {
            if to.is_side_by_side() {
                row::one(segments, 0, width, [Block { channels: at, to }]);
            } else {
                across::row(segments, width, at, to);
            }
        }
    }

    unsafe fn rows(segments: &mut [Segment<Self>], apart: usize, width: usize, blocks: &[Block]) {
        // SAFETY: see above.
        unsafe {
            match *blocks {
                [first, second] if first.to.is_side_by_side() && second.to.is_side_by_side() => {
                    row::two(segments, apart, width, [first, second]);
                }
                _ => one_by_one(segments, apart, width, blocks),
            }
        }
    }

    unsafe fn quantise(from: *const f32, count: usize, quant: Quant, to: *mut u8) {
        // SAFETY: see above.
        unsafe { input::quantise(from, count, quant, to) }
    }

    unsafe fn combine(
        terms: &[Operand],
        slope: *const f32,
        zero: u8,
        row: (*mut u8, usize, usize),
    ) {
        // SAFETY: see above.
        unsafe { combine::combine(terms, slope, zero, row) }
    }
}
