//! What [`Winograd`](super::super::winograd::Winograd) needs of AVX-512.

use std::arch::asm;
use std::arch::x86_64::{
    __m512i, _mm_storeu_si128, _mm256_storeu_si256, _mm512_add_epi32, _mm512_castsi512_si128,
    _mm512_castsi512_si256, _mm512_extracti32x4_epi32, _mm512_extracti64x4_epi64,
    _mm512_setzero_si512, _mm512_store_si512, _mm512_storeu_si512, _mm512_sub_epi32,
};

use super::super::super::layout::BLOCK;
use super::super::path::Channels;
use super::super::winograd::{
    Factors, HALF_LINE, Outputs, Row, Strides, Tile, Waiting, WinogradPath,
};
use super::Avx512;
use super::finish::Constants;
use super::transform;

// SAFETY of all functions: as for `Path`.
impl WinogradPath for Avx512 {
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

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn products(factors: &Factors, tiles: usize, (to, distance): (*mut i32, usize)) {
    let mut tile = 0;
    while tile < tiles {
        let factors = factors.from(tile);
        // SAFETY: there is room for a round of tiles more than there are.
        unsafe {
            let to = (to.add(tile * BLOCK), distance);
            tile += match tiles - tile {
                1 | 2 => two(&factors, to),
                3 | 4 => four(&factors, to),
                5 | 6 | 9 | 10 => six(&factors, to),
                7 | 8 | 13..=16 => eight(&factors, to),
                _ => twelve(&factors, to),
            };
        }
    }
}

/// One tile of one pair of channels, two z: `$tile` is its address, `$pair` the pair's number.
macro_rules! tile {
    ($pair:literal, $tile:literal, $first:literal, $second:literal) => {
        concat!(
            "vpdpwssd {",
            $first,
            "}, {v}, dword ptr [",
            $tile,
            "+4*",
            $pair,
            "]{{1to16}}\n",
            "vpdpwssd {",
            $second,
            "}, {w}, dword ptr [",
            $tile,
            "+32+4*",
            $pair,
            "]{{1to16}}\n",
        )
    };
}

macro_rules! pair2 {
    ($pair:literal) => {
        concat!(
            "vmovdqa64 {v}, [{b}+128*",
            $pair,
            "]\n",
            "vmovdqa64 {w}, [{b}+64+128*",
            $pair,
            "]\n",
            tile!($pair, "{a}", "s0", "d0"),
            tile!($pair, "{a}+64", "s1", "d1"),
        )
    };
}

macro_rules! pair4 {
    ($pair:literal) => {
        concat!(
            pair2!($pair),
            tile!($pair, "{a}+128", "s2", "d2"),
            tile!($pair, "{a}+192", "s3", "d3"),
        )
    };
}

macro_rules! pair6 {
    ($pair:literal) => {
        concat!(
            pair4!($pair),
            tile!($pair, "{a}+256", "s4", "d4"),
            tile!($pair, "{a}+320", "s5", "d5"),
        )
    };
}

macro_rules! pair8 {
    ($pair:literal) => {
        concat!(pair6!($pair), tile!($pair, "{e}", "s6", "d6"), tile!($pair, "{e}+64", "s7", "d7"),)
    };
}

macro_rules! pair12 {
    ($pair:literal) => {
        concat!(
            pair8!($pair),
            tile!($pair, "{e}+128", "s8", "d8"),
            tile!($pair, "{e}+192", "s9", "d9"),
            tile!($pair, "{e}+256", "s10", "d10"),
            tile!($pair, "{e}+320", "s11", "d11"),
        )
    };
}

/// Bytes from the first tile to the one that the second address is of.
const SEVENTH: usize = 6 * 2 * HALF_LINE;

macro_rules! kernel {
    ($name:ident, $multiply:ident, $tiles:literal, $pair:ident, [$($s:ident $d:ident $tile:literal),+]) => {
        /// Adds the products of `blocks` blocks of input channels with the first z's and the second z's
        /// weights. Written as assembly because the compiler spills accumulators and computes addresses
        /// anew.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        unsafe fn $multiply(
            (first, second): (&mut [__m512i; $tiles], &mut [__m512i; $tiles]),
            (inputs, weights): (*const i16, *const i16),
            block: usize,
            blocks: usize,
        ) {
            // Named, because the type says which registers there are.
            let (_v, _w): (__m512i, __m512i);
            // SAFETY: reads what the caller says is there, writes registers only.
            unsafe {
                asm!(
                    // Names the address that fewer tiles do not need.
                    "/* {e} */",
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
                    "add {e}, {s}",
                    "add {b}, 1024",
                    "dec {n}",
                    "jnz 2b",
                    a = inout(reg) inputs => _,
                    e = inout(reg) inputs.wrapping_byte_add(SEVENTH) => _,
                    s = in(reg) 2 * block,
                    b = inout(reg) weights => _,
                    n = inout(reg) blocks => _,
                    v = out(zmm_reg) _v,
                    w = out(zmm_reg) _w,
                    $($s = inout(zmm_reg) first[$tile], $d = inout(zmm_reg) second[$tile],)+
                    options(nostack, readonly),
                );
            }
        }

        /// The four products in z, and the transform back along z at once. Returns the tiles done.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        unsafe fn $name(factors: &Factors, (to, distance): (*mut i32, usize)) -> usize {
            let mut first = [_mm512_setzero_si512(); $tiles];
            let mut second = first;
            // SAFETY: as whoever made the factors says.
            unsafe {
                let at = factors.at(0);
                $multiply((&mut first, &mut second), at, factors.block, factors.blocks);
                let sum = std::array::from_fn(|t| _mm512_add_epi32(first[t], second[t]));
                let difference = std::array::from_fn(|t| _mm512_sub_epi32(first[t], second[t]));
                (first, second) = (sum, difference);
                let at = factors.at(1);
                $multiply((&mut first, &mut second), at, factors.block, factors.blocks);
                for tile in 0..$tiles {
                    let to = to.add(tile * BLOCK);
                    _mm512_store_si512(to.cast(), first[tile]);
                    _mm512_store_si512(to.add(distance).cast(), second[tile]);
                }
            }
            $tiles
        }
    };
}

