//! 3×3×3 convolution with stride 1 by F(4×4×2, 3×3×3): 4.5 products per output instead of 27.
//!
//! A unit takes a number of tiles: it transforms their inputs, multiplies (one small product of matrices
//! per transformed value, over the input channels), transforms back, and finishes.
//!
//! Along y and x the transform is F(4, 3), along z F(2, 3), all in integers: weights are multiplied by 24
//! (or 12, for outputs 1 to 3 of four) and by 2, and the sums are divided by it exactly.
//!
//! Input: with B₄ᵀ and B₂ᵀ rows of absolute sum ≤ 10 and ≤ 2, u8 less 128 stays within 128 · 10 · 10 · 2 =
//! 25,600. Taking 128 from every input changes one transformed value only, the one whose three rows do
//! not sum to 0: [`SHIFTED`] is subtracted there.
//!
//! Output: sums are linear modulo 2³², so what overflows on the way does no harm; only the last value must
//! fit: the packer splits the input channels into groups for it. 24 · 24 · 2 = 9 · 2⁷: multiplied by the
//! inverse of 9 modulo 2³² and shifted.

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::marker::PhantomData;
use std::ops::Range;

use super::super::layout::{BLOCK, Layout};
use super::super::memory::Packed;
use super::super::program::Conv;
use super::finish::{Finishing, Target};
use super::path::Channels;
use super::transformed::pack;
use super::{Kernel, Place};

/// Outputs of a tile, `[z, y, x]`.
pub(crate) const TILE: [usize; 3] = [2, 4, 4];
/// Transformed values of a tile in one plane: 6 × 6.
pub(crate) const PLANE: usize = 36;
/// Transformed planes.
pub(crate) const DEPTH: usize = 4;
/// i16 of one tile and sixteen channels, `[y · 6 + x][z][channel]`.
pub(crate) const TILE_LEN: usize = PLANE * DEPTH * BLOCK;
/// i32 of one tile's products and sixteen channels, `[z of the output][y · 6 + x][channel]`.
pub(crate) const PRODUCTS_LEN: usize = 2 * PLANE * BLOCK;
/// What is taken from every input.
pub(crate) const SHIFT: i32 = 128;
/// Where the shift does not cancel, as `(y · DEPTH + z, x)`, and what it is worth there.
pub(crate) const SHIFTED: ((usize, usize), i16) = ((5, 1), 6 * 6 * 2 * 128);
/// The inverse of 9 modulo 2³².
pub(crate) const NINTH: i32 = 954_437_177;
/// 24 · 24 · 2 / 9 as a power of two.
pub(crate) const POWER: i32 = 7;
/// Values of sixteen input channels' weights for one transformed value.
pub(crate) const WEIGHTS_LEN: usize = BLOCK * BLOCK;
/// Bytes of scratch memory for the columns of an input transform: six y by four z, of eight columns and
/// of one between z and y.
const COLUMNS_BYTES: usize = 9 * 6 * DEPTH * 2 * BLOCK;

/// Tiles of a unit while the weights stay in the cache.
const TILES: usize = 12;
/// Tiles of a unit where they do not, so that they are read less often.
const MANY_TILES: usize = 32;
/// Bytes of transformed weights that the cache holds.
const CACHED_WEIGHTS: usize = 10 << 20;
/// Products are made for up to this many tiles more than there are.
const ROUND: usize = 12;

/// What a path must be able to do.
///
/// # Safety
/// As for [`Path`](super::path::Path).
pub(crate) trait WinogradPath: Send + Sync + 'static {
    /// Transforms sixteen channels of `tiles` tiles that lie side by side in x: from `from` on, to `to`
    /// and every `distance` values. Four planes of six rows of `4 · tiles + 2` voxels are there to be
    /// read; `columns` holds `COLUMNS_BYTES`.
    unsafe fn input(
        from: (*const u8, Strides),
        tiles: usize,
        to: (*mut i16, usize),
        columns: *mut u8,
    );

    /// The products of one transformed value in the plane, all four in z, transformed back along z:
    /// `tiles` tiles, and up to [`ROUND`] in all.
    unsafe fn products(factors: &Factors, tiles: usize, to: *mut i32);

    /// Transforms the products of a plane back, one set per group, each `distance` values from the one
    /// before, and stores up to 4 × 4 voxels.
    unsafe fn output(products: Products, at: Channels, to: Outputs);
}

