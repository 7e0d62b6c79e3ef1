//! 3×3×3 convolution with stride 1 by F(4×4×2, 3×3×3): 4.5 products per output instead of 27.
//!
//! A unit takes a number of tiles: it transforms their inputs, multiplies (one small product of matrices
//! per transformed value, over the input channels), transforms back, and finishes. See `transform` for
//! why all of it is exact; the packer splits the input channels into groups so that no group's sum leaves
//! the range that the division needs.

use std::arch::x86_64::{
    __m256i, _MM_HINT_T0, _mm_prefetch, _mm_storeu_si128, _mm256_add_epi32, _mm256_setzero_si256,
    _mm256_store_si256, _mm256_storeu_si256, _mm256_sub_epi32,
};

use super::super::super::layout::{BLOCK, Layout};
use super::super::super::memory::Packed;
use super::super::super::program::Conv;
use super::super::finish::{Finishing, Target};
use super::super::{Kernel, Place};
use super::Registers;
use super::finish::Constants;
use super::multiply::by_eight::{multiply2, multiply4, multiply6};
pub(crate) use super::transform::SHIFT;
use super::transform::{
    self, COLUMNS, DEPTH, Outputs, PLANE, PRODUCTS_LEN, Strides, TILE, TILE_LEN,
};

/// Tiles of a unit while the weights stay in the cache.
const TILES: usize = 12;
/// Tiles of a unit where they do not, so that they are read less often.
const MANY_TILES: usize = 32;
/// Bytes of transformed weights that the cache holds.
const CACHED_WEIGHTS: usize = 10 << 20;
/// The largest sum of absolute weights of a group: 128 · this · 2⁷ fits in 31 bits.
const MOST_WEIGHT: u64 = (1 << 17) - 1;
/// Values of sixteen input channels' weights for one transformed value.
const WEIGHTS_LEN: usize = BLOCK * BLOCK;

/// A 3×3×3 convolution, packed.
pub(crate) struct Winograd {
    inputs: Vec<(Layout, [usize; 3])>,
    /// Blocks of sixteen input channels.
    depth: usize,
    /// Blocks of input channels that are added before the division, as ranges.
    groups: Vec<std::ops::Range<usize>>,
    /// `[block out][y · 6 + x][z][channel pair in][channel of the block][2]`.
    weights: Packed<i16>,
    finishing: Finishing,
    /// Tiles along `[z, y, x]`.
    tiles: [usize; 3],
    tiles_per_unit: usize,
    channel_parts: usize,
}

impl Winograd {
    /// Packs `op`, whose inputs have `channels` channels and lie at `layouts`.
    pub(crate) fn new(
        op: &Conv,
        (layouts, channels): (&[Layout], &[usize]),
        finishing: Finishing,
        threads: usize,
    ) -> Self {
        let size = finishing.target().size();
        let tiles = [0, 1, 2].map(|axis| size[axis].div_ceil(TILE[axis]));
        let corner =
            |layout: &Layout| [0, 1, 2].map(|axis| layout.front[axis] - op.window.before[axis]);
        let blocks = finishing.blocks();
        let depth = layouts.iter().map(|layout| layout.channels / BLOCK).sum();
        let (weights, groups) = pack(op, channels, (depth, blocks));
        let total = tiles.iter().product::<usize>();
        let tiles_per_unit = tiles_per_unit(total, weights.bytes(), threads);
        let few = total.div_ceil(tiles_per_unit) < 2 * threads && threads > 1;
        Self {
            inputs: layouts.iter().map(|layout| (*layout, corner(layout))).collect(),
            depth,
            groups,
            weights,
            finishing,
            tiles,
            tiles_per_unit,
            channel_parts: if few { blocks.min(2) } else { 1 },
        }
    }

    fn total_tiles(&self) -> usize {
        self.tiles.iter().product()
    }

    /// Tile `index` along `[z, y, x]`.
    fn place(&self, index: usize) -> [usize; 3] {
        let [_, ny, nx] = self.tiles;
        [index / (ny * nx), index / nx % ny, index % nx]
    }

