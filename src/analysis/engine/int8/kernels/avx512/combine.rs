//! Sums of a row's values, four voxels at a time.

use std::arch::x86_64::{
    __m512, __m512i, _mm_loadu_si128, _mm256_loadu_si256, _mm512_add_ps, _mm512_castps_si512,
    _mm512_cvtepi16_epi32, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_cvtps_epi32,
    _mm512_loadu_ps, _mm512_mask_mul_ps, _mm512_min_ps, _mm512_movepi32_mask, _mm512_mul_ps,
    _mm512_set1_epi16, _mm512_set1_epi32, _mm512_set1_ps, _mm512_sub_epi32,
};

use super::super::super::program::STAGED_MAX;
use super::super::avx2;
use super::super::path::{Operand, Stored};
use super::finish::four_packed;
use super::row::store_four;

/// Voxels that are packed together.
const FOUR: usize = 4;

/// See [`Path::combine`](super::super::path::Path::combine).
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) unsafe fn combine(
    terms: &[Operand],
    slope: *const f32,
    zero: u8,
    row: (*mut u8, usize, usize),
) {
    // SAFETY: by the caller's word.
    unsafe {
        match terms {
            [only] => sums([Term::load(only)], slope, zero, row),
            [first, second, ..] => sums([Term::load(first), Term::load(second)], slope, zero, row),
            [] => {}
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn sums<const TERMS: usize>(
    terms: [Term; TERMS],
    slope: *const f32,
    zero: u8,
    (to, stride, count): (*mut u8, usize, usize),
) {
    let fours = count / FOUR * FOUR;
    // SAFETY: by the caller's word.
    unsafe {
        let (slopes, zeros) = (_mm512_loadu_ps(slope), _mm512_set1_epi16(i16::from(zero)));
        for first in (0..fours).step_by(FOUR) {
            let mut whole = [zeros; FOUR];
            for (voxel, whole) in (first..).zip(&mut whole) {
                *whole = rounded(&terms, voxel, slopes);
            }
            store_four(four_packed(whole, zeros), to.add(first * stride), stride);
        }
        if fours < count {
            let rest = terms.map(|term| term.operand.after(fours));
            let row = (to.add(fours * stride), stride, count - fours);
            avx2::finish::combine(&rest, slope, zero, row);
        }
    }
}

/// The sum at a voxel, activated and rounded half to even.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn rounded<const TERMS: usize>(
    terms: &[Term; TERMS],
    voxel: usize,
    slope: __m512,
) -> __m512i {
    // SAFETY: by the caller's word.
    let mut total = unsafe { terms[0].scaled(voxel) };
    for term in &terms[1..] {
        // SAFETY: by the caller's word.
        total = _mm512_add_ps(total, unsafe { term.scaled(voxel) });
    }
    let negative = _mm512_movepi32_mask(_mm512_castps_si512(total));
    let total = _mm512_mask_mul_ps(total, negative, total, slope);
    _mm512_cvtps_epi32(_mm512_min_ps(total, _mm512_set1_ps(STAGED_MAX)))
}

/// A summand with its constants in registers.
#[derive(Clone, Copy)]
struct Term {
    operand: Operand,
    scale: __m512,
    bias: __m512,
}

impl Term {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn load(operand: &Operand) -> Self {
        // SAFETY: by the caller's word.
        let [scale, bias] =
            [operand.scale, operand.bias].map(|from| unsafe { _mm512_loadu_ps(from) });
        Self { operand: *operand, scale, bias }
    }

    /// Of voxel `voxel`, scaled.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn scaled(&self, voxel: usize) -> __m512 {
        // SAFETY: by the caller's word.
        let whole = unsafe {
            match self.operand.after(voxel).values {
                Stored::U8(from, zero) => {
                    let values = _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()));
                    _mm512_sub_epi32(values, _mm512_set1_epi32(i32::from(zero)))
                }
                Stored::I16(from) => _mm512_cvtepi16_epi32(_mm256_loadu_si256(from.cast())),
            }
        };
        _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(whole), self.scale), self.bias)
    }
}
