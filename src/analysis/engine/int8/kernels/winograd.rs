//! 3×3×3 convolution with stride 1 by F(4×4×2, 3×3×3): 4.5 products per output instead of 27.
//!
//! A unit takes a number of tiles. It transforms their inputs along z and y, column by column; then, for
//! each of the six transformed rows, along x, multiplies (one small product of matrices per transformed
//! value, over the input channels), and transforms back along z and x; at last it transforms back along y
//! and finishes. So what the products read and write is one row of the tiles, which stays in the first
//! cache, and what waits for the other rows has two thirds of the size.
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

use std::arch::asm;
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::marker::PhantomData;
use std::ops::Range;

use super::super::layout::{BLOCK, Layout};
use super::super::memory::Packed;
use super::super::program::{Conv, Finish};
use super::finish::{Finishing, Target};
use super::path::Channels;
use super::transformed::pack;
use super::{Kernel, Place};

/// Outputs of a tile, `[z, y, x]`.
pub(crate) const TILE: [usize; 3] = [2, 4, 4];
/// Transformed values of a tile along y, and along x.
pub(crate) const SIDE: usize = 6;
/// Transformed values of a tile along z, in the order of `transformed::G2`.
pub(crate) const DEPTH: usize = 4;
/// Values of sixteen channels at one transformed y and x: four z, two by two.
pub(crate) const LINE: usize = DEPTH * BLOCK;
/// Values of half a [`LINE`].
pub(crate) const HALF_LINE: usize = LINE / 2;
/// Values of one tile that wait for the transform back along y, `[z][y][x][channel]`.
pub(crate) const WAITING: usize = TILE[0] * WAITING_PLANE;
/// Those of one z.
pub(crate) const WAITING_PLANE: usize = SIDE * TILE[2] * BLOCK;
/// What is taken from every input.
pub(crate) const SHIFT: i32 = 128;
/// Where the shift does not cancel: row 1, in the first of the four z, at x = 1; and what it is worth.
pub(crate) const SHIFTED: (usize, usize, i16) = (1, 1, 6 * 6 * 2 * 128);
/// The inverse of 9 modulo 2³².
pub(crate) const NINTH: i32 = 954_437_177;
/// 24 · 24 · 2 / 9 as a power of two.
pub(crate) const POWER: i32 = 7;
/// Values of sixteen input channels' weights for two transformed values.
pub(crate) const WEIGHTS_LEN: usize = 2 * BLOCK * BLOCK;

/// Tiles of a unit while the weights stay in the cache.
const TILES: usize = 12;
/// Tiles of a unit where they do not, so that they are read less often.
const MANY_TILES: usize = 24;
/// Bytes of transformed weights that the cache holds.
const CACHED_WEIGHTS: usize = 1 << 20;
/// The tiles that are multiplied at once are a multiple of this.
const ROUND: usize = 2;

/// What a path must be able to do.
///
/// # Safety
/// As for [`Path`](super::path::Path).
pub(crate) trait WinogradPath: Send + Sync + 'static {
    /// Transforms sixteen channels of `columns` columns that lie side by side in x, along z and y: from
    /// `from` on, to `to`, `[y][column][LINE]`, with so many values from y to y. Four planes of six rows
    /// are there to be read.
    unsafe fn columns(from: (*const u8, Strides), columns: usize, to: (*mut i16, usize));

    /// Transforms `tiles` tiles of one row along x, `shifted` if it is row `SHIFTED.0`.
    unsafe fn across(from: *const i16, tiles: usize, shifted: bool, to: Row);

    /// The products of one row at one x, all four in z, transformed back along z: `tiles` tiles, and up
    /// to a round in all, to `to`, `[z][tile][channel]`, with so many values from z to z.
    unsafe fn products(factors: &Factors, tiles: usize, to: (*mut i32, usize));

    /// Transforms products of one row of `tiles` tiles back along x: from `[x][z][tile][channel]`, with so
    /// many values from z to z, to `[tile][z][y][x][channel]`.
    unsafe fn back(from: (*const i32, usize), tiles: usize, to: *mut i32);

    /// Transforms a plane of tiles side by side in x back along y, one set of values per group, each
    /// `distance` values from the one before, and stores as many voxels as there are.
    unsafe fn output(waiting: Waiting, at: Channels, to: Outputs);
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
        let step = self.x.max(64);
        let mut row = from;
        for _ in 0..SIDE {
            let mut at = row;
            for _ in 0..4 * self.x / step {
                for z in 0..DEPTH {
                    prefetch(at.wrapping_add(z * self.z));
                }
                at = plain(at.wrapping_add(step));
            }
            row = plain(row.wrapping_add(self.y));
        }
    }
}