/// Elements between the rows that tiles are read from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strides {
    pub(crate) z: usize,
    pub(crate) y: usize,
    pub(crate) x: usize,
}

impl Strides {
    /// Four columns of a tile from `from` on: 24 rows that the processor does not foresee by itself.
    #[inline]
    pub(crate) fn prefetch_columns(&self, from: *const u8) {
        for y in 0..6 {
            for z in 0..DEPTH {
                let row = from.wrapping_add(y * self.y + z * self.z);
                for at in (0..4 * self.x).step_by(self.x.max(64)) {
                    prefetch(row.wrapping_add(at));
                }
            }
        }
    }
}

#[inline]
fn prefetch(from: *const u8) {
    // SAFETY: a prefetch may name any address, and every x86-64 has it.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) };
}

/// The two sides of a product: a transformed value in the plane, all four in z.
pub(crate) struct Factors {
    pub(crate) inputs: *const i16,
    /// i16 from tile to tile.
    pub(crate) stride: usize,
    pub(crate) weights: *const i16,
    /// i16 from one z to the next.
    pub(crate) plane: usize,
    /// Blocks of input channels.
    pub(crate) blocks: usize,
}

impl Factors {
    /// Inputs and weights of one z.
    pub(crate) fn at(&self, z: usize) -> (*const i16, *const i16) {
        (self.inputs.wrapping_add(z * BLOCK), self.weights.wrapping_add(z * self.plane))
    }

    /// Bytes from tile to tile, and from one block of input channels to the next.
    pub(crate) fn strides(&self) -> (usize, usize) {
        (2 * self.stride, 2 * TILE_LEN)
    }

    /// What the next transformed value of `tiles` tiles will need.
    #[inline]
    pub(crate) fn prefetch_next(&self, tiles: usize) {
        for tile in 0..tiles {
            for block in 0..self.blocks {
                let next = tile * self.stride + block * TILE_LEN + DEPTH * BLOCK;
                let next = self.inputs.wrapping_add(next).cast::<u8>();
                prefetch(next);
                prefetch(next.wrapping_add(64));
            }
        }
    }

    /// The factors of the tiles from `tile` on.
    pub(crate) fn from(&self, tile: usize) -> Self {
        Self { inputs: self.inputs.wrapping_add(tile * self.stride), ..*self }
    }
}

/// Products of one plane of one tile.
#[derive(Clone, Copy)]
pub(crate) struct Products {
    pub(crate) first: *const i32,
    pub(crate) groups: usize,
    pub(crate) distance: usize,
}

/// Where the voxels of a plane go.
#[derive(Clone, Copy)]
pub(crate) struct Outputs {
    pub(crate) to: Tile,
    /// Elements from voxel to voxel along y and x.
    pub(crate) strides: (usize, usize),
    /// Voxels there are along y and x, 1..=4.
    pub(crate) size: (usize, usize),
}

/// Voxel 0 of a plane.
#[derive(Clone, Copy)]
pub(crate) enum Tile {
    /// u8 with their zero point.
    U8(*mut u8, u8),
    /// Staged values.
    I16(*mut i16),
}

/// A 3×3×3 convolution, packed.
pub(crate) struct Winograd<W> {
    inputs: Vec<(Layout, [usize; 3])>,
    /// Blocks of sixteen input channels.
    depth: usize,
    /// Blocks of input channels that are added before the division, as ranges.
    groups: Vec<Range<usize>>,
    /// `[block out][y · 6 + x][z][channel pair in][channel of the block][2]`.
    weights: Packed<i16>,
    finishing: Finishing,
    /// Tiles along `[z, y, x]`.
    tiles: [usize; 3],
    tiles_per_unit: usize,
    channel_parts: usize,
    path: PhantomData<W>,
}

