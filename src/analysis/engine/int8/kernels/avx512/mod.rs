//! x86-64 with AVX-512 and VNNI: sixteen sums in one register, two products and their addition in one
//! instruction (`vpdpwssd`).
//!
//! What is not named here is computed as on AVX2, on the same packed weights and activations.

mod multiply;

mod finish;

mod row;

mod transform;

mod winograd;

use super::super::program::Quant;
use super::avx2::{self, Avx2};
use super::path::{Channels, Operand, Path, Segment, To};

/// AVX-512 F, BW, DQ, VL and VNNI.
pub(crate) struct Avx512;

// SAFETY of all functions below: `Isa::available` was asked before a kernel of this path was made, and
// the pointers hold what `Path` says. Every such machine has AVX2.
impl Path for Avx512 {
    type Input = i16;
    type Weight = i16;
    const GROUP: usize = Avx2::GROUP;
    const SHIFT: i32 = Avx2::SHIFT;

    fn weight(weight: i8) -> i16 {
        Avx2::weight(weight)
    }

    unsafe fn widen(from: *const u8, to: *mut i16, count: usize) {
        // SAFETY: see above.
        unsafe { Avx2::widen(from, to, count) }
    }

    unsafe fn row(segments: &[Segment<Self>], width: usize, at: Channels, to: To) {
        // SAFETY: see above.
        unsafe {
            if let To::F32 { .. } = to {
                avx2::row::row(segments, width, at, to);
            } else {
                row::row(segments, width, at, to);
            }
        }
    }

    unsafe fn quantise(from: *const f32, count: usize, quant: Quant, to: (*mut u8, usize)) {
        // SAFETY: see above.
        unsafe { Avx2::quantise(from, count, quant, to) }
    }

    unsafe fn combine(terms: &[Operand], slope: *const f32, zero: u8, to: *mut u8) {
        // SAFETY: see above.
        unsafe { Avx2::combine(terms, slope, zero, to) }
    }
}
