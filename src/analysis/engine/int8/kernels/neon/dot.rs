//! The sums of a row of voxels by `sdot`, a few voxels at a time, finished while they are in registers.
//!
//! Per four groups of inputs: one load per voxel, sixteen of weights, and sixteen `sdot` per voxel, each of
//! which multiplies four channels' weights by one group. Written as assembly because the compiler has no
//! name for the instruction yet, and spills accumulators: six voxels take all 32 registers.

use std::arch::aarch64::vdupq_n_s32;
use std::arch::asm;

use super::super::super::layout::BLOCK;
use super::super::path::{Channels, Path, Segment, To};
use super::finish::Constants;
use super::{NeonDot, Registers};

/// Groups that one load of inputs holds.
const ROUND: usize = 4;
/// Inputs of a group.
const GROUP: usize = NeonDot::GROUP;

/// See [`Path::row`].
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn row(segments: &[Segment<NeonDot>], width: usize, at: Channels, to: To) {
    // SAFETY: by the caller's word.
    unsafe {
        let constants = Constants::load(at);
        let mut x = 0;
        while x < width {
            x += match width - x {
                1 | 2 => two(segments, (x, width), &constants, to),
                3 | 4 | 8 => four(segments, (x, width), &constants, to),
                _ => six(segments, (x, width), &constants, to),
            };
        }
    }
}

/// The voxels are spelt out: sums that a loop reaches by their place do not stay in registers.
macro_rules! tile {
    ($name:ident, $voxels:literal: $($voxel:literal)+) => {
        /// Returns the voxels done, which may reach beyond the row.
        #[inline]
        #[target_feature(enable = "neon,dotprod")]
        unsafe fn $name(
            segments: &[Segment<NeonDot>],
            (x, width): (usize, usize),
            constants: &Constants,
            to: To,
        ) -> usize {
            let mut sums: Registers<$voxels> = [[vdupq_n_s32(0); 4]; $voxels];
            for segment in segments {
                let (whole, rest) = (segment.groups / ROUND, segment.groups % ROUND);
                // SAFETY: a segment has `groups` groups of inputs and weights.
                unsafe {
                    let inputs = segment.inputs.add(x * segment.stride);
                    if whole > 0 {
                        by_four::$name(&mut sums, (inputs, segment.weights), segment.stride, whole);
                    }
                    if rest > 0 {
                        let done = whole * ROUND * GROUP;
                        let at = (inputs.add(done), segment.weights.add(done * BLOCK));
                        by_one::$name(&mut sums, at, segment.stride, rest);
                    }
                }
            }
            $(if x + $voxel < width {
                // SAFETY: by the caller's word.
                unsafe { constants.store(sums[$voxel], x + $voxel, to) };
            })+
            $voxels
        }
    };
}

tile!(two, 2: 0 1);
tile!(four, 4: 0 1 2 3);
tile!(six, 6: 0 1 2 3 4 5);

/// One group: sixteen channels of every voxel, named by its inputs and its four sums. The weights lie
/// `$at` bytes further and are loaded while those before them are multiplied.
macro_rules! group {
    ($lane:literal, $at:literal, $(($v:ident $a:ident $b:ident $c:ident $d:ident))+) => {
        concat!(
            "ldr {w0:q}, [{w}, #", $at, "]\n",
            "ldr {w1:q}, [{w}, #", $at, "+16]\n",
            $(product!($a, "{w0:v}", $v, $lane),)+
            "ldr {w0:q}, [{w}, #", $at, "+32]\n",
            $(product!($b, "{w1:v}", $v, $lane),)+
            "ldr {w1:q}, [{w}, #", $at, "+48]\n",
            $(product!($c, "{w0:v}", $v, $lane),)+
            $(product!($d, "{w1:v}", $v, $lane),)+
        )
    };
}