/// The same address. The compiler, which would otherwise keep one register or place on the stack per row
/// and count all of them up, takes it as it comes.
#[allow(clippy::pointers_in_nomem_asm_block, reason = "nothing is read or written through it")]
#[inline]
pub(crate) fn plain<T>(mut address: *const T) -> *const T {
    // SAFETY: does nothing.
    unsafe {
        asm!("/* {} */", inout(reg) address, options(pure, nomem, nostack, preserves_flags));
    }
    address
}

#[inline]
fn prefetch(from: *const u8) {
    // SAFETY: a prefetch may name any address, and every x86-64 has it.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) };
}

/// Where a row of tiles transformed along x goes, and where products take it from: `[x][half of the
/// z][block][tile]`, each a [`HALF_LINE`]. The tiles of a block lie one behind the other.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) first: *mut i16,
    /// i16 from one half to the next.
    pub(crate) half: usize,
}

/// The two sides of a product: the values of one row at one x, all four in z.
pub(crate) struct Factors {
    /// Those of the first half of the z.
    pub(crate) inputs: *const i16,
    /// i16 from the first half to the second.
    pub(crate) half: usize,
    /// i16 from one block of input channels to the next.
    pub(crate) block: usize,
    /// `[half of the z][block in][channel pair in][z][channel][2]`.
    pub(crate) weights: *const i16,
    /// i16 from the first half to the second.
    pub(crate) weights_half: usize,
    /// Blocks of input channels.
    pub(crate) blocks: usize,
}

impl Factors {
    /// Inputs and weights of one half.
    #[inline]
    pub(crate) fn at(&self, half: usize) -> (*const i16, *const i16) {
        let weights = self.weights.wrapping_add(half * self.weights_half);
        (self.inputs.wrapping_add(half * self.half), weights)
    }

    /// The factors of the tiles from `tile` on.
    #[inline]
    pub(crate) fn from(&self, tile: usize) -> Self {
        Self { inputs: self.inputs.wrapping_add(tile * HALF_LINE), ..*self }
    }
}

/// What waits for the transform back along y, of one plane of tiles: `[y][x][channel]`, every [`WAITING`]
/// values.
#[derive(Clone, Copy)]
pub(crate) struct Waiting {
    pub(crate) first: *const i32,
    pub(crate) groups: usize,
    /// i32 from group to group.
    pub(crate) distance: usize,
}

impl Waiting {
    /// What waits of the next tile, which is to be fetched ahead.
    #[inline]
    pub(crate) fn next(&self) -> Self {
        let first = self.first.wrapping_add(WAITING);
        for line in 0..WAITING_PLANE / BLOCK {
            prefetch(first.wrapping_add(line * BLOCK).cast());
        }
        Self { first, ..*self }
    }
}

/// Where the voxels of a plane go.
#[derive(Clone, Copy)]
pub(crate) struct Outputs {
    pub(crate) to: Tile,
    /// Elements from voxel to voxel along y and x.
    pub(crate) strides: (usize, usize),
    /// Voxels there are along y, 1..=4, and x.
    pub(crate) size: (usize, usize),
    /// The values are [`tame`].
    pub(crate) tame: bool,
}

