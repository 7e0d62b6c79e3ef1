//! Convolution with any window: every output voxel is a product of rows that lie in one piece.
//!
//! With channels last, the taps of a window along x lie one behind the other, so a sum is a list of
//! segments, one per input, z and y of the window. A unit takes a few rows of the output and computes
//! them row by row, a block or two of channels at a time. Where a path cannot multiply bytes as they lie,
//! the unit first widens the input rows it needs into scratch memory.

use super::super::layout::{BLOCK, Halo, Layout};
use super::super::memory::Packed;
use super::super::program::{Conv, MAX_INPUTS, MAX_KERNEL, Window};
use super::finish::Finishing;
use super::path::{BEYOND, Block, Path, Segment, TOGETHER};
use super::{Kernel, Place};

/// Rows of the output that a unit computes where there are enough of them.
const ROWS: usize = 4;
/// The most segments of a sum.
const SEGMENTS: usize = MAX_INPUTS * MAX_KERNEL * MAX_KERNEL;

/// A sum.
type Segments<P> = heapless::Vec<Segment<P>, SEGMENTS>;

/// A convolution, packed for a path.
pub(crate) struct Direct<P: Path> {
    window: Window,
    inputs: Vec<Input>,
    weights: Packed<P::Weight>,
    finishing: Finishing,
    work: Work,
}

/// One of the concatenated inputs.
struct Input {
    layout: Layout,
    /// Padding of this window lies in the halo; what is left of it before the first voxel read.
    corner: [usize; 3],
    /// Groups of one segment.
    groups: usize,
    /// Elements of a widened row, with room for what tiles read beyond it.
    row: usize,
}

/// Where a unit finds what it reads of one input.
struct Rows<P: Path> {
    /// The first voxel of the first row.
    first: *const P::Input,
    /// Elements from one z of the window to the next.
    plane: usize,
    /// Elements from row to row.
    row: usize,
}

/// How a layer is cut into units.
#[derive(Debug, Clone, Copy)]
struct Work {
    rows: usize,
    row_blocks: usize,
    channel_parts: usize,
}

/// Room around an input that a window reads.
pub(crate) fn halo(window: &Window, input: [usize; 3], output: [usize; 3]) -> Halo {
    let read = |axis: usize| (output[axis] - 1) * window.stride[axis] + window.kernel[axis];
    let back = |axis: usize| read(axis).saturating_sub(window.before[axis] + input[axis]);
    Halo { front: window.before, back: [0, 1, 2].map(back) }
}

impl<P: Path> Direct<P> {
    /// Packs `op`, whose inputs have `channels` channels and lie at `layouts`.
    pub(crate) fn new(
        op: &Conv,
        (layouts, channels): (&[Layout], &[usize]),
        finishing: Finishing,
        threads: usize,
    ) -> Self {
        let window = op.window;
        let [_, _, width] = window.kernel;
        let inputs: Vec<Input> = layouts
            .iter()
            .map(|&layout| {
                let corner = [0, 1, 2].map(|axis| layout.front[axis] - window.before[axis]);
                let beyond = (BEYOND * window.stride[2] + width) * layout.channels;
                Input {
                    layout,
                    corner,
                    groups: (width * layout.channels).div_ceil(P::GROUP),
                    row: (layout.row() + beyond).next_multiple_of(32) + 32,
                }
            })
            .collect();
        let stored: Vec<usize> = layouts.iter().map(|layout| layout.channels).collect();
        let weights = pack::<P>(op, (channels, &stored), finishing.blocks());
        let work = Work::new(finishing.target().size(), finishing.blocks(), threads);
        Self { window, inputs, weights, finishing, work }
    }

    /// Rows of one input plane that `rows` rows of output need.
    fn rows_read(&self, rows: usize) -> usize {
        (rows - 1) * self.window.stride[1] + self.window.kernel[1]
    }

    fn row_elements(&self) -> usize {
        self.inputs.iter().map(|input| input.row).sum::<usize>()
            * self.window.kernel[0]
            * self.rows_read(self.work.rows)
    }

    /// What the unit at `[z, y]` with `rows` rows reads, widened to `scratch` where the path needs that.
    unsafe fn rows(
        &self,
        ([z, y], rows): ([usize; 2], usize),
        place: Place<'_>,
        scratch: *mut P::Input,
    ) -> heapless::Vec<Rows<P>, MAX_INPUTS> {
        let mut to = scratch;
        let read = self.rows_read(rows);
        let rows = |input: &Input| {
            let layout = &input.layout;
            let [z, y] = [z * self.window.stride[0], y * self.window.stride[1]];
            let [cz, cy, cx] = input.corner;
            // SAFETY: the halo is as wide as this window needs.
            let from = unsafe { place.at::<u8>(layout.offset + layout.at([cz + z, cy + y, cx])) };
            let Some(widen) = P::WIDEN else {
                return Rows { first: from.cast(), plane: layout.plane(), row: layout.row() };
            };
            let rows = Rows { first: to.cast_const(), plane: read * input.row, row: input.row };
            for dz in 0..self.window.kernel[0] {
                for dy in 0..read {
                    // SAFETY: as above, and rows have slack behind them.
                    unsafe {
                        let from = from.add(dz * layout.plane() + dy * layout.row());
                        widen(from, to, layout.row() - cx * layout.channels);
                        to = to.add(input.row);
                    }
                }
            }
            rows
        };
        self.inputs.iter().map(rows).collect()
    }

