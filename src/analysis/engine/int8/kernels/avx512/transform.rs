//! The transforms of [`winograd`](super::super::winograd) in registers: sixteen i16 channels of two z in one,
//! sixteen sums in one.

use std::arch::x86_64::{
    __m256i, __m512i, _mm_cvtsi32_si128, _mm_loadu_si128, _mm256_add_epi16, _mm256_cvtepu8_epi16,
    _mm256_set1_epi16, _mm256_setzero_si256, _mm256_sub_epi16, _mm512_add_epi16, _mm512_add_epi32,
    _mm512_castsi256_si512, _mm512_inserti64x4, _mm512_load_si512, _mm512_mullo_epi32,
    _mm512_set1_epi32, _mm512_setzero_si512, _mm512_slli_epi16, _mm512_slli_epi32,
    _mm512_sra_epi32, _mm512_store_si512, _mm512_sub_epi16, _mm512_sub_epi32,
};

use super::super::super::layout::BLOCK;
use super::super::winograd::{DEPTH, NINTH, POWER, SHIFTED, Strides};

/// Pairs of z.
const PAIRS: usize = DEPTH / 2;
/// Registers of one column: six y by two pairs of z.
const COLUMN: usize = 6 * PAIRS;

/// B₄ᵀ.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn input_of_six(d: [__m512i; 6]) -> [__m512i; 6] {
    let (add, sub) = (_mm512_add_epi16, _mm512_sub_epi16);
    let quadruple = |v| _mm512_slli_epi16::<2>(v);
    let (even, odd) = (sub(d[4], quadruple(d[2])), sub(d[3], quadruple(d[1])));
    let (near, step) = (sub(d[4], d[2]), sub(d[3], d[1]));
    let twice = add(step, step);
    [
        add(quadruple(sub(d[0], d[2])), near),
        add(even, odd),
        sub(even, odd),
        add(near, twice),
        sub(near, twice),
        sub(sub(d[5], d[3]), add(twice, twice)),
    ]
}

/// See [`WinogradPath::input`](super::super::winograd::WinogradPath::input). Columns that two tiles share
/// are transformed once.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) unsafe fn input(
    (from, strides): (*const u8, Strides),
    tiles: usize,
    (to, distance): (*mut i16, usize),
    columns: *mut __m512i,
) {
    const { assert!(SHIFTED.0.0 % DEPTH == 1, "in the upper half of a pair") };
    let shifted = joined(_mm256_setzero_si256(), _mm256_set1_epi16(SHIFTED.1));
    // SAFETY: as the caller says.
    unsafe {
        for tile in 0..tiles {
            strides.prefetch_columns(from.wrapping_add((4 * tile + 6) * strides.x));
            for column in if tile == 0 { 0..6 } else { 2..6 } {
                let column = 4 * tile + column;
                let to = columns.add((column & 7) * COLUMN);
                input_column(from.add(column * strides.x), strides, to);
            }
            let six: [*const __m512i; 6] =
                std::array::from_fn(|x| columns.add(((4 * tile + x) & 7) * COLUMN).cast_const());
            let to = to.add(tile * distance);
            for at in 0..COLUMN {
                let (y, pair) = (at / PAIRS, at % PAIRS);
                let mut values = input_of_six(six.map(|c| _mm512_load_si512(c.add(at).cast())));
                if at == SHIFTED.0.0 / 2 {
                    values[SHIFTED.0.1] = _mm512_sub_epi16(values[SHIFTED.0.1], shifted);
                }
                for (x, value) in values.into_iter().enumerate() {
                    let to = to.add(((y * 6 + x) * DEPTH + 2 * pair) * BLOCK);
                    _mm512_store_si512(to.cast(), value);
                }
            }
        }
    }
}

/// One column: z, then y.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn input_column(from: *const u8, strides: Strides, to: *mut __m512i) {
    // SAFETY: as the caller says.
    unsafe {
        let rows: [[__m512i; PAIRS]; 6] = std::array::from_fn(|y| {
            let d: [__m256i; 4] = std::array::from_fn(|z| {
                let from = from.add(y * strides.y + z * strides.z);
                _mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast()))
            });
            [
                joined(_mm256_sub_epi16(d[0], d[2]), _mm256_add_epi16(d[1], d[2])),
                joined(_mm256_sub_epi16(d[2], d[1]), _mm256_sub_epi16(d[1], d[3])),
            ]
        });
        for pair in 0..PAIRS {
            let row = rows.map(|row| row[pair]);
            for (y, value) in input_of_six(row).into_iter().enumerate() {
                _mm512_store_si512(to.add(y * PAIRS + pair).cast(), value);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn joined(low: __m256i, high: __m256i) -> __m512i {
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
}

/// The 4×4 outputs of one plane, `[y][x]`, sums of sixteen channels each.
pub(crate) type Sums = [[__m512i; 4]; 4];

/// One plane's products transformed back, and divided.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) unsafe fn output(products: *const i32) -> Sums {
    let mut rows = [[_mm512_setzero_si512(); 6]; 4];
    for x in 0..6 {
        // SAFETY: there are 36 times sixteen values, aligned to 64.
        let column = std::array::from_fn(|y| unsafe {
            _mm512_load_si512(products.add((y * 6 + x) * BLOCK).cast())
        });
        for (row, value) in rows.iter_mut().zip(output_of_six(column)) {
            row[x] = value;
        }
    }
    let ninth = _mm512_set1_epi32(NINTH);
    let mut sums = [[_mm512_setzero_si512(); 4]; 4];
    for (y, (sums, row)) in sums.iter_mut().zip(rows).enumerate() {
        for (x, (sum, value)) in sums.iter_mut().zip(output_of_six(row)).enumerate() {
            // 24 for the first of four, 12 for the others.
            let shift = POWER - i32::from(y > 0) - i32::from(x > 0);
            let divided = _mm512_mullo_epi32(value, ninth);
            *sum = _mm512_sra_epi32(divided, _mm_cvtsi32_si128(shift));
        }
    }
    sums
}

/// A₄ᵀ times 24 (first output) and 12.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn output_of_six(m: [__m512i; 6]) -> [__m512i; 4] {
    let (add, sub) = (_mm512_add_epi32, _mm512_sub_epi32);
    let (s1, d1) = (add(m[1], m[2]), sub(m[1], m[2]));
    let (s2, d2) = (add(m[3], m[4]), sub(m[3], m[4]));
    [
        add(add(m[0], s2), add(s1, s1)),
        add(d1, d2),
        add(s1, add(s2, s2)),
        add(add(d1, _mm512_slli_epi32::<2>(d2)), add(m[5], m[5])),
    ]
}
