//! Sums of a few voxels for one or two blocks of sixteen channels, in registers.
//!
//! Per group of four inputs: a register of weights for each block, one broadcast of the group per voxel,
//! and one `vpdpbusd` per voxel and block. The operand that instruction can broadcast itself is the
//! signed one, so inputs are broadcast by a load, which two blocks share. Written as assembly because the
//! compiler spills accumulators and computes row addresses anew.

use std::arch::asm;
use std::arch::x86_64::{__m512i, _mm512_setzero_si512};
use std::mem::offset_of;

use super::super::path::Segment;
use super::Avx512;

/// Sums of `V` voxels, for `B` blocks.
pub(super) type Sums<const V: usize, const B: usize> = [[__m512i; V]; B];

/// One group, whose inputs lie `$at` bytes further and its weights `$weights`. A voxel is named by its
/// address and its sums.
macro_rules! group {
    ($at:literal, $weights:literal, $(($row:literal $c:ident))+) => {
        concat!(
            "vmovdqa64 {w}, [{b}+", $weights, "]\n",
            $(
                "vpbroadcastd {v}, dword ptr [", $row, "+", $at, "]\n",
                "vpdpbusd {", stringify!($c), "}, {v}, {w}\n",
            )+
        )
    };
    ($at:literal, $weights:literal, $(($row:literal $c:ident $k:ident))+) => {
        concat!(
            "vmovdqa64 {w}, [{b}+", $weights, "]\n",
            "vmovdqa64 {u}, [{b}+{q}+", $weights, "]\n",
            $(
                "vpbroadcastd {v}, dword ptr [", $row, "+", $at, "]\n",
                "vpdpbusd {", stringify!($c), "}, {v}, {w}\n",
                "vpdpbusd {", stringify!($k), "}, {v}, {u}\n",
            )+
        )
    };
}

/// Adds the products of one segment after the other: rounds of four groups, then of one.
macro_rules! kernel {
    ($name:ident, $blocks:literal, $voxels:literal, $(($row:literal $($c:ident)+))+; $($sum:ident $block:literal $voxel:literal),+) => {
        /// The sums of the voxels from `x` on. The weights of two blocks lie `apart` bytes from each other,
        /// aligned to 64.
        ///
        /// # Safety
        /// The segments hold what they say for all of these voxels; there is one at least.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        pub(crate) unsafe fn $name(
            segments: &[Segment<Avx512>],
            x: usize,
            apart: usize,
        ) -> Sums<$voxels, $blocks> {
            let mut sums = [[_mm512_setzero_si512(); $voxels]; $blocks];
            // Named, because the type says which registers there are.
            let (_w, _u, _v): (__m512i, __m512i, __m512i);
            // SAFETY: reads what the caller says is there, writes registers only.
            unsafe {
                asm!(
                    "2:",
                    "mov {l}, [{g}+{STRIDE}]",
                    "mov {a}, {x}",
                    "imul {a}, {l}",
                    "add {a}, [{g}+{INPUTS}]",
                    "lea {d}, [{l}+2*{l}]",
                    "lea {e}, [{a}+2*{d}]",
                    "lea {f}, [{e}+{d}]",
                    "add {d}, {a}",
                    "mov {b}, [{g}+{WEIGHTS}]",
                    "mov {n}, [{g}+{GROUPS}]",
                    "sub {n}, 4",
                    "jb 4f",
                    "3:",
                    group!("0", "0", $(($row $($c)+))+),
                    group!("4", "64", $(($row $($c)+))+),
                    group!("8", "128", $(($row $($c)+))+),
                    group!("12", "192", $(($row $($c)+))+),
                    "add {a}, 16",
                    "add {d}, 16",
                    "add {e}, 16",
                    "add {f}, 16",
                    "add {b}, 256",
                    "sub {n}, 4",
                    "jae 3b",
                    "4:",
                    "add {n}, 4",
                    "jz 6f",
                    "5:",
                    group!("0", "0", $(($row $($c)+))+),
                    "add {a}, 4",
                    "add {d}, 4",
                    "add {e}, 4",
                    "add {f}, 4",
                    "add {b}, 64",
                    "dec {n}",
                    "jnz 5b",
                    "6:",
                    "add {g}, {SEGMENT}",
                    "cmp {g}, {end}",
                    // Names what one block does not need.
                    "jb 2b /* {q} {u} */",
                    g = inout(reg) segments.as_ptr() => _,
                    end = in(reg) segments.as_ptr_range().end,
                    x = in(reg) x,
                    q = in(reg) apart,
                    a = out(reg) _,
                    b = out(reg) _,
                    d = out(reg) _,
                    e = out(reg) _,
                    f = out(reg) _,
                    l = out(reg) _,
                    n = out(reg) _,
                    w = out(zmm_reg) _w,
                    u = out(zmm_reg) _u,
                    v = out(zmm_reg) _v,
                    $($sum = inout(zmm_reg) sums[$block][$voxel],)+
                    STRIDE = const offset_of!(Segment<Avx512>, stride),
                    INPUTS = const offset_of!(Segment<Avx512>, inputs),
                    WEIGHTS = const offset_of!(Segment<Avx512>, weights),
                    GROUPS = const offset_of!(Segment<Avx512>, groups),
                    SEGMENT = const size_of::<Segment<Avx512>>(),
                    options(nostack, readonly),
                );
            }
            sums
        }
    };
}

macro_rules! kernels {
    ($name:ident $voxels:literal: $($voxel:literal $row:literal $c:ident $k:ident),+) => {
        pub(super) mod $name {
            use super::{Avx512, Segment, Sums, __m512i, _mm512_setzero_si512, asm, offset_of};

            kernel!(one, 1, $voxels, $(($row $c))+; $($c 0 $voxel),+);
            kernel!(two, 2, $voxels, $(($row $c $k))+; $($c 0 $voxel, $k 1 $voxel),+);
        }
    };
}

kernels!(one 1: 0 "{a}" c0 k0);
kernels!(two 2: 0 "{a}" c0 k0, 1 "{a}+{l}" c1 k1);
kernels!(four 4: 0 "{a}" c0 k0, 1 "{a}+{l}" c1 k1, 2 "{a}+2*{l}" c2 k2, 3 "{d}" c3 k3);
kernels!(six 6: 0 "{a}" c0 k0, 1 "{a}+{l}" c1 k1, 2 "{a}+2*{l}" c2 k2,
    3 "{d}" c3 k3, 4 "{d}+{l}" c4 k4, 5 "{d}+2*{l}" c5 k5);
kernels!(eight 8: 0 "{a}" c0 k0, 1 "{a}+{l}" c1 k1, 2 "{a}+2*{l}" c2 k2,
    3 "{d}" c3 k3, 4 "{d}+{l}" c4 k4, 5 "{d}+2*{l}" c5 k5,
    6 "{e}" c6 k6, 7 "{e}+{l}" c7 k7);
kernels!(twelve 12: 0 "{a}" c0 k0, 1 "{a}+{l}" c1 k1, 2 "{a}+2*{l}" c2 k2,
    3 "{d}" c3 k3, 4 "{d}+{l}" c4 k4, 5 "{d}+2*{l}" c5 k5,
    6 "{e}" c6 k6, 7 "{e}+{l}" c7 k7, 8 "{e}+2*{l}" c8 k8,
    9 "{f}" c9 k9, 10 "{f}+{l}" c10 k10, 11 "{f}+2*{l}" c11 k11);
