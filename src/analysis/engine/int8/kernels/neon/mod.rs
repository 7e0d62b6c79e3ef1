//! AArch64: with the dot products of ARMv8.2, and without.
//!
//! | file | makes |
//! |---|---|
//! | `dot` | the sums of a row by `sdot`, sixteen products an instruction, written out |
//! | `long` | the sums of a row by `smlal`, four products an instruction |
//! | `finish` | sums to values, for both |
//!
//! `sdot` multiplies signed by signed bytes, so [`NeonDot`] takes 128 away from every activation, which
//! is one exclusive or; the corrections of the sums give it back. Nothing saturates on the way.

mod dot;

mod long;

mod finish;

use std::arch::aarch64::{
    int32x4_t, vdupq_n_u8, veorq_u8, vget_low_u8, vld1q_u8, vmovl_high_u8, vmovl_u8,
    vreinterpretq_s8_u8, vreinterpretq_s16_u16, vst1q_s8, vst1q_s16,
};

use super::super::program::Quant;
use super::path::{Channels, Operand, Path, Segment, To, Widen};

/// NEON with dot products.
pub(crate) struct NeonDot;

/// NEON as every AArch64 processor has it.
pub(crate) struct Neon;

/// Sums of `N` voxels, four channels to a register.
type Registers<const N: usize> = [[int32x4_t; 4]; N];

// SAFETY of all functions below: `Isa::available` was asked before a kernel of these paths was made, and
// the pointers hold what `Path` says.
impl Path for NeonDot {
    type Input = i8;
    type Weight = i8;
    const GROUP: usize = 4;
    const SHIFT: i32 = 128;
    const WIDEN: Option<Widen<i8>> = Some(signed);

    fn weight(weight: i8) -> i8 {
        weight
    }

    unsafe fn row(segments: &[Segment<Self>], width: usize, at: Channels, to: To) {
        // SAFETY: see above.
        unsafe { dot::row(segments, width, at, to) }
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

impl Path for Neon {
    type Input = i16;
    type Weight = i16;
    const GROUP: usize = 1;
    const SHIFT: i32 = 0;
    const WIDEN: Option<Widen<i16>> = Some(widened);

    fn weight(weight: i8) -> i16 {
        i16::from(weight)
    }

    unsafe fn row(segments: &[Segment<Self>], width: usize, at: Channels, to: To) {
        // SAFETY: see above.
        unsafe { long::row(segments, width, at, to) }
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

/// Bytes less 128.
#[target_feature(enable = "neon")]
unsafe fn signed(from: *const u8, to: *mut i8, count: usize) {
    for at in (0..count).step_by(16) {
        // SAFETY: up to 15 more may be read and written.
        unsafe {
            let bytes = veorq_u8(vld1q_u8(from.add(at)), vdupq_n_u8(0x80));
            vst1q_s8(to.add(at), vreinterpretq_s8_u8(bytes));
        }
    }
}

/// Bytes to 16 bits.
#[target_feature(enable = "neon")]
unsafe fn widened(from: *const u8, to: *mut i16, count: usize) {
    for at in (0..count).step_by(16) {
        // SAFETY: up to 15 more may be read and written.
        unsafe {
            let bytes = vld1q_u8(from.add(at));
            vst1q_s16(to.add(at), vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))));
            vst1q_s16(to.add(at + 8), vreinterpretq_s16_u16(vmovl_high_u8(bytes)));
        }
    }
}