impl Outputs {
    /// Tile by tile: where it goes, and how many voxels of it there are along x.
    #[inline]
    pub(crate) fn tiles(self) -> impl Iterator<Item = Self> {
        let (height, width) = self.size;
        (0..width).step_by(TILE[2]).map(move |x| {
            let to = self.to.after(x * self.strides.1);
            Self { to, size: (height, TILE[2].min(width - x)), ..self }
        })
    }
}

/// Voxel 0 of a plane.
#[derive(Clone, Copy)]
pub(crate) enum Tile {
    /// u8 with their zero point.
    U8(*mut u8, u8),
    /// Staged values.
    I16(*mut i16),
}

impl Tile {
    #[inline]
    fn after(self, elements: usize) -> Self {
        match self {
            Self::U8(first, zero) => Self::U8(first.wrapping_add(elements), zero),
            Self::I16(first) => Self::I16(first.wrapping_add(elements)),
        }
    }
}

/// A 3×3×3 convolution, packed.
pub(crate) struct Winograd<W> {
    inputs: Vec<(Layout, [usize; 3])>,
    /// Blocks of sixteen input channels.
    depth: usize,
    /// Blocks of input channels that are added before the division, as ranges.
    groups: Vec<Range<usize>>,
    /// `[block out][y][x][half of the z][block in][channel pair in][z][channel of the block][2]`.
    weights: Packed<i16>,
    finishing: Finishing,
    /// Whether the values are [`tame`].
    tame: bool,
    /// Tiles along `[z, y, x]`.
    tiles: [usize; 3],
    tiles_per_unit: usize,
    channel_parts: usize,
    path: PhantomData<W>,
}

/// Tiles of a unit that lie side by side in x.
struct Run {
    /// The first, counted in the unit.
    first: usize,
    tiles: usize,
    /// Its first column, counted in the unit.
    column: usize,
    /// Its first tile along `[z, y, x]`.
    at: [usize; 3],
}

/// Scratch memory of a unit.
#[derive(Clone, Copy)]
struct Room {
    /// `[block in][y][column]`, each a [`LINE`].
    columns: *mut i16,
    row: Row,
    /// `[x][z][tile][channel]`.
    products: *mut i32,
    /// `[block out][group][tile]`, each [`WAITING`] long.
    waiting: *mut i32,
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
            tame: tame(&op.finish),
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

    /// The tiles of a unit, row by row.
    fn runs(&self, tiles: Range<usize>) -> impl Iterator<Item = Run> {
        let (mut index, mut column) = (tiles.start, 0);
        std::iter::from_fn(move || {
            let at = self.place(index);
            let run = Run {
                first: index - tiles.start,
                tiles: (self.tiles[2] - at[2]).min(tiles.end - index),
                column,
                at,
            };
            index += run.tiles;
            column += columns(run.tiles);
            (run.tiles > 0).then_some(run)
        })
    }

    /// Columns that a unit may have: two for each of its runs, and four for each tile.
    fn most_columns(&self) -> usize {
        let runs = (self.tiles_per_unit / self.tiles[2] + 2).min(self.tiles_per_unit);
        2 * runs + TILE[2] * self.tiles_per_unit
    }

    /// Tiles that products are made for.
    fn rounded(&self) -> usize {
        self.tiles_per_unit.next_multiple_of(ROUND)
    }

    /// i16 of one transformed row of columns.
    fn columns_len(&self) -> usize {
        self.most_columns() * LINE
    }

    /// i16 of half a transformed row of tiles at one x.
    fn half_len(&self) -> usize {
        self.rounded() * self.depth * HALF_LINE
    }

    /// i32 of products of one transformed row at one x and z.
    fn products_len(&self) -> usize {
        self.rounded() * BLOCK
    }

    /// Blocks of output channels of a part.
    fn part(&self, part: usize) -> Range<usize> {
        let share = |part: usize| self.finishing.blocks() * part / self.channel_parts;
        share(part)..share(part + 1)
    }

