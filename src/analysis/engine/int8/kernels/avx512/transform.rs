//! The transforms of [`winograd`](super::super::winograd) in registers: sixteen i16 channels of two z in one,
//! sixteen sums in one.

use std::arch::x86_64::{
    __m512i, _mm_cvtsi32_si128, _mm_loadu_si128, _mm256_broadcastsi128_si256, _mm256_loadu_si256,
    _mm512_add_epi16, _mm512_add_epi32, _mm512_cvtepu8_epi16, _mm512_load_si512,
    _mm512_mask_cvtepu8_epi16, _mm512_mask_sub_epi16, _mm512_mullo_epi32, _mm512_set1_epi16,
    _mm512_set1_epi32, _mm512_setzero_si512, _mm512_slli_epi16, _mm512_slli_epi32,
    _mm512_sra_epi32, _mm512_store_si512, _mm512_sub_epi16, _mm512_sub_epi32,
};

use super::super::super::layout::BLOCK;
use super::super::winograd::{
    HALF_LINE, LINE, NINTH, POWER, Row, SHIFTED, SIDE, Strides, TILE, WAITING, WAITING_PLANE, plain,
};

/// The first z of two in a register, and the second.
const LOWER: u32 = 0x0000_ffff;
const UPPER: u32 = !LOWER;

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

/// See [`WinogradPath::columns`](super::super::winograd::WinogradPath::columns).
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
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
            let rows: [[__m512i; 2]; SIDE] = std::array::from_fn(|_| {
                let values = along_z(row, strides.z);
                row = plain(row.add(strides.y));
                values
            });
            let first = input_of_six(rows.map(|row| row[0]));
            let second = input_of_six(rows.map(|row| row[1]));
            let mut row = to;
            for (first, second) in first.into_iter().zip(second) {
                _mm512_store_si512(row.cast_mut().cast(), first);
                _mm512_store_si512(row.add(HALF_LINE).cast_mut().cast(), second);
                row = plain(row.add(distance));
            }
            from = plain(from.add(strides.x));
            to = plain(to.add(LINE));
        }
    }
}

/// Sixteen channels of four planes to those of four z. Reads sixteen bytes beyond the first plane and
/// before the last.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn along_z(from: *const u8, plane: usize) -> [__m512i; 2] {
    // SAFETY: as the caller says; between the planes lies the value itself, and behind it some slack.
    unsafe {
        let twice = |z: usize| {
            let channels = _mm_loadu_si128(from.add(z * plane).cast());
            _mm512_cvtepu8_epi16(_mm256_broadcastsi128_si256(channels))
        };
        let (second, third) = (twice(1), twice(2));
        let first = _mm256_loadu_si256(from.cast());
        let fourth = _mm256_loadu_si256(from.add(3 * plane - BLOCK).cast());
        let first_second = _mm512_mask_cvtepu8_epi16(second, LOWER, first);
        let third_fourth = _mm512_mask_cvtepu8_epi16(third, UPPER, fourth);
        let sum = _mm512_add_epi16(second, third);
        [
            _mm512_mask_sub_epi16(sum, UPPER, third, second),
            _mm512_sub_epi16(first_second, third_fourth),
        ]
    }
}

/// See [`WinogradPath::across`](super::super::winograd::WinogradPath::across).
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) unsafe fn across(from: *const i16, tiles: usize, shifted: bool, to: Row) {
    let shift = _mm512_mask_sub_epi16(
        _mm512_setzero_si512(),
        LOWER,
        _mm512_setzero_si512(),
        _mm512_set1_epi16(if shifted { SHIFTED.2 } else { 0 }),
    );
    for tile in 0..tiles {
        let from = plain(from.wrapping_add(tile * TILE[2] * LINE));
        for half in 0..2 {
            // SAFETY: as the caller says.
            unsafe {
                let from = from.add(half * HALF_LINE);
                let mut six = input_of_six(std::array::from_fn(|x| {
                    _mm512_load_si512(from.add(x * LINE).cast())
                }));
                if half == 0 {
                    six[SHIFTED.1] = _mm512_add_epi16(six[SHIFTED.1], shift);
                }
                let mut at = plain(to.first.add(half * to.half + tile * HALF_LINE).cast_const());
                for value in six {
                    _mm512_store_si512(at.cast_mut().cast(), value);
                    at = plain(at.add(2 * to.half));
                }
            }
        }
    }
}

/// See [`WinogradPath::back`](super::super::winograd::WinogradPath::back).
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) unsafe fn back((from, distance): (*const i32, usize), tiles: usize, to: *mut i32) {
    for tile in 0..tiles {
        for z in 0..TILE[0] {
            // SAFETY: as the caller says.
            unsafe {
                let mut from = plain(from.add(z * distance + tile * BLOCK));
                let four = output_of_six(std::array::from_fn(|_| {
                    let value = _mm512_load_si512(from.cast());
                    from = plain(from.add(TILE[0] * distance));
                    value
                }));
                let to = to.add(tile * WAITING + z * WAITING_PLANE);
                for (x, value) in four.into_iter().enumerate() {
                    _mm512_store_si512(to.add(x * BLOCK).cast(), value);
                }
            }
        }
    }
}

/// The 4×4 outputs of one plane, `[y][x]`, sums of sixteen channels each.
pub(crate) type Sums = [[__m512i; 4]; 4];

/// What waits of one plane transformed back, and divided.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) unsafe fn output(waiting: *const i32) -> Sums {
    let ninth = _mm512_set1_epi32(NINTH);
    let mut sums = [[_mm512_setzero_si512(); 4]; 4];
    for x in 0..4 {
        // SAFETY: there are 24 times sixteen values, aligned to 64.
        let column = std::array::from_fn(|y| unsafe {
            _mm512_load_si512(waiting.add((y * TILE[2] + x) * BLOCK).cast())
        });
        for ((y, row), value) in sums.iter_mut().enumerate().zip(output_of_six(column)) {
            // 24 for the first of four, 12 for the others.
            let shift = POWER - i32::from(y > 0) - i32::from(x > 0);
            let divided = _mm512_mullo_epi32(value, ninth);
            row[x] = _mm512_sra_epi32(divided, _mm_cvtsi32_si128(shift));
        }
    }
    sums
}
