//! The transforms of [`winograd`](super::super::winograd) in registers: sixteen i16 channels in one, sixteen
//! sums in two.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_cvtsi32_si128, _mm_loadu_si128, _mm256_add_epi16, _mm256_add_epi32,
    _mm256_cvtepu8_epi16, _mm256_load_si256, _mm256_mullo_epi32, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_setzero_si256, _mm256_slli_epi16, _mm256_slli_epi32,
    _mm256_sra_epi32, _mm256_store_si256, _mm256_sub_epi16, _mm256_sub_epi32,
};

use super::super::winograd::{DEPTH, NINTH, POWER, SHIFTED, Strides};

/// Registers of one column: six y by four z.
const COLUMN: usize = 6 * DEPTH;

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

/// See [`WinogradPath::input`](super::super::winograd::WinogradPath::input). Columns that two tiles share
/// are transformed once.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn input(
    (from, strides): (*const u8, Strides),
    tiles: usize,
    (to, distance): (*mut i16, usize),
    columns: *mut __m256i,
) {
    // SAFETY: as the caller says.
    unsafe {
        for tile in 0..tiles {
            strides.prefetch_columns(from.wrapping_add((4 * tile + 6) * strides.x));
            for column in if tile == 0 { 0..6 } else { 2..6 } {
                let column = 4 * tile + column;
                let to = columns.add((column & 7) * COLUMN);
                input_column(from.add(column * strides.x), strides, columns.add(8 * COLUMN), to);
            }
            let six: [*const __m256i; 6] =
                std::array::from_fn(|x| columns.add(((4 * tile + x) & 7) * COLUMN).cast_const());
            let to = to.add(tile * distance).cast::<__m256i>();
            for yz in 0..COLUMN {
                let (y, z) = (yz / DEPTH, yz % DEPTH);
                let mut values = input_of_six(six.map(|column| _mm256_load_si256(column.add(yz))));
                if yz == SHIFTED.0.0 {
                    let at = SHIFTED.0.1;
                    values[at] = _mm256_sub_epi16(values[at], _mm256_set1_epi16(SHIFTED.1));
                }
                for (x, value) in values.into_iter().enumerate() {
                    _mm256_store_si256(to.add((y * 6 + x) * DEPTH + z), value);
                }
            }
        }
    }
}

/// One column: z, then y.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn input_column(from: *const u8, strides: Strides, between: *mut __m256i, to: *mut __m256i) {
    // SAFETY: as the caller says.
    unsafe {
        for y in 0..6 {
            let d: [__m256i; 4] = std::array::from_fn(|z| {
                let from = from.add(y * strides.y + z * strides.z);
                _mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast::<__m128i>()))
            });
            _mm256_store_si256(between.add(y), _mm256_sub_epi16(d[0], d[2]));
            _mm256_store_si256(between.add(6 + y), _mm256_add_epi16(d[1], d[2]));
            _mm256_store_si256(between.add(12 + y), _mm256_sub_epi16(d[2], d[1]));
            _mm256_store_si256(between.add(18 + y), _mm256_sub_epi16(d[1], d[3]));
        }
        for z in 0..DEPTH {
            let row: [__m256i; 6] =
                std::array::from_fn(|y| _mm256_load_si256(between.add(z * 6 + y)));
            for (y, value) in input_of_six(row).into_iter().enumerate() {
                _mm256_store_si256(to.add(y * DEPTH + z), value);
            }
        }
    }
}

/// The 4×4 outputs of one plane: sums of eight channels in `[y][x]`, `[half of the sixteen]`.
pub(crate) type Sums = [[[__m256i; 2]; 4]; 4];

/// Transforms one plane's products back, and divides.
///
/// # Safety
/// `products` holds 36 times sixteen values, aligned to 32.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn output(products: *const i32) -> Sums {
    let mut outputs = [[[_mm256_setzero_si256(); 2]; 4]; 4];
    let ninth = _mm256_set1_epi32(NINTH);
    for half in 0..2 {
        let columns: [[__m256i; 4]; 6] = std::array::from_fn(|x| {
            // SAFETY: as the caller says.
            output_of_six(std::array::from_fn(|y| unsafe {
                _mm256_load_si256(products.add((y * 6 + x) * 16 + half * 8).cast::<__m256i>())
            }))
        });
        for (y, sums) in outputs.iter_mut().enumerate() {
            let row = output_of_six(columns.map(|column| column[y]));
            for (x, (sum, value)) in sums.iter_mut().zip(row).enumerate() {
                // 24 for the first of four, 12 for the others.
                let shift = POWER - i32::from(y > 0) - i32::from(x > 0);
                let divided = _mm256_mullo_epi32(value, ninth);
                sum[half] = _mm256_sra_epi32(divided, _mm_cvtsi32_si128(shift));
            }
        }
    }
    outputs
}