    /// Bytes of the four parts of [`Room`], each a multiple of 64.
    fn rooms(&self) -> [usize; 4] {
        let blocks = self.finishing.blocks().div_ceil(self.channel_parts);
        [
            self.depth * SIDE * self.columns_len() * size_of::<i16>(),
            SIDE * 2 * self.half_len() * size_of::<i16>(),
            SIDE * TILE[0] * self.products_len() * size_of::<i32>(),
            blocks * self.groups.len() * self.tiles_per_unit * WAITING * size_of::<i32>(),
        ]
    }

    unsafe fn room(&self, scratch: *mut u8) -> Room {
        let [columns, row, products, _] = self.rooms();
        // SAFETY: the scratch memory has room for all four.
        unsafe {
            let row_at = scratch.add(columns);
            let products_at = row_at.add(row);
            Room {
                columns: scratch.cast(),
                row: Row { first: row_at.cast(), half: self.half_len() },
                products: products_at.cast(),
                waiting: products_at.add(products).cast(),
            }
        }
    }

    /// Transforms the columns of all input channels along z and y.
    unsafe fn columns(&self, tiles: Range<usize>, place: Place<'_>, room: Room) {
        for run in self.runs(tiles) {
            let mut block = 0;
            for (layout, corner) in &self.inputs {
                let at = [0, 1, 2].map(|axis| corner[axis] + run.at[axis] * TILE[axis]);
                let strides = Strides { z: layout.plane(), y: layout.row(), x: layout.channels };
                for channel in (0..layout.channels).step_by(BLOCK) {
                    let first = block * SIDE * self.columns_len() + run.column * LINE;
                    // SAFETY: the halo is rounded up to whole tiles, scratch holds the unit's.
                    unsafe {
                        let from = place.at::<u8>(layout.offset + layout.at(at) + channel);
                        let to = (room.columns.add(first), self.columns_len());
                        W::columns((from, strides), columns(run.tiles), to);
                    }
                    block += 1;
                }
            }
        }
    }

    /// Transforms row `y` along x.
    unsafe fn across(&self, y: usize, tiles: Range<usize>, room: Room) {
        for block in 0..self.depth {
            for run in self.runs(tiles.clone()) {
                let from = (block * SIDE + y) * self.columns_len() + run.column * LINE;
                let to = (block * self.rounded() + run.first) * HALF_LINE;
                // SAFETY: scratch holds the columns and the tiles.
                unsafe {
                    let to = Row { first: room.row.first.add(to), ..room.row };
                    W::across(room.columns.add(from), run.tiles, y == SHIFTED.0, to);
                }
            }
        }
    }

    /// Products of one row of one block of output channels and one group, at every x.
    unsafe fn multiply(
        &self,
        (block, y): (usize, usize),
        group: &Range<usize>,
        tiles: usize,
        room: Room,
    ) {
        for x in 0..SIDE {
            let weights = ((block * SIDE + y) * SIDE + x) * 2 * self.depth + group.start;
            // SAFETY: scratch holds whole rounds of tiles, the weights all transformed values and blocks.
            unsafe {
                let inputs = 2 * x * room.row.half + group.start * self.rounded() * HALF_LINE;
                let factors = Factors {
                    inputs: room.row.first.add(inputs),
                    half: room.row.half,
                    block: self.rounded() * HALF_LINE,
                    weights: self.weights.pointer().add(weights * WEIGHTS_LEN),
                    weights_half: self.depth * WEIGHTS_LEN,
                    blocks: group.len(),
                };
                let to = room.products.add(x * TILE[0] * self.products_len());
                W::products(&factors, tiles, (to, self.products_len()));
            }
        }
    }

    /// What waits for the transform back along y.
    fn waiting(&self, block: usize, group: usize) -> usize {
        (block * self.groups.len() + group) * self.tiles_per_unit * WAITING
    }