/// Four channels of one voxel: adds to `$sum` the weights times group `$lane` of the inputs.
macro_rules! product {
    ($sum:ident, $weights:literal, $inputs:ident, $lane:literal) => {
        concat!(
            "sdot {",
            stringify!($sum),
            ":v}.4s, ",
            $weights,
            ".16b, {",
            stringify!($inputs),
            ":v}.4b[",
            $lane,
            "]\n",
        )
    };
}

/// Four groups.
macro_rules! four_groups {
    ($(($p:ident $v:ident $($sum:ident)+))+) => {
        concat!(
            $("ldr {", stringify!($v), ":q}, [{", stringify!($p), "}], #16\n",)+
            group!("0", "0", $(($v $($sum)+))+),
            group!("1", "64", $(($v $($sum)+))+),
            group!("2", "128", $(($v $($sum)+))+),
            group!("3", "192", $(($v $($sum)+))+),
            "add {w}, {w}, #256\n",
        )
    };
}

/// One group.
macro_rules! one_group {
    ($(($p:ident $v:ident $($sum:ident)+))+) => {
        concat!(
            $("ldr {", stringify!($v), ":s}, [{", stringify!($p), "}], #4\n",)+
            group!("0", "0", $(($v $($sum)+))+),
            "add {w}, {w}, #64\n",
        )
    };
}

/// Per voxel: its place, where its inputs lie, what they are loaded into, and its sums.
macro_rules! kernel {
    ($name:ident, $round:ident, $voxels:literal,
     $(($voxel:literal $p:ident $v:ident $a:ident $b:ident $c:ident $d:ident))+) => {
        /// Adds `rounds` rounds of products to the sums. `stride` inputs lie between voxels.
        ///
        /// # Safety
        /// All of it is there to be read.
        #[inline]
        #[target_feature(enable = "neon,dotprod")]
        pub(super) unsafe fn $name(
            sums: &mut Registers<$voxels>,
            (inputs, weights): (*const i8, *const i8),
            stride: usize,
            rounds: usize,
        ) {
            // SAFETY: reads what the caller says is there, writes registers only.
            unsafe {
                asm!(
                    "2:",
                    $round!($(($p $v $a $b $c $d))+),
                    "subs {n}, {n}, #1",
                    "b.ne 2b",
                    w = inout(reg) weights => _,
                    n = inout(reg) rounds => _,
                    w0 = out(vreg) _,
                    w1 = out(vreg) _,
                    $($p = inout(reg) inputs.wrapping_add($voxel * stride) => _,
                    $v = out(vreg) _,
                    $a = inout(vreg) sums[$voxel][0],
                    $b = inout(vreg) sums[$voxel][1],
                    $c = inout(vreg) sums[$voxel][2],
                    $d = inout(vreg) sums[$voxel][3],)+
                    options(nostack, readonly),
                );
            }
        }
    };
}

/// The kernels for 2, 4 and 6 voxels.
macro_rules! kernels {
    ($round:ident) => {
        use super::{Registers, asm};

        kernel!(two, $round, 2, (0 p0 v0 a0 b0 c0 d0) (1 p1 v1 a1 b1 c1 d1));
        kernel!(four, $round, 4, (0 p0 v0 a0 b0 c0 d0) (1 p1 v1 a1 b1 c1 d1)
            (2 p2 v2 a2 b2 c2 d2) (3 p3 v3 a3 b3 c3 d3));
        kernel!(six, $round, 6, (0 p0 v0 a0 b0 c0 d0) (1 p1 v1 a1 b1 c1 d1)
            (2 p2 v2 a2 b2 c2 d2) (3 p3 v3 a3 b3 c3 d3) (4 p4 v4 a4 b4 c4 d4)
            (5 p5 v5 a5 b5 c5 d5));
    };
}

/// Rounds of four groups: sixteen inputs.
mod by_four {
    kernels!(four_groups);
}

/// Rounds of one group.
mod by_one {
    kernels!(one_group);
}