impl<W: WinogradPath> Winograd<W> {
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
            path: PhantomData,
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
        self.tiles_per_unit + ROUND
    }

    fn transformed_len(&self) -> usize {
        self.rounded() * self.depth * TILE_LEN
    }

    fn products_len(&self) -> usize {
        self.groups.len() * self.rounded() * PRODUCTS_LEN
    }

    unsafe fn transform(
        &self,
        tiles: Range<usize>,
        place: Place<'_>,
        (to, columns): (*mut i16, *mut u8),
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
                        W::input((from, strides), run, to, columns);
                    }
                    block += 1;
                }
            }
            index += run;
        }
    }

    /// Products of one block of output channels.
    unsafe fn multiply(&self, block: usize, tiles: usize, from: *const i16, to: *mut i32) {
        for (number, group) in self.groups.iter().enumerate() {
            for tap in 0..PLANE {
                let weights =
                    ((block * PLANE + tap) * DEPTH * self.depth + group.start) * WEIGHTS_LEN;
                // SAFETY: scratch holds a round of tiles more than there are, the weights all taps and
                // blocks.
                unsafe {
                    let factors = Factors {
                        inputs: from.add(group.start * TILE_LEN + tap * DEPTH * BLOCK),
                        stride: self.depth * TILE_LEN,
                        weights: self.weights.pointer().add(weights),
                        plane: self.depth * WEIGHTS_LEN,
                        blocks: group.len(),
                    };
                    let to = to.add(number * self.rounded() * PRODUCTS_LEN + tap * BLOCK);
                    W::products(&factors, tiles, to);
                }
            }
        }
    }

    /// Transforms products back and stores what the finish makes of them.
    unsafe fn finish(
        &self,
        block: usize,
        tiles: Range<usize>,
        products: *const i32,
        place: Place<'_>,
    ) {
        let size = self.finishing.target().size();
        let channels = self.finishing.channels(block, 0);
        for (number, index) in tiles.enumerate() {
            let [tz, ty, tx] = self.place(index);
            for z in 0..TILE[0].min(size[0] - tz * TILE[0]) {
                let at = [tz * TILE[0] + z, ty * TILE[1], tx * TILE[2]];
                // SAFETY: scratch holds the products, and every tile is this unit's own.
                unsafe {
                    let products = Products {
                        first: products.add((number * TILE[0] + z) * PLANE * BLOCK),
                        groups: self.groups.len(),
                        distance: self.rounded() * PRODUCTS_LEN,
                    };
                    if let Some(to) = self.outputs(block, at, place) {
                        W::output(products, channels, to);
                    }
                }
            }
        }
    }

    /// Where a plane of a tile goes; `None` for outputs in f32, which this kernel is not made for.
    unsafe fn outputs(&self, block: usize, at: [usize; 3], place: Place<'_>) -> Option<Outputs> {
        let size = self.finishing.target().size();
        // SAFETY: `at` is a voxel of the value.
        let (to, layout) = unsafe {
            match *self.finishing.target() {
                Target::Quantised { layout, zero } => {
                    let to = place.at::<u8>(layout.offset + layout.voxel(at) + block * BLOCK);
                    (Tile::U8(to, zero), layout)
                }
                Target::Staged(layout) => {
                    let to = place.at::<i16>(layout.offset).add(layout.voxel(at) + block * BLOCK);
                    (Tile::I16(to), layout)
                }
                Target::Real { .. } => return None,
            }
        };
        let size = (TILE[1].min(size[1] - at[1]), TILE[2].min(size[2] - at[2]));
        Some(Outputs { to, strides: (layout.row(), layout.channels), size })
    }
}

impl<W: WinogradPath> Kernel for Winograd<W> {
    fn units(&self) -> usize {
        self.total_tiles().div_ceil(self.tiles_per_unit) * self.channel_parts
    }

    fn scratch(&self) -> usize {
        COLUMNS_BYTES
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
        // SAFETY: scratch has room for all three parts, each a multiple of 64 bytes long.
        unsafe {
            let transformed = scratch.add(COLUMNS_BYTES).cast::<i16>();
            let products = transformed.add(self.transformed_len()).cast::<i32>();
            self.transform(tiles.clone(), place, (transformed, scratch));
            for block in share(part)..share(part + 1) {
                self.multiply(block, tiles.len(), transformed, products);
                self.finish(block, tiles.clone(), products, place);
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
