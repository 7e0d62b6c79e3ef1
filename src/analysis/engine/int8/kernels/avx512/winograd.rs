//! What [`Winograd`](super::super::winograd::Winograd) needs of AVX-512.

use std::arch::x86_64::{
    __m512i, _mm_storeu_si128, _mm256_storeu_si256, _mm512_add_epi32, _mm512_setzero_si512,
    _mm512_store_si512, _mm512_sub_epi32,
};

use super::super::super::layout::BLOCK;
use super::super::path::Channels;
use super::super::winograd::{
    Factors, Outputs, PLANE, PRODUCTS_LEN, Products, Strides, Tile, WinogradPath,
};
use super::Avx512;
use super::finish::Constants;
use super::multiply::by_eight::{multiply2, multiply4, multiply6, multiply8, multiply12};
use super::transform;

// SAFETY of all functions: as for `Path`.
impl WinogradPath for Avx512 {
    unsafe fn input(
        from: (*const u8, Strides),
        tiles: usize,
        to: (*mut i16, usize),
        columns: *mut u8,
    ) {
        // SAFETY: see above.
        unsafe { transform::input(from, tiles, to, columns.cast()) }
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
                factors.prefetch_next($tiles);
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
        let mut sums = transform::output(products.first);
        for group in 1..products.groups {
            let more = transform::output(products.first.add(group * products.distance));
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
