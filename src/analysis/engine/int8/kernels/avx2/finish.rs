//! Sums to values, in the f32 operations that `program` prescribes.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_loadu_si128, _mm_storel_epi64, _mm_storeu_si128,
    _mm_unpacklo_epi32, _mm256_add_epi32, _mm256_add_ps, _mm256_adds_epi16, _mm256_blendv_ps,
    _mm256_castsi256_si128, _mm256_cvtepi16_epi32, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi16,
    _mm256_cvtps_epi32, _mm256_div_ps, _mm256_extracti128_si256, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps, _mm256_packs_epi32,
    _mm256_packus_epi16, _mm256_permute4x64_epi64, _mm256_permutevar8x32_epi32, _mm256_set1_epi16,
    _mm256_set1_ps, _mm256_setr_epi32, _mm256_sub_epi16,
};

use super::super::super::program::{Quant, STAGED_MAX, quantised};
use super::super::path::{Channels, Operand, Stored};

/// Constants of sixteen channels in registers.
#[derive(Clone, Copy)]
pub(crate) struct Constants {
    correction: [__m256i; 2],
    scale: [__m256; 2],
    bias: [__m256; 2],
    slope: [__m256; 2],
    zero: __m256i,
}

impl Constants {
    /// # Safety
    /// The pointers hold sixteen numbers each.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) unsafe fn load(at: Channels, zero: u8) -> Self {
        // SAFETY: by the caller's word.
        unsafe {
            let pair = |from: *const f32| [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))];
            let correction = at.correction.cast::<__m256i>();
            Self {
                correction: [_mm256_loadu_si256(correction), _mm256_loadu_si256(correction.add(1))],
                scale: pair(at.scale),
                bias: pair(at.bias),
                slope: pair(at.slope),
                zero: _mm256_set1_epi16(i16::from(zero)),
            }
        }
    }

    /// Affine values of eight channels.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn affine(&self, sum: __m256i, half: usize) -> __m256 {
        let sum = _mm256_cvtepi32_ps(_mm256_add_epi32(sum, self.correction[half]));
        let value = _mm256_add_ps(_mm256_mul_ps(sum, self.scale[half]), self.bias[half]);
        _mm256_blendv_ps(value, _mm256_mul_ps(value, self.slope[half]), value)
    }

    /// Values of one voxel, rounded, as i16 in the order `[0..4, 8..12, 4..8, 12..16]`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn rounded(&self, [low, high]: [__m256i; 2]) -> __m256i {
        rounded([self.affine(low, 0), self.affine(high, 1)])
    }

    /// Four bytes each of two voxels, requantised.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn pair_to_u8<const TAME: bool>(
        &self,
        first: [__m256i; 2],
        second: [__m256i; 2],
    ) -> [__m128i; 2] {
        let whole = |sums| if TAME { self.tame(sums) } else { self.rounded(sums) };
        let [first, second] = [first, second].map(|sums| _mm256_adds_epi16(whole(sums), self.zero));
        halves(_mm256_packus_epi16(first, second))
    }

    /// As [`Self::rounded`], of values that are [`tame`](super::super::winograd).
    #[inline]
    #[target_feature(enable = "avx2")]
    fn tame(&self, [low, high]: [__m256i; 2]) -> __m256i {
        let value = |sum, half: usize| {
            let sum = _mm256_cvtepi32_ps(_mm256_add_epi32(sum, self.correction[half]));
            let value = _mm256_add_ps(_mm256_mul_ps(sum, self.scale[half]), self.bias[half]);
            _mm256_cvtps_epi32(_mm256_max_ps(value, _mm256_mul_ps(value, self.slope[half])))
        };
        _mm256_packs_epi32(value(low, 0), value(high, 1))
    }

    /// Sixteen staged values of one voxel, which fit.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn fitting_to_i16(&self, [low, high]: [__m256i; 2]) -> __m256i {
        let value = |sum, half: usize| {
            let sum = _mm256_cvtepi32_ps(_mm256_add_epi32(sum, self.correction[half]));
            _mm256_cvtps_epi32(_mm256_mul_ps(sum, self.scale[half]))
        };
        let whole = _mm256_packs_epi32(value(low, 0), value(high, 1));
        _mm256_permute4x64_epi64::<0b11_01_10_00>(whole)
    }

    /// Sixteen staged values of one voxel.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn to_i16(self, sums: [__m256i; 2]) -> __m256i {
        _mm256_permute4x64_epi64::<0b11_01_10_00>(self.rounded(sums))
    }
}

