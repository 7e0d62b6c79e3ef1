//! What [`Winograd`](super::super::winograd::Winograd) needs of AVX2.

use std::arch::x86_64::{
    __m256i, _mm_storeu_si128, _mm256_add_epi32, _mm256_setzero_si256, _mm256_store_si256,
    _mm256_storeu_si256, _mm256_sub_epi32,
};

use super::super::super::layout::BLOCK;
use super::super::path::Channels;
use super::super::winograd::{
    Factors, Outputs, PLANE, PRODUCTS_LEN, Products, Strides, Tile, WinogradPath,
};
use super::finish::Constants;
use super::multiply::by_eight::{multiply2, multiply4, multiply6};
use super::transform::{self, Sums};
use super::{Avx2, Registers};

// SAFETY of all functions: as for `Path`.
impl WinogradPath for Avx2 {
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

#[target_feature(enable = "avx2")]
unsafe fn products(factors: &Factors, tiles: usize, to: *mut i32) {
    let mut tile = 0;
    while tile < tiles {
        let factors = factors.from(tile);
        // SAFETY: there is room for a round of tiles more than there are.
        unsafe {
            let to = to.add(tile * PRODUCTS_LEN);
            tile += match tiles - tile {
                1 | 2 => two(&factors, to),
                3 | 4 | 7 | 8 => four(&factors, to),
                _ => six(&factors, to),
            };
        }
    }
}

macro_rules! products {
    ($name:ident, $tiles:literal, $multiply:ident) => {
        /// The four products in z, and the transform back along z at once. Returns the tiles done.
        #[inline]
        #[target_feature(enable = "avx2")]
        unsafe fn $name(factors: &Factors, to: *mut i32) -> usize {
            // SAFETY: as whoever made the factors says.
            unsafe {
                factors.prefetch_next($tiles);
                let mut middle = [[_mm256_setzero_si256(); 2]; $tiles];
                $multiply(&mut middle, factors.at(1), factors.strides(), factors.blocks);
                let mut lower = middle;
                $multiply(&mut lower, factors.at(0), factors.strides(), factors.blocks);
                let mut third = [[_mm256_setzero_si256(); 2]; $tiles];
                $multiply(&mut third, factors.at(2), factors.strides(), factors.blocks);
                store(&lower, &third, to, |a, b| _mm256_add_epi32(a, b));
                $multiply(&mut third, factors.at(3), factors.strides(), factors.blocks);
                store(&middle, &third, to.add(PLANE * BLOCK), |a, b| _mm256_sub_epi32(a, b));
            }
            $tiles
        }
    };
}

products!(two, 2, multiply2);
products!(four, 4, multiply4);
products!(six, 6, multiply6);

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store<const N: usize>(
    first: &Registers<N>,
    second: &Registers<N>,
    to: *mut i32,
    join: impl Fn(__m256i, __m256i) -> __m256i,
) {
    for tile in 0..N {
        for half in 0..2 {
            // SAFETY: as the caller says.
            unsafe {
                let to = to.add(tile * PRODUCTS_LEN + half * 8).cast::<__m256i>();
                _mm256_store_si256(to, join(first[tile][half], second[tile][half]));
            }
        }
    }
}

#[target_feature(enable = "avx2")]
unsafe fn output(products: Products, at: Channels, to: Outputs) {
    let zero = if let Tile::U8(_, zero) = to.to { zero } else { 0 };
    // SAFETY: as the caller says; only voxels there are get written.
    unsafe {
        let constants = Constants::load(at, zero);
        let mut sums = transform::output(products.first);
        for group in 1..products.groups {
            add(&mut sums, &transform::output(products.first.add(group * products.distance)));
        }
        for (y, row) in sums.iter().enumerate().take(to.size.0) {
            match to.to {
                Tile::U8(first, _) => {
                    for x in [0, 2] {
                        let [one, other] = constants.pair_to_u8(row[x], row[x + 1]);
                        let first = first.add(y * to.strides.0 + x * to.strides.1);
                        if x < to.size.1 {
                            _mm_storeu_si128(first.cast(), one);
                        }
                        if x + 1 < to.size.1 {
                            _mm_storeu_si128(first.add(to.strides.1).cast(), other);
                        }
                    }
                }
                Tile::I16(first) => {
                    for (x, &sums) in row.iter().enumerate().take(to.size.1) {
                        let to = first.add(y * to.strides.0 + x * to.strides.1);
                        _mm256_storeu_si256(to.cast(), constants.to_i16(sums));
                    }
                }
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(sums: &mut Sums, more: &Sums) {
    for (sum, more) in sums.iter_mut().flatten().flatten().zip(more.iter().flatten().flatten()) {
        *sum = _mm256_add_epi32(*sum, *more);
    }
}
