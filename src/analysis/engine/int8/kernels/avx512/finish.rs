//! Sums to values, in the f32 operations that `program` prescribes.

use std::arch::x86_64::{
    __m128i, __m256i, __m512, __m512i, _mm512_add_epi32, _mm512_add_ps, _mm512_adds_epi16,
    _mm512_castps_si512, _mm512_cvtepi32_ps, _mm512_cvtps_epi32, _mm512_cvtsepi32_epi16,
    _mm512_cvtusepi32_epi8, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_mul_ps,
    _mm512_max_epi32, _mm512_max_ps, _mm512_min_ps, _mm512_movepi32_mask, _mm512_mul_ps,
    _mm512_packs_epi32, _mm512_packus_epi16, _mm512_permutexvar_epi32, _mm512_permutexvar_epi64,
    _mm512_set1_epi16, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setr_epi32, _mm512_setr_epi64,
    _mm512_setzero_si512,
};

use super::super::super::program::STAGED_MAX;
use super::super::path::Channels;

/// Constants of sixteen channels in registers.
#[derive(Clone, Copy)]
pub(crate) struct Constants {
    correction: __m512i,
    scale: __m512,
    bias: __m512,
    slope: __m512,
    /// The zero point, in 32 bits.
    zero: __m512i,
    /// The zero point, in 16 bits.
    zeros: __m512i,
}

impl Constants {
    /// # Safety
    /// The pointers hold sixteen numbers each.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(crate) unsafe fn load(at: Channels, zero: u8) -> Self {
        // SAFETY: by the caller's word.
        unsafe {
            Self {
                correction: _mm512_loadu_si512(at.correction.cast()),
                scale: _mm512_loadu_ps(at.scale),
                bias: _mm512_loadu_ps(at.bias),
                slope: _mm512_loadu_ps(at.slope),
                zero: _mm512_set1_epi32(i32::from(zero)),
                zeros: _mm512_set1_epi16(i16::from(zero)),
            }
        }
    }

    /// The affine values.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(crate) fn affine(&self, sums: __m512i) -> __m512 {
        let sums = _mm512_cvtepi32_ps(_mm512_add_epi32(sums, self.correction));
        let value = _mm512_add_ps(_mm512_mul_ps(sums, self.scale), self.bias);
        let negative = _mm512_movepi32_mask(_mm512_castps_si512(value));
        _mm512_mask_mul_ps(value, negative, value, self.slope)
    }

    /// The affine values, rounded half to even.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn rounded(&self, sums: __m512i) -> __m512i {
        _mm512_cvtps_epi32(_mm512_min_ps(self.affine(sums), _mm512_set1_ps(STAGED_MAX)))
    }

    /// As [`Self::rounded`], of values that are [`tame`](super::super::winograd).
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn tame(&self, sums: __m512i) -> __m512i {
        let sums = _mm512_cvtepi32_ps(_mm512_add_epi32(sums, self.correction));
        let value = _mm512_add_ps(_mm512_mul_ps(sums, self.scale), self.bias);
        _mm512_cvtps_epi32(_mm512_max_ps(value, _mm512_mul_ps(value, self.slope)))
    }

    /// Sixteen channels of four voxels, requantised, one voxel behind the other; `TAME` as in
    /// [`Self::tame`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(crate) fn four_to_u8<const TAME: bool>(&self, sums: [__m512i; 4]) -> __m512i {
        let whole = sums.map(|sums| if TAME { self.tame(sums) } else { self.rounded(sums) });
        four_packed(whole, self.zeros)
    }

    /// Sixteen staged values of two voxels, one voxel behind the other.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(crate) fn two_to_i16(&self, [a, b]: [__m512i; 2]) -> __m512i {
        let order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
        let whole = _mm512_packs_epi32(self.fitting(a), self.fitting(b));
        _mm512_permutexvar_epi64(order, whole)
    }

    /// A staged value, which fits in 16 bits.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn fitting(&self, sums: __m512i) -> __m512i {
        let sums = _mm512_cvtepi32_ps(_mm512_add_epi32(sums, self.correction));
        _mm512_cvtps_epi32(_mm512_mul_ps(sums, self.scale))
    }

    /// Sixteen channels of one voxel, requantised.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(crate) fn to_u8(self, sums: __m512i) -> __m128i {
        let value = _mm512_add_epi32(self.rounded(sums), self.zero);
        _mm512_cvtusepi32_epi8(_mm512_max_epi32(value, _mm512_setzero_si512()))
    }

    /// Sixteen staged values of one voxel.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(crate) fn to_i16(self, sums: __m512i) -> __m256i {
        _mm512_cvtsepi32_epi16(self.rounded(sums))
    }
}

/// Whole numbers of sixteen channels of four voxels and a zero point, sixteen bits each, to u8, one voxel
/// behind the other.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) fn four_packed([a, b, c, d]: [__m512i; 4], zeros: __m512i) -> __m512i {
    let first = _mm512_adds_epi16(_mm512_packs_epi32(a, b), zeros);
    let second = _mm512_adds_epi16(_mm512_packs_epi32(c, d), zeros);
    // Each quarter holds four channels of all four voxels.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_permutexvar_epi32(order, _mm512_packus_epi16(first, second))
}
