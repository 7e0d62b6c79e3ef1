//! Sums to values, in the f32 operations that `program` prescribes.

use std::arch::aarch64::{
    float32x4_t, int16x8_t, int32x4_t, vaddq_f32, vaddq_s32, vbslq_f32, vcltzq_s32, vcombine_s16,
    vcombine_u8, vcvtnq_s32_f32, vcvtq_f32_s32, vdivq_f32, vdupq_n_f32, vdupq_n_s16, vget_high_s16,
    vget_high_u8, vget_low_s16, vget_low_u8, vld1q_f32, vld1q_s16, vld1q_s32, vld1q_u8,
    vminnmq_f32, vmovl_s16, vmovl_u8, vmulq_f32, vqaddq_s16, vqmovn_s32, vqmovun_s16,
    vreinterpretq_s16_u16, vreinterpretq_s32_f32, vst1_u8, vst1q_f32, vst1q_s16, vst1q_u8,
    vsubq_s16,
};

use super::super::super::layout::BLOCK;
use super::super::super::program::{Quant, STAGED_MAX, quantised};
use super::super::path::{Channels, Operand, Stored, To, voxel_by_voxel};

/// Channels that fit in one register.
const LANES: usize = 4;

/// Sixteen numbers.
type Values = [float32x4_t; 4];

/// Constants of sixteen channels.
#[derive(Clone, Copy)]
pub(super) struct Constants {
    correction: [int32x4_t; 4],
    scale: Values,
    bias: Values,
    slope: Values,
}

impl Constants {
    /// # Safety
    /// The pointers hold sixteen numbers each.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn load(at: Channels) -> Self {
        // SAFETY: by the caller's word.
        unsafe {
            Self {
                correction: [0, 1, 2, 3].map(|part| vld1q_s32(at.correction.add(LANES * part))),
                scale: load(at.scale),
                bias: load(at.bias),
                slope: load(at.slope),
            }
        }
    }

    /// Affine values of one voxel.
    #[inline]
    #[target_feature(enable = "neon")]
    fn affine(&self, sums: [int32x4_t; 4]) -> Values {
        [0, 1, 2, 3].map(|part| {
            let sum = vcvtq_f32_s32(vaddq_s32(sums[part], self.correction[part]));
            let value = vaddq_f32(vmulq_f32(sum, self.scale[part]), self.bias[part]);
            activated(value, self.slope[part])
        })
    }

    /// Stores one voxel.
    ///
    /// # Safety
    /// The row has this voxel.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn store(&self, sums: [int32x4_t; 4], voxel: usize, to: To) {
        let values = self.affine(sums);
        // SAFETY: by the caller's word.
        unsafe {
            match to {
                To::U8 { first, stride, zero } => {
                    requantise(values, zero, first.add(voxel * stride));
                }
                To::I16 { first, stride } => {
                    let to = first.add(voxel * stride);
                    let [low, high] = rounded(values);
                    vst1q_s16(to, low);
                    vst1q_s16(to.add(2 * LANES), high);
                }
                To::F32 { first, step, plane, count } => {
                    let mut lanes = [0.0f32; BLOCK];
                    for (lanes, part) in lanes.chunks_exact_mut(LANES).zip(values) {
                        vst1q_f32(lanes.as_mut_ptr(), part);
                    }
                    for (channel, value) in lanes.into_iter().take(count).enumerate() {
                        first.add(channel * plane + voxel * step).write(value);
                    }
                }
            }
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
unsafe fn load(from: *const f32) -> Values {
    // SAFETY: the callers' pointers hold sixteen numbers.
    [0, 1, 2, 3].map(|part| unsafe { vld1q_f32(from.add(LANES * part)) })
}

/// `slope · v` where v has a minus sign, else v.
#[inline]
#[target_feature(enable = "neon")]
fn activated(value: float32x4_t, slope: float32x4_t) -> float32x4_t {
    let negative = vcltzq_s32(vreinterpretq_s32_f32(value));
    vbslq_f32(negative, vmulq_f32(value, slope), value)
}

/// Rounds half to even. What exceeds i16 below turns into its least value by itself; above, so would
/// it, but what is no number must become the largest.
#[inline]
#[target_feature(enable = "neon")]
fn rounded(values: Values) -> [int16x8_t; 2] {
    let most = vdupq_n_f32(STAGED_MAX);
    let [a, b, c, d] = values.map(|part| vqmovn_s32(vcvtnq_s32_f32(vminnmq_f32(part, most))));
    [vcombine_s16(a, b), vcombine_s16(c, d)]
}

/// Sixteen requantised values of one voxel.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn requantise(values: Values, zero: u8, to: *mut u8) {
    let zero = vdupq_n_s16(i16::from(zero));
    let [low, high] = rounded(values).map(|part| vqmovun_s16(vqaddq_s16(part, zero)));
    // SAFETY: by the caller's word there are sixteen bytes.
    unsafe { vst1q_u8(to, vcombine_u8(low, high)) }
}