/// Two voxels of which each half holds eight bytes, in their order.
#[inline]
#[target_feature(enable = "avx2")]
fn halves(bytes: __m256i) -> [__m128i; 2] {
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let bytes = _mm256_permutevar8x32_epi32(bytes, order);
    [_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes)]
}

/// Rounds half to even and packs, in the order `[0..4, 8..12, 4..8, 12..16]`. What exceeds i16 below
/// turns into its least value by itself.
#[inline]
#[target_feature(enable = "avx2")]
fn rounded([low, high]: [__m256; 2]) -> __m256i {
    let most = _mm256_set1_ps(STAGED_MAX);
    let low = _mm256_cvtps_epi32(_mm256_min_ps(low, most));
    let high = _mm256_cvtps_epi32(_mm256_min_ps(high, most));
    _mm256_packs_epi32(low, high)
}

/// See [`Path::combine`](super::super::path::Path::combine).
#[target_feature(enable = "avx2")]
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

/// As [`combine`], with the constants in registers.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn sums<const TERMS: usize>(
    terms: [Term; TERMS],
    slope: *const f32,
    zero: u8,
    (to, stride, count): (*mut u8, usize, usize),
) {
    let zero = _mm256_set1_epi16(i16::from(zero));
    // SAFETY: by the caller's word.
    unsafe {
        let slope = [_mm256_loadu_ps(slope), _mm256_loadu_ps(slope.add(8))];
        for voxel in 0..count {
            let mut total = terms[0].scaled(voxel);
            for term in &terms[1..] {
                let more = term.scaled(voxel);
                total = [_mm256_add_ps(total[0], more[0]), _mm256_add_ps(total[1], more[1])];
            }
            let activated = [0, 1].map(|half| {
                let scaled = _mm256_mul_ps(total[half], slope[half]);
                _mm256_blendv_ps(total[half], scaled, total[half])
            });
            let whole = _mm256_adds_epi16(rounded(activated), zero);
            let [bytes, _] = halves(_mm256_packus_epi16(whole, whole));
            _mm_storeu_si128(to.add(voxel * stride).cast(), bytes);
        }
    }
}

/// A summand with its constants in registers.
#[derive(Clone, Copy)]
struct Term {
    operand: Operand,
    scale: [__m256; 2],
    bias: [__m256; 2],
}

impl Term {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load(operand: &Operand) -> Self {
        // SAFETY: by the caller's word.
        let both =
            |from: *const f32| unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] };
        Self { operand: *operand, scale: both(operand.scale), bias: both(operand.bias) }
    }

    /// Of voxel `voxel`, scaled.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn scaled(&self, voxel: usize) -> [__m256; 2] {
        // SAFETY: by the caller's word.
        let whole = unsafe {
            match self.operand.after(voxel).values {
                Stored::U8(from, zero) => {
                    let values = _mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast()));
                    _mm256_sub_epi16(values, _mm256_set1_epi16(i16::from(zero)))
                }
                Stored::I16(from) => _mm256_loadu_si256(from.cast()),
            }
        };
        let halves = [_mm256_castsi256_si128(whole), _mm256_extracti128_si256::<1>(whole)];
        [0, 1].map(|half| {
            let value = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(halves[half]));
            _mm256_add_ps(_mm256_mul_ps(value, self.scale[half]), self.bias[half])
        })
    }
}

/// See [`Path::quantise`](super::super::path::Path::quantise).
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn quantise(from: *const f32, count: usize, quant: Quant, to: *mut u8) {
    let whole = count / 8 * 8;
    let (scale, zero) =
        (_mm256_set1_ps(quant.scale), _mm256_set1_epi16(i16::from(quant.zero_point)));
    for at in (0..whole).step_by(8) {
        // SAFETY: eight numbers in, eight bytes out.
        unsafe {
            let values = _mm256_div_ps(_mm256_loadu_ps(from.add(at)), scale);
            let values = _mm256_adds_epi16(rounded([values, values]), zero);
            // Each of the halves holds four of the eight values twice.
            let bytes = _mm256_packus_epi16(values, values);
            let low = _mm256_castsi256_si128(bytes);
            let bytes = _mm_unpacklo_epi32(low, _mm256_extracti128_si256::<1>(bytes));
            _mm_storel_epi64(to.add(at).cast(), bytes);
        }
    }
    for at in whole..count {
        // SAFETY: the rest of them.
        unsafe { to.add(at).write(quantised(from.add(at).read(), quant)) };
    }
}