    /// Transforms what waits back along y and stores what the finish makes of it.
    unsafe fn finish(
        &self,
        block: usize,
        tiles: Range<usize>,
        waiting: *const i32,
        place: Place<'_>,
    ) {
        let depth = self.finishing.target().size()[0];
        let channels = self.finishing.channels(block, 0);
        for run in self.runs(tiles) {
            let [tz, ty, tx] = run.at;
            for z in 0..TILE[0].min(depth - tz * TILE[0]) {
                let at = [tz * TILE[0] + z, ty * TILE[1], tx * TILE[2]];
                // SAFETY: scratch holds what waits, and every tile is this unit's own.
                unsafe {
                    let waiting = Waiting {
                        first: waiting.add(run.first * WAITING + z * WAITING_PLANE),
                        groups: self.groups.len(),
                        distance: self.tiles_per_unit * WAITING,
                    };
                    let to = self.outputs(block, (at, run.tiles), place);
                    W::output(waiting, channels, to);
                }
            }
        }
    }

    /// Where a plane of so many tiles from voxel `at` on goes.
    unsafe fn outputs(
        &self,
        block: usize,
        (at, tiles): ([usize; 3], usize),
        place: Place<'_>,
    ) -> Outputs {
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
                Target::Real { .. } => unreachable!("only u8 and staged"),
            }
        };
        let size = (TILE[1].min(size[1] - at[1]), (TILE[2] * tiles).min(size[2] - at[2]));
        Outputs { to, strides: (layout.row(), layout.channels), size, tame: self.tame }
    }
}

impl<W: WinogradPath> Kernel for Winograd<W> {
    fn units(&self) -> usize {
        self.total_tiles().div_ceil(self.tiles_per_unit) * self.channel_parts
    }

    fn scratch(&self) -> usize {
        self.rooms().iter().sum()
    }

    fn weights(&self) -> usize {
        self.weights.bytes()
    }

    unsafe fn unit(&self, unit: usize, place: Place<'_>, scratch: *mut u8) {
        let (unit, part) = (unit / self.channel_parts, unit % self.channel_parts);
        let first = unit * self.tiles_per_unit;
        let tiles = first..(first + self.tiles_per_unit).min(self.total_tiles());
        // SAFETY: scratch has the room that was asked for.
        unsafe {
            let room = self.room(scratch);
            self.columns(tiles.clone(), place, room);
            for y in 0..SIDE {
                self.across(y, tiles.clone(), room);
                for (number, block) in self.part(part).enumerate() {
                    for (group, blocks) in self.groups.iter().enumerate() {
                        self.multiply((block, y), blocks, tiles.len(), room);
                        let to = self.waiting(number, group) + y * TILE[2] * BLOCK;
                        let from = (room.products.cast_const(), self.products_len());
                        W::back(from, tiles.len(), room.waiting.add(to));
                    }
                }
            }
            for (number, block) in self.part(part).enumerate() {
                let waiting = room.waiting.add(self.waiting(number, 0));
                self.finish(block, tiles.clone(), waiting, place);
            }
        }
    }
}

/// True where a value, before it is rounded, is below 2³⁰ whatever the sum, and an activation is the larger
/// one of `v` and `slope · v`: then neither the bound of what is staged nor the sign has to be looked at.
fn tame(finish: &Finish) -> bool {
    match finish {
        Finish::Requantise(affine) => {
            affine.scale.iter().all(|scale| scale.abs() <= 0.25)
                && affine.bias.iter().all(|bias| bias.abs() <= (1u32 << 28) as f32)
                && affine.slope.iter().all(|slope| (0.0..=1.0).contains(slope))
        }
        // The program was checked: no sum is larger than what is staged.
        Finish::Stage => true,
        Finish::Real(_) => false,
    }
}

/// Columns of so many tiles side by side.
fn columns(tiles: usize) -> usize {
    TILE[2] * tiles + SIDE - TILE[2]
}

/// Tiles of a unit: units alike, and a multiple of the threads.
fn tiles_per_unit(total: usize, weights: usize, threads: usize) -> usize {
    let most = if weights > CACHED_WEIGHTS { MANY_TILES } else { TILES };
    let units = total.div_ceil(most).next_multiple_of(threads);
    total.div_ceil(units)
}