    /// Tiles there is scratch memory for: products are made for whole rounds.
    fn rounded(&self) -> usize {
        self.tiles_per_unit.next_multiple_of(6)
    }

    fn transformed_len(&self) -> usize {
        self.rounded() * self.depth * TILE_LEN
    }

    fn products_len(&self) -> usize {
        self.groups.len() * self.rounded() * PRODUCTS_LEN
    }

    #[target_feature(enable = "avx2")]
    unsafe fn transform(
        &self,
        tiles: std::ops::Range<usize>,
        place: Place<'_>,
        (to, columns): (*mut i16, *mut __m256i),
    ) {
        let mut index = tiles.start;
        while index < tiles.end {
            let [z, y, x] = self.place(index);
            let run = (self.tiles[2] - x).min(tiles.end - index);
            let mut block = 0;
            for (layout, corner) in &self.inputs {
                let at =
                    [corner[0] + z * TILE[0], corner[1] + y * TILE[1], corner[2] + x * TILE[2]];
                let strides = Strides { z: layout.plane(), y: layout.row(), x: layout.channels };
                for channel in (0..layout.channels).step_by(BLOCK) {
                    let first = (index - tiles.start) * self.depth + block;
                    // SAFETY: the halo is rounded up to whole tiles, scratch holds the unit's.
                    unsafe {
                        let from = place.at::<u8>(layout.offset + layout.at(at) + channel);
                        let to = (to.add(first * TILE_LEN), self.depth * TILE_LEN);
                        transform::input((from, strides), run, to, columns);
                    }
                    block += 1;
                }
            }
            index += run;
        }
    }

    /// Products of one block of output channels.
    #[target_feature(enable = "avx2")]
    unsafe fn multiply(&self, block: usize, tiles: usize, from: *const i16, to: *mut i32) {
        let stride = self.depth * TILE_LEN;
        for (number, group) in self.groups.iter().enumerate() {
            for tap in 0..PLANE {
                let weights =
                    ((block * PLANE + tap) * DEPTH * self.depth + group.start) * WEIGHTS_LEN;
                let mut tile = 0;
                while tile < tiles {
                    // SAFETY: scratch holds whole rounds of tiles, the weights all taps and blocks.
                    unsafe {
                        let factors = Factors {
                            inputs: from
                                .add(tile * stride + group.start * TILE_LEN + tap * DEPTH * BLOCK),
                            stride,
                            weights: self.weights.pointer().add(weights),
                            plane: self.depth * WEIGHTS_LEN,
                            blocks: group.len(),
                        };
                        let to =
                            to.add((number * self.rounded() + tile) * PRODUCTS_LEN + tap * BLOCK);
                        tile += match tiles - tile {
                            1 | 2 => factors.two(to),
                            3 | 4 | 7 | 8 => factors.four(to),
                            _ => factors.six(to),
                        };
                    }
                }
            }
        }
    }

