//! What [`Winograd`](super::super::winograd::Winograd) needs of AVX2.

use std::arch::asm;
use std::arch::x86_64::{
    _mm_storeu_si128, _mm256_add_epi32, _mm256_setzero_si256, _mm256_store_si256,
    _mm256_storeu_si256, _mm256_sub_epi32,
};

use super::super::super::layout::BLOCK;
use super::super::path::Channels;
use super::super::winograd::{
    Factors, HALF_LINE, Outputs, Row, Strides, Tile, Waiting, WinogradPath,
};
use super::finish::Constants;
use super::transform::{self, Sums};
use super::{Avx2, Registers};

// SAFETY of all functions: as for `Path`.
impl WinogradPath for Avx2 {
    unsafe fn columns(from: (*const u8, Strides), columns: usize, to: (*mut i16, usize)) {
        // SAFETY: see above.
        unsafe { transform::columns(from, columns, to) }
    }

    unsafe fn across(from: *const i16, tiles: usize, shifted: bool, to: Row) {
        // SAFETY: see above.
        unsafe { transform::across(from, tiles, shifted, to) }
    }

    unsafe fn products(factors: &Factors, tiles: usize, to: (*mut i32, usize)) {
        // SAFETY: see above.
        unsafe { products(factors, tiles, to) }
    }

    unsafe fn back(from: (*const i32, usize), tiles: usize, to: *mut i32) {
        // SAFETY: see above.
        unsafe { transform::back(from, tiles, to) }
    }

    unsafe fn output(waiting: Waiting, at: Channels, to: Outputs) {
        // SAFETY: see above.
        unsafe { output(waiting, at, to) }
    }
}

#[target_feature(enable = "avx2")]
unsafe fn products(factors: &Factors, tiles: usize, (to, distance): (*mut i32, usize)) {
    let mut tile = 0;
    while tile < tiles {
        let factors = factors.from(tile);
        // SAFETY: there is room for a round of tiles more than there are.
        unsafe {
            let to = (to.add(tile * BLOCK), distance);
            tile += match tiles - tile {
                1 | 2 => two(&factors, to),
                3 | 4 | 7 | 8 => four(&factors, to),
                _ => six(&factors, to),
            };
        }
    }
}

/// One tile of one pair of channels: `$tile` is its address, `$pair` the pair's number.
macro_rules! tile {
    ($pair:literal, $tile:literal, $low:literal, $high:literal) => {
        concat!(
            "vpbroadcastd {v}, [",
            $tile,
            "+4*",
            $pair,
            "]\n",
            "vpmaddwd {t}, {v}, {w0}\n",
            "vpmaddwd {v}, {v}, {w1}\n",
            "vpaddd {",
            $low,
            "}, {",
            $low,
            "}, {t}\n",
            "vpaddd {",
            $high,
            "}, {",
            $high,
            "}, {v}\n",
        )
    };
}

macro_rules! pair2 {
    ($pair:literal) => {
        concat!(
            "vmovdqa {w0}, [{b}+128*",
            $pair,
            "]\n",
            "vmovdqa {w1}, [{b}+32+128*",
            $pair,
            "]\n",
            tile!($pair, "{a}", "c0", "c1"),
            tile!($pair, "{a}+64", "c2", "c3"),
        )
    };
}

macro_rules! pair4 {
    ($pair:literal) => {
        concat!(
            pair2!($pair),
            tile!($pair, "{a}+128", "c4", "c5"),
            tile!($pair, "{a}+192", "c6", "c7"),
        )
    };
}

macro_rules! pair6 {
    ($pair:literal) => {
        concat!(
            pair4!($pair),
            tile!($pair, "{a}+256", "c8", "c9"),
            tile!($pair, "{a}+320", "c10", "c11"),
        )
    };
}

