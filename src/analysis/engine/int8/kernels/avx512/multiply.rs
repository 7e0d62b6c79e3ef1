//! Rows of inputs times sixteen channels of weights, in registers.
//!
//! Per pair of inputs: one register of weights, and one `vpdpwssd` per voxel that reads the pair from
//! memory and repeats it. Written as assembly because the compiler spills accumulators and computes row
//! addresses anew.

use std::arch::asm;
use std::arch::x86_64::__m512i;

/// One voxel of one pair: `$row` is its address, `$at` the pair's offset in bytes.
macro_rules! voxel {
    ($row:literal, $at:literal, $sum:literal) => {
        concat!("vpdpwssd {", $sum, "}, {w}, dword ptr [", $row, "+", $at, "]{{1to16}}\n")
    };
}

macro_rules! pair2 {
    ($at:literal, $weights:literal) => {
        concat!(
            "vmovdqa64 {w}, [{b}+",
            $weights,
            "]\n",
            voxel!("{a}", $at, "c0"),
            voxel!("{a}+{l}", $at, "c1"),
        )
    };
}

macro_rules! pair4 {
    ($at:literal, $weights:literal) => {
        concat!(pair2!($at, $weights), voxel!("{a}+2*{l}", $at, "c2"), voxel!("{d}", $at, "c3"),)
    };
}

macro_rules! pair6 {
    ($at:literal, $weights:literal) => {
        concat!(
            pair4!($at, $weights),
            voxel!("{d}+{l}", $at, "c4"),
            voxel!("{d}+2*{l}", $at, "c5"),
        )
    };
}

macro_rules! pair8 {
    ($at:literal, $weights:literal) => {
        concat!(pair6!($at, $weights), voxel!("{e}", $at, "c6"), voxel!("{e}+{l}", $at, "c7"),)
    };
}

macro_rules! pair12 {
    ($at:literal, $weights:literal) => {
        concat!(
            pair8!($at, $weights),
            voxel!("{e}+2*{l}", $at, "c8"),
            voxel!("{f}", $at, "c9"),
            voxel!("{f}+{l}", $at, "c10"),
            voxel!("{f}+2*{l}", $at, "c11"),
        )
    };
}

/// The kernels for 2 to 12 voxels; a round of the loop takes the pairs given.
macro_rules! kernels {
    ($(($at:literal, $weights:literal)),+; $advance:literal) => {
        use super::{__m512i, asm};

        kernel!(multiply2, 2, $advance, [$(pair2!($at, $weights)),+], [c0 0, c1 1]);
        kernel!(multiply4, 4, $advance, [$(pair4!($at, $weights)),+], [c0 0, c1 1, c2 2, c3 3]);
        kernel!(multiply6, 6, $advance, [$(pair6!($at, $weights)),+],
            [c0 0, c1 1, c2 2, c3 3, c4 4, c5 5]);
        kernel!(multiply8, 8, $advance, [$(pair8!($at, $weights)),+],
            [c0 0, c1 1, c2 2, c3 3, c4 4, c5 5, c6 6, c7 7]);
        kernel!(multiply12, 12, $advance, [$(pair12!($at, $weights)),+],
            [c0 0, c1 1, c2 2, c3 3, c4 4, c5 5, c6 6, c7 7, c8 8, c9 9, c10 10, c11 11]);
    };
}

macro_rules! kernel {
    ($name:ident, $voxels:literal, $advance:literal, [$($pair:expr),+],
     [$($c:ident $voxel:literal),+]) => {
        /// Adds `rounds` rounds of products to the sums. `stride` bytes lie between voxels, `step` bytes
        /// between rounds; weights lie one round behind the other, aligned to 64.
        ///
        /// # Safety
        /// All of it is there to be read.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        pub(crate) unsafe fn $name(
            sums: &mut [__m512i; $voxels],
            (inputs, weights): (*const i16, *const i16),
            (stride, step): (usize, usize),
            rounds: usize,
        ) {
            // Named, because the type says which registers there are.
            let _weights: __m512i;
            let third = |n: usize| inputs.wrapping_byte_add(3 * n * stride);
            // SAFETY: reads what the caller says is there, writes registers only.
            unsafe {
                asm!(
                    // Names the addresses that fewer voxels do not need.
                    "/* {d} {e} {f} */",
                    "2:",
                    $($pair,)+
                    "add {a}, {s}",
                    "add {d}, {s}",
                    "add {e}, {s}",
                    "add {f}, {s}",
                    concat!("add {b}, ", $advance),
                    "dec {n}",
                    "jnz 2b",
                    a = inout(reg) inputs => _,
                    d = inout(reg) third(1) => _,
                    e = inout(reg) third(2) => _,
                    f = inout(reg) third(3) => _,
                    l = in(reg) stride,
                    s = in(reg) step,
                    b = inout(reg) weights => _,
                    n = inout(reg) rounds => _,
                    w = out(zmm_reg) _weights,
                    $($c = inout(zmm_reg) sums[$voxel],)+
                    options(nostack, readonly),
                );
            }
        }
    };
}

/// Rounds of eight pairs: sixteen channels.
pub(crate) mod by_eight {
    kernels!(("0", "0"), ("4", "64"), ("8", "128"), ("12", "192"), ("16", "256"), ("20", "320"),
        ("24", "384"), ("28", "448"); "512");
}
