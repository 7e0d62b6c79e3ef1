//! Rows of inputs times sixteen channels of weights, in registers.
//!
//! Per pair of inputs: two registers of weights, one broadcast per voxel, two `vpmaddwd` and two
//! `vpaddd`. Written as assembly because the compiler spills accumulators and computes row addresses anew.

use std::arch::asm;

use super::Registers;

/// One voxel of one pair: `$row` is its address, `$at` the pair's offset in bytes.
macro_rules! voxel {
    ($row:literal, $at:literal, $low:literal, $high:literal) => {
        concat!(
            "vpbroadcastd {v}, [",
            $row,
            "+",
            $at,
            "]\n",
            "vpmaddwd {t}, {v}, {w0}\n",
            "vpmaddwd {v}, {v}, {w1}\n",
            "vpaddd {",
            $low,
            "}, {",
            $low,
            "}, {t}\n",
            "vpaddd {",
            $high,
            "}, {",
            $high,
            "}, {v}\n",
        )
    };
}

/// One pair: its weights lie `$weights` and 32 bytes further.
macro_rules! weights {
    ($weights:literal) => {
        concat!("vmovdqa {w0}, [{b}+", $weights, "]\nvmovdqa {w1}, [{b}+", $weights, "+32]\n")
    };
}

macro_rules! pair2 {
    ($at:literal, $weights:literal) => {
        concat!(
            weights!($weights),
            voxel!("{a}", $at, "c0", "c1"),
            voxel!("{a}+{l}", $at, "c2", "c3"),
        )
    };
}

macro_rules! pair4 {
    ($at:literal, $weights:literal) => {
        concat!(
            pair2!($at, $weights),
            voxel!("{a}+2*{l}", $at, "c4", "c5"),
            voxel!("{d}", $at, "c6", "c7"),
        )
    };
}

macro_rules! pair6 {
    ($at:literal, $weights:literal) => {
        concat!(
            pair4!($at, $weights),
            voxel!("{d}+{l}", $at, "c8", "c9"),
            voxel!("{d}+2*{l}", $at, "c10", "c11"),
        )
    };
}

/// The kernels for 2, 4 and 6 voxels; a round of the loop takes the pairs given.
macro_rules! kernels {
    ($(($at:literal, $weights:literal)),+; $advance:literal) => {
        use super::{Registers, asm};

        kernel!(multiply2, 2, $advance, [$(pair2!($at, $weights)),+], []
            [c0 0 0, c1 0 1, c2 1 0, c3 1 1]);
        kernel!(multiply4, 4, $advance, [$(pair4!($at, $weights)),+], [d]
            [c0 0 0, c1 0 1, c2 1 0, c3 1 1, c4 2 0, c5 2 1, c6 3 0, c7 3 1]);
        kernel!(multiply6, 6, $advance, [$(pair6!($at, $weights)),+], [d]
            [c0 0 0, c1 0 1, c2 1 0, c3 1 1, c4 2 0, c5 2 1, c6 3 0, c7 3 1,
             c8 4 0, c9 4 1, c10 5 0, c11 5 1]);
    };
}

macro_rules! kernel {
    ($name:ident, $voxels:literal, $advance:literal, [$($pair:expr),+], [$($d:ident)?]
     [$($c:ident $voxel:literal $half:literal),+]) => {
        /// Adds `rounds` rounds of products to the sums. `stride` bytes lie between voxels, `step` bytes
        /// between rounds; weights lie one round behind the other, aligned to 32.
        ///
        /// # Safety
        /// All of it is there to be read.
        #[inline]
        #[target_feature(enable = "avx2")]
        pub(crate) unsafe fn $name(
            sums: &mut Registers<$voxels>,
            (inputs, weights): (*const i16, *const i16),
            (stride, step): (usize, usize),
            rounds: usize,
        ) {
            let fourth = inputs.wrapping_byte_add(3 * stride);
            // SAFETY: reads what the caller says is there, writes registers only.
            unsafe {
                asm!(
                    "2:",
                    $($pair,)+
                    "add {a}, {s}",
                    "add {d}, {s}",
                    concat!("add {b}, ", $advance),
                    "dec {n}",
                    "jnz 2b",
                    a = inout(reg) inputs => _,
                    d = inout(reg) fourth => _,
                    l = in(reg) stride,
                    s = in(reg) step,
                    b = inout(reg) weights => _,
                    n = inout(reg) rounds => _,
                    w0 = out(ymm_reg) _,
                    w1 = out(ymm_reg) _,
                    v = out(ymm_reg) _,
                    t = out(ymm_reg) _,
                    $($c = inout(ymm_reg) sums[$voxel][$half],)+
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

/// Rounds of one pair.
pub(crate) mod by_one {
    kernels!(("0", "0"); "64");
}