macro_rules! kernel {
    ($name:ident, $multiply:ident, $tiles:literal, $pair:ident,
     [$($c:ident $tile:literal $half:literal),+]) => {
        /// Adds the products of `blocks` blocks of input channels. Written as assembly because the
        /// compiler spills accumulators and computes addresses anew.
        #[inline]
        #[target_feature(enable = "avx2")]
        unsafe fn $multiply(
            sums: &mut Registers<$tiles>,
            (inputs, weights): (*const i16, *const i16),
            block: usize,
            blocks: usize,
        ) {
            // SAFETY: reads what the caller says is there, writes registers only.
            unsafe {
                asm!(
                    "2:",
                    $pair!("0"),
                    $pair!("1"),
                    $pair!("2"),
                    $pair!("3"),
                    $pair!("4"),
                    $pair!("5"),
                    $pair!("6"),
                    $pair!("7"),
                    "add {a}, {s}",
                    "add {b}, 1024",
                    "dec {n}",
                    "jnz 2b",
                    a = inout(reg) inputs => _,
                    s = in(reg) 2 * block,
                    b = inout(reg) weights => _,
                    n = inout(reg) blocks => _,
                    w0 = out(ymm_reg) _,
                    w1 = out(ymm_reg) _,
                    v = out(ymm_reg) _,
                    t = out(ymm_reg) _,
                    $($c = inout(ymm_reg) sums[$tile][$half],)+
                    options(nostack, readonly),
                );
            }
        }

        /// The four products in z, and the transform back along z at once. Returns the tiles done.
        #[inline]
        #[target_feature(enable = "avx2")]
        unsafe fn $name(factors: &Factors, (to, distance): (*mut i32, usize)) -> usize {
            let second_z = |(inputs, weights): (*const i16, *const i16)| {
                (inputs.wrapping_add(BLOCK), weights.wrapping_add(HALF_LINE))
            };
            let mut first = [[_mm256_setzero_si256(); 2]; $tiles];
            let mut second = first;
            // SAFETY: as whoever made the factors says.
            unsafe {
                $multiply(&mut second, second_z(factors.at(0)), factors.block, factors.blocks);
                $multiply(&mut first, factors.at(0), factors.block, factors.blocks);
                let (mut sum, mut difference) = (first, first);
                for tile in 0..$tiles {
                    for half in 0..2 {
                        let (a, b) = (first[tile][half], second[tile][half]);
                        sum[tile][half] = _mm256_add_epi32(a, b);
                        difference[tile][half] = _mm256_sub_epi32(a, b);
                    }
                }
                $multiply(&mut sum, factors.at(1), factors.block, factors.blocks);
                store(&sum, to);
                $multiply(&mut difference, second_z(factors.at(1)), factors.block, factors.blocks);
                store(&difference, to.add(distance));
            }
            $tiles
        }
    };
}

kernel!(two, multiply_two, 2, pair2, [c0 0 0, c1 0 1, c2 1 0, c3 1 1]);
kernel!(four, multiply_four, 4, pair4,
    [c0 0 0, c1 0 1, c2 1 0, c3 1 1, c4 2 0, c5 2 1, c6 3 0, c7 3 1]);
kernel!(six, multiply_six, 6, pair6,
    [c0 0 0, c1 0 1, c2 1 0, c3 1 1, c4 2 0, c5 2 1, c6 3 0, c7 3 1, c8 4 0, c9 4 1, c10 5 0,
     c11 5 1]);

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store<const N: usize>(sums: &Registers<N>, to: *mut i32) {
    for (at, &sum) in sums.iter().flatten().enumerate() {
        // SAFETY: as the caller says.
        unsafe { _mm256_store_si256(to.add(at * BLOCK / 2).cast(), sum) };
    }
}

#[target_feature(enable = "avx2")]
unsafe fn output(mut waiting: Waiting, at: Channels, to: Outputs) {
    let zero = if let Tile::U8(_, zero) = to.to { zero } else { 0 };
    // SAFETY: as the caller says.
    unsafe {
        let constants = Constants::load(at, zero);
        for to in to.tiles() {
            let next = waiting.next();
            for x in 0..to.size.1 {
                let mut sums = transform::output(waiting.first, x);
                for group in 1..waiting.groups {
                    let more = waiting.first.add(group * waiting.distance);
                    add(&mut sums, &transform::output(more, x));
                }
                store_column(&sums, x, &constants, &to);
            }
            waiting = next;
        }
    }
}

/// Column `x` of a tile.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store_column(sums: &Sums, x: usize, constants: &Constants, to: &Outputs) {
    let ((down, across), voxels) = (to.strides, to.size.0);
    // SAFETY: as the caller says; only voxels there are get written.
    unsafe {
        match to.to {
            Tile::U8(first, _) => {
                for y in [0, 2] {
                    let [one, other] = if to.tame {
                        constants.pair_to_u8::<true>(sums[y], sums[y + 1])
                    } else {
                        constants.pair_to_u8::<false>(sums[y], sums[y + 1])
                    };
                    let first = first.wrapping_add(y * down + x * across);
                    if y < voxels {
                        _mm_storeu_si128(first.cast(), one);
                    }
                    if y + 1 < voxels {
                        _mm_storeu_si128(first.add(down).cast(), other);
                    }
                }
            }
            Tile::I16(first) => {
                for (y, &sums) in sums.iter().enumerate().take(voxels) {
                    let to = first.add(y * down + x * across);
                    _mm256_storeu_si256(to.cast(), constants.fitting_to_i16(sums));
                }
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(sums: &mut Sums, more: &Sums) {
    for (sum, more) in sums.iter_mut().flatten().zip(more.iter().flatten()) {
        *sum = _mm256_add_epi32(*sum, *more);
    }
}