    /// Transforms products back and stores what the finish makes of them.
    #[target_feature(enable = "avx2")]
    unsafe fn finish(
        &self,
        block: usize,
        tiles: std::ops::Range<usize>,
        products: *const i32,
        place: Place<'_>,
    ) {
        let zero = match self.finishing.target() {
            Target::Quantised { zero, .. } => *zero,
            Target::Staged(_) | Target::Real { .. } => 0,
        };
        let size = self.finishing.target().size();
        // SAFETY: scratch holds the products, and every tile is this unit's own.
        unsafe {
            let constants = Constants::load(self.finishing.channels(block, 0), zero);
            for (number, index) in tiles.enumerate() {
                let [tz, ty, tx] = self.place(index);
                for z in 0..TILE[0].min(size[0] - tz * TILE[0]) {
                    let from = products.add((number * TILE[0] + z) * PLANE * BLOCK);
                    let mut sums = transform::output(from);
                    for group in 1..self.groups.len() {
                        let more = from.add(group * self.rounded() * PRODUCTS_LEN);
                        add(&mut sums, &transform::output(more));
                    }
                    let at = [tz * TILE[0] + z, ty * TILE[1], tx * TILE[2]];
                    self.store(&sums, &constants, (block, at), place);
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store(
        &self,
        sums: &Outputs,
        constants: &Constants,
        (block, at): (usize, [usize; 3]),
        place: Place<'_>,
    ) {
        let size = self.finishing.target().size();
        let (rows, width) = (TILE[1].min(size[1] - at[1]), TILE[2].min(size[2] - at[2]));
        for (y, row) in sums.iter().enumerate().take(rows) {
            let at = [at[0], at[1] + y, at[2]];
            // SAFETY: voxels of the value, in this unit's tile.
            unsafe {
                match *self.finishing.target() {
                    Target::Quantised { layout, .. } => {
                        let to = place.at::<u8>(layout.offset + layout.voxel(at) + block * BLOCK);
                        for x in [0, 2] {
                            let [first, second] = constants.pair_to_u8(row[x], row[x + 1]);
                            let to = to.add(x * layout.channels);
                            if x < width {
                                _mm_storeu_si128(to.cast(), first);
                            }
                            if x + 1 < width {
                                _mm_storeu_si128(to.add(layout.channels).cast(), second);
                            }
                        }
                    }
                    Target::Staged(layout) => {
                        let to = place.at::<i16>(layout.offset);
                        let to = to.add(layout.voxel(at) + block * BLOCK);
                        for (x, &sums) in row.iter().enumerate().take(width) {
                            let to = to.add(x * layout.channels);
                            _mm256_storeu_si256(to.cast(), constants.to_i16(sums));
                        }
                    }
                    Target::Real { .. } => {}
                }
            }
        }
    }
}

impl Kernel for Winograd {
    fn units(&self) -> usize {
        self.total_tiles().div_ceil(self.tiles_per_unit) * self.channel_parts
    }

    fn scratch(&self) -> usize {
        COLUMNS * size_of::<__m256i>()
            + self.transformed_len() * size_of::<i16>()
            + self.products_len() * size_of::<i32>()
    }

    fn weights(&self) -> usize {
        self.weights.bytes()
    }

    unsafe fn unit(&self, unit: usize, place: Place<'_>, scratch: *mut u8) {
        let (unit, part) = (unit / self.channel_parts, unit % self.channel_parts);
        let first = unit * self.tiles_per_unit;
        let tiles = first..(first + self.tiles_per_unit).min(self.total_tiles());
        let blocks = self.finishing.blocks();
        let share = |part: usize| blocks * part / self.channel_parts;
        // SAFETY: `Isa::available` was asked; scratch has room for all three parts, each a multiple of
        // 64 bytes long.
        unsafe {
            let columns = scratch.cast::<__m256i>();
            let transformed = columns.add(COLUMNS).cast::<i16>();
            let products = transformed.add(self.transformed_len()).cast::<i32>();
            self.transform(tiles.clone(), place, (transformed, columns));
            for block in share(part)..share(part + 1) {
                self.multiply(block, tiles.len(), transformed, products);
                self.finish(block, tiles.clone(), products, place);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(sums: &mut Outputs, more: &Outputs) {
    for (sum, more) in sums.iter_mut().flatten().flatten().zip(more.iter().flatten().flatten()) {
        *sum = _mm256_add_epi32(*sum, *more);
    }
}

/// The two sides of a product: a transformed value in the plane, all four in z.
struct Factors {
    inputs: *const i16,
    /// i16 from tile to tile.
    stride: usize,
    weights: *const i16,
    /// i16 from one z to the next.
    plane: usize,
    /// Blocks of input channels.
    blocks: usize,
}

macro_rules! products {
    ($name:ident, $tiles:literal, $multiply:ident) => {
        /// The four products in z, and the transform back along z at once. Returns the tiles done.
        #[inline]
        #[target_feature(enable = "avx2")]
        unsafe fn $name(&self, to: *mut i32) -> usize {
            // SAFETY: as whoever made the factors says.
            unsafe {
                self.prefetch($tiles);
                let mut middle = [[_mm256_setzero_si256(); 2]; $tiles];
                $multiply(&mut middle, self.at(1), self.strides(), self.blocks);
                let mut lower = middle;
                $multiply(&mut lower, self.at(0), self.strides(), self.blocks);
                let mut third = [[_mm256_setzero_si256(); 2]; $tiles];
                $multiply(&mut third, self.at(2), self.strides(), self.blocks);
                store(&lower, &third, to, |a, b| _mm256_add_epi32(a, b));
                $multiply(&mut third, self.at(3), self.strides(), self.blocks);
                store(&middle, &third, to.add(PLANE * BLOCK), |a, b| _mm256_sub_epi32(a, b));
            }
            $tiles
        }
    };
}

impl Factors {
    products!(two, 2, multiply2);
    products!(four, 4, multiply4);
    products!(six, 6, multiply6);

    fn at(&self, z: usize) -> (*const i16, *const i16) {
        (self.inputs.wrapping_add(z * BLOCK), self.weights.wrapping_add(z * self.plane))
    }

    /// Bytes from tile to tile, and from one block of input channels to the next.
    fn strides(&self) -> (usize, usize) {
        (2 * self.stride, 2 * TILE_LEN)
    }

    /// What the next transformed value will need.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn prefetch(&self, tiles: usize) {
        for tile in 0..tiles {
            for block in 0..self.blocks {
                let next = tile * self.stride + block * TILE_LEN + DEPTH * BLOCK;
                let next = self.inputs.wrapping_add(next).cast::<i8>();
                _mm_prefetch::<_MM_HINT_T0>(next);
                _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(64));
            }
        }
    }
}

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

/// Tiles of a unit: units alike, and a multiple of the threads.
fn tiles_per_unit(total: usize, weights: usize, threads: usize) -> usize {
    let most = if weights > CACHED_WEIGHTS { MANY_TILES } else { TILES };
    let units = total.div_ceil(most).next_multiple_of(threads);
    total.div_ceil(units)
}

/// Transformed weights, and the groups of input blocks that may be added before the division.
fn pack(
    op: &Conv,
    channels: &[usize],
    (depth, blocks): (usize, usize),
) -> (Packed<i16>, Vec<std::ops::Range<usize>>) {
    let total: usize = channels.iter().sum();
    let outputs = op.weights.len() / (total * 27);
    let mut packed = Packed::zeros(blocks * PLANE * DEPTH * depth * WEIGHTS_LEN);
    let target = packed.as_mut_slice();
    let mut sizes = vec![vec![0u64; outputs]; depth];
    let (mut from, mut first_block) = (0, 0);
    for &count in channels {
        for c in 0..count {
            let (block, lane) = (first_block + c / BLOCK, c % BLOCK);
            for (out, size) in sizes[block].iter_mut().enumerate() {
                let weights = &op.weights[(out * total + from + c) * 27..][..27];
                *size += weights.iter().map(|w| u64::from(w.unsigned_abs())).sum::<u64>();
                for (tap, values) in transform::weights(weights).iter().enumerate() {
                    for (z, &value) in values.iter().enumerate() {
                        let plane = ((out / BLOCK * PLANE + tap) * DEPTH + z) * depth + block;
                        let place = (lane / 2 * BLOCK + out % BLOCK) * 2 + lane % 2;
                        target[plane * WEIGHTS_LEN + place] = value;
                    }
                }
            }
        }
        from += count;
        first_block += count.div_ceil(BLOCK);
    }
    (packed, groups(&sizes))
}

/// As few as possible: a block joins the group before it unless a channel's weights grow too large.
fn groups(sizes: &[Vec<u64>]) -> Vec<std::ops::Range<usize>> {
    let mut groups: Vec<std::ops::Range<usize>> = Vec::new();
    let mut so_far: Vec<u64> = Vec::new();
    for (block, size) in sizes.iter().enumerate() {
        let joined: Vec<u64> = so_far.iter().zip(size).map(|(a, b)| a + b).collect();
        match groups.last_mut() {
            Some(group) if joined.iter().all(|&sum| sum <= MOST_WEIGHT) => {
                group.end = block + 1;
                so_far = joined;
            }
            _ => {
                groups.push(block..block + 1);
                so_far.clone_from(size);
            }
        }
    }
    groups
}