kernel!(two, multiply_two, 2, pair2, [s0 d0 0, s1 d1 1]);
kernel!(four, multiply_four, 4, pair4, [s0 d0 0, s1 d1 1, s2 d2 2, s3 d3 3]);
kernel!(six, multiply_six, 6, pair6, [s0 d0 0, s1 d1 1, s2 d2 2, s3 d3 3, s4 d4 4, s5 d5 5]);
kernel!(eight, multiply_eight, 8, pair8,
    [s0 d0 0, s1 d1 1, s2 d2 2, s3 d3 3, s4 d4 4, s5 d5 5, s6 d6 6, s7 d7 7]);
kernel!(twelve, multiply_twelve, 12, pair12,
    [s0 d0 0, s1 d1 1, s2 d2 2, s3 d3 3, s4 d4 4, s5 d5 5, s6 d6 6, s7 d7 7, s8 d8 8, s9 d9 9,
     s10 d10 10, s11 d11 11]);

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn output(mut waiting: Waiting, at: Channels, to: Outputs) {
    let zero = if let Tile::U8(_, zero) = to.to { zero } else { 0 };
    // SAFETY: as the caller says.
    unsafe {
        let constants = Constants::load(at, zero);
        for to in to.tiles() {
            let next = waiting.next();
            let mut sums = transform::output(waiting.first);
            for group in 1..waiting.groups {
                let more = transform::output(waiting.first.add(group * waiting.distance));
                for (sum, more) in sums.iter_mut().flatten().zip(more.iter().flatten()) {
                    *sum = _mm512_add_epi32(*sum, *more);
                }
            }
            for (y, &row) in sums.iter().enumerate().take(to.size.0) {
                store(row, y, &constants, &to);
            }
            waiting = next;
        }
    }
}

/// Row `y` of a tile.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn store(row: [__m512i; 4], y: usize, constants: &Constants, to: &Outputs) {
    let ((down, across), voxels) = (to.strides, to.size.1);
    // SAFETY: as the caller says; only voxels there are get written.
    unsafe {
        match to.to {
            Tile::U8(first, _) if to.tame => {
                store_four(
                    constants.four_to_u8::<true>(row),
                    first.add(y * down),
                    (across, voxels),
                );
            }
            Tile::U8(first, _) => {
                for (x, &sums) in row.iter().enumerate().take(voxels) {
                    let to = first.add(y * down + x * across);
                    _mm_storeu_si128(to.cast(), constants.to_u8(sums));
                }
            }
            Tile::I16(first) => {
                for x in (0..voxels).step_by(2) {
                    let two = constants.two_to_i16([row[x], row[x + 1]]);
                    let to = first.add(y * down + x * across);
                    _mm256_storeu_si256(to.cast(), _mm512_castsi512_si256(two));
                    if x + 1 < voxels {
                        let second = _mm512_extracti64x4_epi64::<1>(two);
                        _mm256_storeu_si256(to.add(across).cast(), second);
                    }
                }
            }
        }
    }
}

/// Up to four voxels, `stride` bytes apart.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn store_four(four: __m512i, to: *mut u8, (stride, voxels): (usize, usize)) {
    // SAFETY: as the caller says.
    unsafe {
        if voxels == 4 && stride == BLOCK {
            return _mm512_storeu_si512(to.cast(), four);
        }
        _mm_storeu_si128(to.cast(), _mm512_castsi512_si128(four));
        if voxels > 1 {
            _mm_storeu_si128(to.add(stride).cast(), _mm512_extracti32x4_epi32::<1>(four));
        }
        if voxels > 2 {
            _mm_storeu_si128(to.add(2 * stride).cast(), _mm512_extracti32x4_epi32::<2>(four));
        }
        if voxels > 3 {
            _mm_storeu_si128(to.add(3 * stride).cast(), _mm512_extracti32x4_epi32::<3>(four));
        }
    }
}
