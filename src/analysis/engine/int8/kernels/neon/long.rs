//! The sums of a row of voxels by `smlal`, a few voxels at a time, finished while they are in registers.
//!
//! Four voxels leave room for their inputs and for weights, so the compiler need not spill.

use std::arch::aarch64::{
    int16x8_t, vdupq_n_s32, vget_low_s16, vld1q_dup_s16, vld1q_s16, vmlal_high_laneq_s16,
    vmlal_laneq_s16,
};

use super::super::super::layout::BLOCK;
use super::super::path::{Channels, Segment, To};
use super::finish::Constants;
use super::{Neon, Registers};

/// Inputs of a voxel that are loaded together.
const ROUND: usize = 8;

/// See [`Path::row`](super::super::path::Path::row).
#[target_feature(enable = "neon")]
pub(super) unsafe fn row(segments: &[Segment<Neon>], width: usize, at: Channels, to: To) {
    // SAFETY: by the caller's word.
    unsafe {
        let constants = Constants::load(at);
        let mut x = 0;
        while x < width {
            x += match width - x {
                1 | 2 => two(segments, (x, width), &constants, to),
                _ => four(segments, (x, width), &constants, to),
            };
        }
    }
}

/// The voxels are spelt out: sums that a loop reaches by their place do not stay in registers.
macro_rules! tile {
    ($name:ident, $multiply:ident, $voxels:literal: $($voxel:literal)+) => {
        /// Returns the voxels done, which may reach beyond the row.
        #[inline]
        #[target_feature(enable = "neon")]
        unsafe fn $name(
            segments: &[Segment<Neon>],
            (x, width): (usize, usize),
            constants: &Constants,
            to: To,
        ) -> usize {
            let mut sums: Registers<$voxels> = [[vdupq_n_s32(0); 4]; $voxels];
            for segment in segments {
                let whole = segment.groups / ROUND * ROUND;
                // SAFETY: a segment has `groups` inputs and weights.
                unsafe {
                    let inputs = segment.inputs.add(x * segment.stride);
                    for at in (0..whole).step_by(ROUND) {
                        let inputs = [$(vld1q_s16(inputs.add($voxel * segment.stride + at))),+];
                        let weights = segment.weights.add(at * BLOCK);
                        $multiply::<0>(&mut sums, &inputs, weights);
                        $multiply::<1>(&mut sums, &inputs, weights);
                        $multiply::<2>(&mut sums, &inputs, weights);
                        $multiply::<3>(&mut sums, &inputs, weights);
                        $multiply::<4>(&mut sums, &inputs, weights);
                        $multiply::<5>(&mut sums, &inputs, weights);
                        $multiply::<6>(&mut sums, &inputs, weights);
                        $multiply::<7>(&mut sums, &inputs, weights);
                    }
                    for at in whole..segment.groups {
                        let inputs = [$(vld1q_dup_s16(inputs.add($voxel * segment.stride + at))),+];
                        $multiply::<0>(&mut sums, &inputs, segment.weights.add(at * BLOCK));
                    }
                }
            }
            $(if x + $voxel < width {
                // SAFETY: by the caller's word.
                unsafe { constants.store(sums[$voxel], x + $voxel, to) };
            })+
            $voxels
        }

        /// Adds to the sums sixteen channels of the products of input `LANE`.
        #[inline]
        #[target_feature(enable = "neon")]
        unsafe fn $multiply<const LANE: i32>(
            sums: &mut Registers<$voxels>,
            inputs: &[int16x8_t; $voxels],
            weights: *const i16,
        ) {
            // SAFETY: by the caller's word there are sixteen weights for each of the inputs.
            let [low, high] = unsafe {
                let weights = weights.add(LANE as usize * BLOCK);
                [vld1q_s16(weights), vld1q_s16(weights.add(BLOCK / 2))]
            };
            $(
                let [a, b, c, d] = sums[$voxel];
                sums[$voxel] = [
                    vmlal_laneq_s16::<LANE>(a, vget_low_s16(low), inputs[$voxel]),
                    vmlal_high_laneq_s16::<LANE>(b, low, inputs[$voxel]),
                    vmlal_laneq_s16::<LANE>(c, vget_low_s16(high), inputs[$voxel]),
                    vmlal_high_laneq_s16::<LANE>(d, high, inputs[$voxel]),
                ];
            )+
        }
    };
}

tile!(two, multiply2, 2: 0 1);
tile!(four, multiply4, 4: 0 1 2 3);
