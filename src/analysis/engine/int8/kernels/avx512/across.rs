//! The sums of a row of voxels in f32: sixteen voxels side by side in one register.
//!
//! Few channels leave the program, each into a plane of its own, so a register holds one channel of sixteen
//! voxels: inputs are turned around, and a channel's weights are what `vpdpbusd` broadcasts.

use std::arch::x86_64::{
    __m128i, __m512, __m512i, _mm_loadu_si128, _mm512_add_epi32, _mm512_add_ps,
    _mm512_castps_si512, _mm512_castsi128_si512, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32,
    _mm512_inserti32x4, _mm512_mask_mul_ps, _mm512_mask_storeu_ps, _mm512_movepi32_mask,
    _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512, _mm512_storeu_ps,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::super::super::layout::BLOCK;
use super::super::path::{Channels, Segment, To};
use super::Avx512;

/// Voxels of a register.
const VOXELS: usize = 16;
/// Groups of a load.
const ROUND: usize = 4;
/// Inputs of a group.
const GROUP: usize = 4;

/// See [`Path::row`](super::super::path::Path::row); for values in f32 whose channels lie apart.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn row(segments: &[Segment<Avx512>], width: usize, at: Channels, to: To) {
    let To::F32 { count, .. } = to else { return };
    for x in (0..width).step_by(VOXELS) {
        // SAFETY: by the caller's word.
        unsafe {
            if count <= 4 {
                tile::<4>(segments, (x, width), at, to);
            } else {
                tile::<16>(segments, (x, width), at, to);
            }
        }
    }
}

/// Sums of sixteen voxels and `C` channels. Beyond the row, its last voxel is read again.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile<const C: usize>(
    segments: &[Segment<Avx512>],
    (x, width): (usize, usize),
    at: Channels,
    to: To,
) {
    let mut sums = [_mm512_setzero_si512(); C];
    for segment in segments {
        for round in (0..segment.groups).step_by(ROUND) {
            // SAFETY: a segment has `groups` groups of inputs and weights.
            unsafe {
                let inputs = segment.inputs.add(round * GROUP);
                let voxel = |voxel: usize| {
                    _mm_loadu_si128(
                        inputs.add((x + voxel).min(width - 1) * segment.stride).cast::<__m128i>(),
                    )
                };
                let inputs = turned(std::array::from_fn(|at| joined(&voxel, at)));
                let weights = segment.weights.add(round * GROUP * BLOCK).cast::<i32>();
                for (group, inputs) in inputs.into_iter().enumerate() {
                    if round + group < segment.groups {
                        for (channel, sum) in sums.iter_mut().enumerate() {
                            let weights = weights.add(group * BLOCK + channel).read();
                            *sum = _mm512_dpbusd_epi32(*sum, inputs, _mm512_set1_epi32(weights));
                        }
                    }
                }
            }
        }
    }
    // SAFETY: by the caller's word.
    unsafe { store(&sums, (x, width), at, to) };
}

/// Voxels `at`, `at` + 4, `at` + 8, `at` + 12.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn joined(voxel: &impl Fn(usize) -> __m128i, at: usize) -> __m512i {
    let joined = _mm512_castsi128_si512(voxel(at));
    let joined = _mm512_inserti32x4::<1>(joined, voxel(at + 4));
    let joined = _mm512_inserti32x4::<2>(joined, voxel(at + 8));
    _mm512_inserti32x4::<3>(joined, voxel(at + 12))
}

/// Rows to columns, in each quarter of the registers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn turned([a, b, c, d]: [__m512i; ROUND]) -> [__m512i; ROUND] {
    let (low, high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (more_low, more_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(low, more_low),
        _mm512_unpackhi_epi64(low, more_low),
        _mm512_unpacklo_epi64(high, more_high),
        _mm512_unpackhi_epi64(high, more_high),
    ]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn store<const C: usize>(
    sums: &[__m512i; C],
    (x, width): (usize, usize),
    at: Channels,
    to: To,
) {
    let To::F32 { first, step, plane, count } = to else { return };
    let voxels = VOXELS.min(width - x);
    for (channel, &sums) in sums.iter().enumerate().take(count) {
        // SAFETY: only voxels of the row are written, and the constants are of sixteen channels.
        unsafe {
            let values = affine(sums, at, channel);
            let to = first.add(channel * plane + x * step);
            if step == 1 {
                _mm512_mask_storeu_ps(to, (0xffff >> (VOXELS - voxels)) as u16, values);
            } else {
                let mut row = [0.0f32; VOXELS];
                _mm512_storeu_ps(row.as_mut_ptr(), values);
                for (voxel, value) in row.into_iter().take(voxels).enumerate() {
                    to.add(voxel * step).write(value);
                }
            }
        }
    }
}

/// Affine values of one channel.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn affine(sums: __m512i, at: Channels, channel: usize) -> __m512 {
    // SAFETY: by the caller's word.
    let (correction, scale, bias, slope) = unsafe {
        (
            _mm512_set1_epi32(at.correction.add(channel).read()),
            _mm512_set1_ps(at.scale.add(channel).read()),
            _mm512_set1_ps(at.bias.add(channel).read()),
            _mm512_set1_ps(at.slope.add(channel).read()),
        )
    };
    let sums = _mm512_cvtepi32_ps(_mm512_add_epi32(sums, correction));
    let value = _mm512_add_ps(_mm512_mul_ps(sums, scale), bias);
    let negative = _mm512_movepi32_mask(_mm512_castps_si512(value));
    _mm512_mask_mul_ps(value, negative, value, slope)
}