    /// The sums of row `row` of the unit, for block `block`.
    fn segments(
        &self,
        (row, block): (usize, usize),
        inputs: &[Rows<P>],
        segments: &mut Segments<P>,
    ) {
        segments.clear();
        let mut at = block * self.block_len();
        for (input, rows) in self.inputs.iter().zip(inputs) {
            for dz in 0..self.window.kernel[0] {
                for dy in 0..self.window.kernel[1] {
                    let line = row * self.window.stride[1] + dy;
                    let segment = Segment {
                        inputs: rows.first.wrapping_add(dz * rows.plane + line * rows.row),
                        stride: self.window.stride[2] * input.layout.channels,
                        weights: self.weights.pointer().wrapping_add(at),
                        groups: input.groups,
                    };
                    // A program has no more inputs and no larger kernels than there is room for.
                    let _ = segments.push(segment);
                    at += input.groups * P::GROUP * BLOCK;
                }
            }
        }
    }

    /// Weights of one block.
    fn block_len(&self) -> usize {
        self.weights.as_slice().len() / self.finishing.blocks()
    }
}

impl<P: Path> Kernel for Direct<P> {
    fn units(&self) -> usize {
        self.finishing.target().size()[0] * self.work.row_blocks * self.work.channel_parts
    }

    fn scratch(&self) -> usize {
        P::WIDEN.map_or(0, |_| self.row_elements() * size_of::<P::Input>())
    }

    fn weights(&self) -> usize {
        self.weights.bytes()
    }

    unsafe fn unit(&self, unit: usize, place: Place<'_>, scratch: *mut u8) {
        let [_, height, width] = self.finishing.target().size();
        let (part, unit) = (unit % self.work.channel_parts, unit / self.work.channel_parts);
        let (z, y) = (unit / self.work.row_blocks, unit % self.work.row_blocks * self.work.rows);
        let rows = self.work.rows.min(height - y);
        let blocks = self.finishing.blocks();
        let share = |part: usize| blocks * part / self.work.channel_parts;
        let mut segments = Segments::new();
        // SAFETY: scratch is large enough for these rows; units write different rows or blocks.
        unsafe {
            let inputs = self.rows(([z, y], rows), place, scratch.cast());
            for first in (share(part)..share(part + 1)).step_by(TOGETHER) {
                let blocks = first..(first + TOGETHER).min(share(part + 1));
                for row in 0..rows {
                    self.segments((row, first), &inputs, &mut segments);
                    let at = ([z, y + row, 0], 1);
                    let blocks: heapless::Vec<Block, TOGETHER> = blocks
                        .clone()
                        .map(|block| self.finishing.row((block, 0), at, place))
                        .collect();
                    P::rows(&mut segments, self.block_len(), width, &blocks);
                }
            }
        }
    }
}

impl Work {
    fn new([depth, height, _]: [usize; 3], blocks: usize, threads: usize) -> Self {
        let rows = ROWS.min(height);
        let row_blocks = height.div_ceil(rows);
        let enough = depth * row_blocks >= 4 * threads || threads == 1;
        let channel_parts = if enough { 1 } else { blocks.min(2 * threads) };
        Self { rows, row_blocks, channel_parts }
    }
}

/// `[block][input][kz][ky][group][channel of the block][GROUP]`, zero where there is no weight.
fn pack<P: Path>(
    op: &Conv,
    (channels, stored): (&[usize], &[usize]),
    blocks: usize,
) -> Packed<P::Weight> {
    let [kz, ky, kx] = op.window.kernel;
    let total: usize = channels.iter().sum();
    let taps = op.window.taps();
    let outputs = op.weights.len() / (total * taps);
    let groups = |stored: usize| (kx * stored).div_ceil(P::GROUP);
    let block_len: usize =
        stored.iter().map(|&stored| groups(stored)).sum::<usize>() * kz * ky * P::GROUP * BLOCK;
    let mut packed = Packed::zeros(blocks * block_len);
    let target = packed.as_mut_slice();
    for out in 0..outputs {
        let mut at = out / BLOCK * block_len;
        let mut base = 0;
        for (&channels, &stored) in channels.iter().zip(stored) {
            for line in 0..kz * ky {
                for x in 0..kx {
                    for c in 0..channels {
                        let index = x * stored + c;
                        let weight = op.weights[(out * total + base + c) * taps + line * kx + x];
                        let place = (index / P::GROUP * BLOCK + out % BLOCK) * P::GROUP;
                        target[at + place + index % P::GROUP] = P::weight(weight);
                    }
                }
                at += groups(stored) * P::GROUP * BLOCK;
            }
            base += channels;
        }
    }
    packed
}
