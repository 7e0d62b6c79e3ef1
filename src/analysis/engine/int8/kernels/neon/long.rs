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
                1 | 2 => tile::<2>(segments, (x, width), &constants, to),
                _ => tile::<4>(segments, (x, width), &constants, to),
            };
        }
    }
}

/// Returns the voxels done, which may reach beyond the row.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn tile<const N: usize>(
    segments: &[Segment<Neon>],
    (x, width): (usize, usize),
    constants: &Constants,
    to: To,
) -> usize {
    let mut sums: Registers<N> = [[vdupq_n_s32(0); 4]; N];
    for segment in segments {
        let whole = segment.groups / ROUND * ROUND;
        // SAFETY: a segment has `groups` inputs and weights.
        unsafe {
            let inputs = |voxel: usize, at: usize| segment.inputs.add((x + voxel) * segment.stride + at);
            for at in (0..whole).step_by(ROUND) {
                let inputs = std::array::from_fn(|voxel| vld1q_s16(inputs(voxel, at)));
                let weights = segment.weights.add(at * BLOCK);
                multiply::<0, N>(&mut sums, &inputs, weights);
                multiply::<1, N>(&mut sums, &inputs, weights);
                multiply::<2, N>(&mut sums, &inputs, weights);
                multiply::<3, N>(&mut sums, &inputs, weights);
                multiply::<4, N>(&mut sums, &inputs, weights);
                multiply::<5, N>(&mut sums, &inputs, weights);
                multiply::<6, N>(&mut sums, &inputs, weights);
                multiply::<7, N>(&mut sums, &inputs, weights);
            }
            for at in whole..segment.groups {
                let inputs = std::array::from_fn(|voxel| vld1q_dup_s16(inputs(voxel, at)));
                multiply::<0, N>(&mut sums, &inputs, segment.weights.add(at * BLOCK));
            }
        }
    }
    // SAFETY: by the caller's word.
    unsafe { constants.store(&sums, (x, width), to) };
    N
}

/// Adds to the sums sixteen channels of the products of input `LANE`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn multiply<const LANE: i32, const N: usize>(
    sums: &mut Registers<N>,
    inputs: &[int16x8_t; N],
    weights: *const i16,
) {
    // SAFETY: by the caller's word there are sixteen weights for each of the inputs.
    let [low, high] = unsafe {
        let weights = weights.add(LANE as usize * BLOCK);
        [vld1q_s16(weights), vld1q_s16(weights.add(BLOCK / 2))]
    };
    for ([a, b, c, d], &inputs) in sums.iter_mut().zip(inputs) {
        *a = vmlal_laneq_s16::<LANE>(*a, vget_low_s16(low), inputs);
        *b = vmlal_high_laneq_s16::<LANE>(*b, low, inputs);
        *c = vmlal_laneq_s16::<LANE>(*c, vget_low_s16(high), inputs);
        *d = vmlal_high_laneq_s16::<LANE>(*d, high, inputs);
    }
}
