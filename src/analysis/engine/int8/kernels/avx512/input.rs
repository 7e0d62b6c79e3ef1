//! f32 to u8, as `program` prescribes it.

use std::arch::x86_64::{
    _mm512_add_epi32, _mm512_cvtps_epi32, _mm512_div_ps, _mm512_mask_cvtusepi32_storeu_epi8,
    _mm512_maskz_loadu_ps, _mm512_max_epi32, _mm512_min_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_si512,
};

use super::super::super::program::{Quant, STAGED_MAX};

/// Numbers of a register.
const LANES: usize = 16;

/// See [`Path::quantise`](super::super::path::Path::quantise).
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn quantise(from: *const f32, count: usize, quant: Quant, to: *mut u8) {
    let (scale, most) = (_mm512_set1_ps(quant.scale), _mm512_set1_ps(STAGED_MAX));
    let zero = _mm512_set1_epi32(i32::from(quant.zero_point));
    for at in (0..count).step_by(LANES) {
        let there = u16::MAX >> (LANES - LANES.min(count - at));
        // SAFETY: only numbers that are there are read, and as many written.
        unsafe {
            let values = _mm512_div_ps(_mm512_maskz_loadu_ps(there, from.add(at)), scale);
            let values = _mm512_cvtps_epi32(_mm512_min_ps(values, most));
            let values = _mm512_max_epi32(_mm512_add_epi32(values, zero), _mm512_setzero_si512());
            _mm512_mask_cvtusepi32_storeu_epi8(to.add(at).cast(), there, values);
        }
    }
}
