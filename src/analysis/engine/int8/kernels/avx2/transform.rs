//! The transforms of [`winograd`](super::super::winograd) in registers: sixteen i16 channels in one, sixteen
//! sums in two.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_cvtsi32_si128, _mm_loadu_si128, _mm256_add_epi16, _mm256_add_epi32,
    _mm256_cvtepu8_epi16, _mm256_load_si256, _mm256_mullo_epi32, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_setzero_si256, _mm256_slli_epi16, _mm256_slli_epi32,
    _mm256_sra_epi32, _mm256_store_si256, _mm256_sub_epi16, _mm256_sub_epi32,
};

use super::super::super::layout::BLOCK;
use super::super::winograd::{
    DEPTH, HALF_LINE, LINE, NINTH, POWER, Row, SHIFTED, SIDE, Strides, TILE, WAITING,
    WAITING_PLANE, plain,
};

/// B₄ᵀ.
#[inline]
#[target_feature(enable = "avx2")]
fn input_of_six(d: [__m256i; 6]) -> [__m256i; 6] {
    let (add, sub) = (_mm256_add_epi16, _mm256_sub_epi16);
    let quadruple = |v| _mm256_slli_epi16::<2>(v);
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

/// A₄ᵀ times 24 (first output) and 12.
#[inline]
#[target_feature(enable = "avx2")]
fn output_of_six(m: [__m256i; 6]) -> [__m256i; 4] {
    let (add, sub) = (_mm256_add_epi32, _mm256_sub_epi32);
    let (s1, d1) = (add(m[1], m[2]), sub(m[1], m[2]));
    let (s2, d2) = (add(m[3], m[4]), sub(m[3], m[4]));
    [
        add(add(m[0], s2), add(s1, s1)),
        add(d1, d2),
        add(s1, add(s2, s2)),
        add(add(d1, _mm256_slli_epi32::<2>(d2)), add(m[5], m[5])),
    ]
}

/// See [`WinogradPath::columns`](super::super::winograd::WinogradPath::columns).
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn columns(
    (from, strides): (*const u8, Strides),
    columns: usize,
    (to, distance): (*mut i16, usize),
) {
    let (mut from, mut to) = (from, to.cast_const());
    for column in 0..columns {
        // SAFETY: as the caller says.
        unsafe {
            if column % TILE[2] == 0 {
                strides.prefetch_columns(from.wrapping_add(8 * strides.x));
            }
            let mut row = from;
            let rows: [[__m256i; DEPTH]; SIDE] = std::array::from_fn(|_| {
                let d: [__m256i; DEPTH] = std::array::from_fn(|z| {
                    let channels = _mm_loadu_si128(row.add(z * strides.z).cast::<__m128i>());
                    _mm256_cvtepu8_epi16(channels)
                });
                row = plain(row.add(strides.y));
                [
                    _mm256_add_epi16(d[1], d[2]),
                    _mm256_sub_epi16(d[2], d[1]),
                    _mm256_sub_epi16(d[0], d[2]),
                    _mm256_sub_epi16(d[1], d[3]),
                ]
            });
            for z in 0..DEPTH {
                let row = rows.map(|row| row[z]);
                let mut to = plain(to.add(z * BLOCK));
                for value in input_of_six(row) {
                    _mm256_store_si256(to.cast_mut().cast(), value);
                    to = plain(to.add(distance));
                }
            }
            from = plain(from.add(strides.x));
            to = plain(to.add(LINE));
        }
    }
}

/// See [`WinogradPath::across`](super::super::winograd::WinogradPath::across).
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn across(from: *const i16, tiles: usize, shifted: bool, to: Row) {
    for tile in 0..tiles {
        for z in 0..DEPTH {
            // SAFETY: as the caller says.
            unsafe {
                let from = plain(from.add(tile * TILE[2] * LINE + z * BLOCK));
                let mut six = input_of_six(std::array::from_fn(|x| {
                    _mm256_load_si256(from.add(x * LINE).cast())
                }));
                if shifted && z == 0 {
                    let shift = _mm256_set1_epi16(SHIFTED.2);
                    six[SHIFTED.1] = _mm256_sub_epi16(six[SHIFTED.1], shift);
                }
                let at = z / 2 * to.half + tile * HALF_LINE + z % 2 * BLOCK;
                let mut at = plain(to.first.add(at).cast_const());
                for value in six {
                    _mm256_store_si256(at.cast_mut().cast(), value);
                    at = plain(at.add(2 * to.half));
                }
            }
        }
    }
}

/// See [`WinogradPath::back`](super::super::winograd::WinogradPath::back).
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn back((from, distance): (*const i32, usize), tiles: usize, to: *mut i32) {
    for tile in 0..tiles {
        for z in 0..TILE[0] {
            for half in [0, BLOCK / 2] {
                // SAFETY: as the caller says.
                unsafe {
                    let mut from = plain(from.add(z * distance + tile * BLOCK + half));
                    let four = output_of_six(std::array::from_fn(|_| {
                        let value = _mm256_load_si256(from.cast());
                        from = plain(from.add(TILE[0] * distance));
                        value
                    }));
                    let to = to.add(tile * WAITING + z * WAITING_PLANE + half);
                    for (x, value) in four.into_iter().enumerate() {
                        _mm256_store_si256(to.add(x * BLOCK).cast(), value);
                    }
                }
            }
        }
    }
}

/// The four outputs of one column of a plane: sums of eight channels in `[y]`, `[half of the sixteen]`.
pub(crate) type Sums = [[__m256i; 2]; 4];

/// What waits of column `x` of a plane transformed back, and divided.
///
/// # Safety
/// `waiting` holds 24 times sixteen values, aligned to 32.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn output(waiting: *const i32, x: usize) -> Sums {
    let ninth = _mm256_set1_epi32(NINTH);
    let mut sums = [[_mm256_setzero_si256(); 2]; 4];
    for half in 0..2 {
        // SAFETY: as the caller says.
        let column = std::array::from_fn(|y| unsafe {
            let at = (y * TILE[2] + x) * BLOCK + half * BLOCK / 2;
            _mm256_load_si256(waiting.add(at).cast())
        });
        for ((y, sum), value) in sums.iter_mut().enumerate().zip(output_of_six(column)) {
            // 24 for the first of four, 12 for the others.
            let shift = POWER - i32::from(y > 0) - i32::from(x > 0);
            let divided = _mm256_mullo_epi32(value, ninth);
            sum[half] = _mm256_sra_epi32(divided, _mm_cvtsi32_si128(shift));
        }
    }
    sums
}