/// See [`Path::combine`](super::super::path::Path::combine).
#[target_feature(enable = "neon")]
pub(super) unsafe fn combine(
    terms: &[Operand],
    slope: *const f32,
    zero: u8,
    row: (*mut u8, usize, usize),
) {
    // SAFETY: by the caller's word.
    unsafe { voxel_by_voxel(terms, row, |terms, to| combine_one(terms, slope, zero, to)) }
}

/// One voxel of it.
#[target_feature(enable = "neon")]
unsafe fn combine_one(terms: &[Operand], slope: *const f32, zero: u8, to: *mut u8) {
    // SAFETY: by the caller's word.
    unsafe {
        let mut total = operand(&terms[0]);
        for term in &terms[1..] {
            let more = operand(term);
            total = [0, 1, 2, 3].map(|part| vaddq_f32(total[part], more[part]));
        }
        let slope = load(slope);
        requantise([0, 1, 2, 3].map(|part| activated(total[part], slope[part])), zero, to);
    }
}

#[inline]
#[target_feature(enable = "neon")]
unsafe fn operand(term: &Operand) -> Values {
    // SAFETY: by the caller's word.
    unsafe {
        let [low, high] = match term.values {
            Stored::U8(from, zero) => {
                let (bytes, zero) = (vld1q_u8(from), vdupq_n_s16(i16::from(zero)));
                [vget_low_u8(bytes), vget_high_u8(bytes)]
                    .map(|half| vsubq_s16(vreinterpretq_s16_u16(vmovl_u8(half)), zero))
            }
            Stored::I16(from) => [vld1q_s16(from), vld1q_s16(from.add(2 * LANES))],
        };
        let whole =
            [vget_low_s16(low), vget_high_s16(low), vget_low_s16(high), vget_high_s16(high)];
        let (scale, bias) = (load(term.scale), load(term.bias));
        [0, 1, 2, 3].map(|part| {
            let value = vcvtq_f32_s32(vmovl_s16(whole[part]));
            vaddq_f32(vmulq_f32(value, scale[part]), bias[part])
        })
    }
}

/// See [`Path::quantise`](super::super::path::Path::quantise).
#[target_feature(enable = "neon")]
pub(super) unsafe fn quantise(from: *const f32, count: usize, quant: Quant, to: *mut u8) {
    let whole = count / 8 * 8;
    let (scale, zero) = (vdupq_n_f32(quant.scale), vdupq_n_s16(i16::from(quant.zero_point)));
    for at in (0..whole).step_by(8) {
        // SAFETY: eight numbers in, eight bytes out.
        unsafe {
            let [low, high] =
                [0, LANES].map(|half| vdivq_f32(vld1q_f32(from.add(at + half)), scale));
            let [values, _] = rounded([low, high, low, high]);
            vst1_u8(to.add(at), vqmovun_s16(vqaddq_s16(values, zero)));
        }
    }
    for at in whole..count {
        // SAFETY: the rest of them.
        unsafe { to.add(at).write(quantised(from.add(at).read(), quant)) };
    }
}
