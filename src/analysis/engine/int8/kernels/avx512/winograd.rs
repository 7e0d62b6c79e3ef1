//! What [`Winograd`](super::super::winograd::Winograd) needs of AVX-512; inputs are transformed as on AVX2.

use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _mm_cvtsi32_si128, _mm_prefetch, _mm_storeu_si128, _mm256_storeu_si256,
    _mm512_add_epi32, _mm512_load_si512, _mm512_mullo_epi32, _mm512_set1_epi32,
    _mm512_setzero_si512, _mm512_slli_epi32, _mm512_sra_epi32, _mm512_store_si512,
    _mm512_sub_epi32,
};

use super::super::super::layout::BLOCK;
use super::super::avx2::Avx2;
use super::super::path::Channels;
use super::super::winograd::{
    DEPTH, Factors, NINTH, Outputs, PLANE, POWER, PRODUCTS_LEN, Products, Strides, TILE_LEN, Tile,
    WinogradPath,
};
use super::Avx512;
use super::finish::Constants;
use super::multiply::by_eight::{multiply2, multiply4, multiply6, multiply8, multiply12};

/// The 4×4 outputs of one plane, `[y][x]`, sums of sixteen channels each.
type Sums = [[__m512i; 4]; 4];

// SAFETY of all functions: as for `Path`.
impl WinogradPath for Avx512 {
    unsafe fn input(
        from: (*const u8, Strides),
        tiles: usize,
        to: (*mut i16, usize),
        columns: *mut u8,
    ) {
        // SAFETY: see above.
        unsafe { Avx2::input(from, tiles, to, columns) }
    }

    unsafe fn products(factors: &Factors, tiles: usize, to: *mut i32) {
        // SAFETY: see above.
        unsafe { products(factors, tiles, to) }
    }

    unsafe fn output(products: Products, at: Channels, to: Outputs) {
        // SAFETY: see above.
        unsafe { output(products, at, to) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn products(factors: &Factors, tiles: usize, to: *mut i32) {
    let mut tile = 0;
    while tile < tiles {
        let factors = factors.from(tile);
        // SAFETY: there is room for a round of tiles more than there are.
        unsafe {
            let to = to.add(tile * PRODUCTS_LEN);
            tile += match tiles - tile {
                1 | 2 => two(&factors, to),
                3 | 4 => four(&factors, to),
                5 | 6 => six(&factors, to),
                7..=10 | 13..=16 => eight(&factors, to),
                _ => twelve(&factors, to),
            };
        }
    }
}

macro_rules! products {
    ($name:ident, $tiles:literal, $multiply:ident) => {
        /// The four products in z, and the transform back along z at once. Returns the tiles done.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        unsafe fn $name(factors: &Factors, to: *mut i32) -> usize {
            // SAFETY: as whoever made the factors says.
            unsafe {
                prefetch(factors, $tiles);
                let mut middle = [_mm512_setzero_si512(); $tiles];
                $multiply(&mut middle, factors.at(1), factors.strides(), factors.blocks);
                let mut lower = middle;
                $multiply(&mut lower, factors.at(0), factors.strides(), factors.blocks);
                let mut third = [_mm512_setzero_si512(); $tiles];
                $multiply(&mut third, factors.at(2), factors.strides(), factors.blocks);
                store(&lower, &third, to, |a, b| _mm512_add_epi32(a, b));
                $multiply(&mut third, factors.at(3), factors.strides(), factors.blocks);
                store(&middle, &third, to.add(PLANE * BLOCK), |a, b| _mm512_sub_epi32(a, b));
            }
            $tiles
        }
    };
}

products!(two, 2, multiply2);
products!(four, 4, multiply4);
products!(six, 6, multiply6);
products!(eight, 8, multiply8);
products!(twelve, 12, multiply12);

/// What the next transformed value will need.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn prefetch(factors: &Factors, tiles: usize) {
    for tile in 0..tiles {
        for block in 0..factors.blocks {
            let next = tile * factors.stride + block * TILE_LEN + DEPTH * BLOCK;
            let next = factors.inputs.wrapping_add(next).cast::<i8>();
            _mm_prefetch::<_MM_HINT_T0>(next);
            _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(64));
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn store<const N: usize>(
    first: &[__m512i; N],
    second: &[__m512i; N],
    to: *mut i32,
    join: impl Fn(__m512i, __m512i) -> __m512i,
) {
    for (tile, (&first, &second)) in first.iter().zip(second).enumerate() {
        // SAFETY: as the caller says.
        unsafe { _mm512_store_si512(to.add(tile * PRODUCTS_LEN).cast(), join(first, second)) };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn output(products: Products, at: Channels, to: Outputs) {
    let zero = if let Tile::U8(_, zero) = to.to { zero } else { 0 };
    // SAFETY: as the caller says; only voxels there are get written.
    unsafe {
        let constants = Constants::load(at, zero);
        let mut sums = transformed(products.first);
        for group in 1..products.groups {
            let more = transformed(products.first.add(group * products.distance));
            for (sum, more) in sums.iter_mut().flatten().zip(more.iter().flatten()) {
                *sum = _mm512_add_epi32(*sum, *more);
            }
        }
        for (y, row) in sums.iter().enumerate().take(to.size.0) {
            for (x, &sums) in row.iter().enumerate().take(to.size.1) {
                let at = y * to.strides.0 + x * to.strides.1;
                match to.to {
                    Tile::U8(first, _) => {
                        _mm_storeu_si128(first.add(at).cast(), constants.to_u8(sums));
                    }
                    Tile::I16(first) => {
                        _mm256_storeu_si256(first.add(at).cast(), constants.to_i16(sums));
                    }
                }
            }
        }
    }
}

/// One plane's products transformed back, and divided.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn transformed(products: *const i32) -> Sums {
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
