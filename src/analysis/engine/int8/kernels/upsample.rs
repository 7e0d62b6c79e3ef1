//! Transposed convolution whose stride is its kernel: one product of matrices per tap.

use std::slice;

use super::super::layout::{BLOCK, Layout};
use super::super::memory::Packed;
use super::super::program::Upsample;
use super::finish::Finishing;
use super::path::{BEYOND, Block, Path, Segment, TOGETHER};
use super::{Kernel, Place};

/// A transposed convolution, packed for a path. A unit is one row of the input.
pub(crate) struct Upsampling<P: Path> {
    input: Layout,
    kernel: [usize; 3],
    groups: usize,
    weights: Packed<P::Weight>,
    finishing: Finishing,
}

impl<P: Path> Upsampling<P> {
    /// Packs `op`, whose input has `channels` channels and lies at `input`.
    pub(crate) fn new(
        op: &Upsample,
        (input, channels): (Layout, usize),
        finishing: Finishing,
    ) -> Self {
        let groups = input.channels.div_ceil(P::GROUP);
        let blocks = finishing.blocks();
        let taps = op.kernel.iter().product::<usize>();
        let outputs = op.weights.len() / (channels * taps);
        let mut weights = Packed::zeros(taps * blocks * groups * P::GROUP * BLOCK);
        let target = weights.as_mut_slice();
        for (index, &weight) in op.weights.iter().enumerate() {
            let (out, c, tap) = (index / taps / channels, index / taps % channels, index % taps);
            debug_assert!(out < outputs, "weights are counted when the program is made");
            let piece = (tap * blocks + out / BLOCK) * groups + c / P::GROUP;
            let place = (piece * BLOCK + out % BLOCK) * P::GROUP + c % P::GROUP;
            target[place] = P::weight(weight);
        }
        Self { input, kernel: op.kernel, groups, weights, finishing }
    }

    fn row_elements(&self) -> usize {
        ((self.input.size[2] + BEYOND) * self.input.channels).next_multiple_of(32) + 32
    }
}

impl<P: Path> Kernel for Upsampling<P> {
    fn units(&self) -> usize {
        self.input.size[0] * self.input.size[1]
    }

    fn scratch(&self) -> usize {
        P::WIDEN.map_or(0, |_| self.row_elements() * size_of::<P::Input>())
    }

    fn weights(&self) -> usize {
        self.weights.bytes()
    }

    unsafe fn unit(&self, unit: usize, place: Place<'_>, scratch: *mut u8) {
        let (z, y) = (unit / self.input.size[1], unit % self.input.size[1]);
        let [kz, ky, kx] = self.kernel;
        let blocks = self.finishing.blocks();
        let piece = self.groups * P::GROUP * BLOCK;
        let width = self.input.size[2];
        // SAFETY: the row lies in the input, scratch holds it with room for a tile more, and every
        // unit writes the rows of the output that come from its own.
        unsafe {
            let from = place.at::<u8>(self.input.offset + self.input.voxel([z, y, 0]));
            let inputs = P::WIDEN.map_or(from.cast_const().cast(), |widen| {
                widen(from, scratch.cast(), width * self.input.channels);
                scratch.cast_const().cast()
            });
            let row = |piece: usize| {
                let (tap, block) = (piece / blocks, piece % blocks);
                let (dz, dy, dx) = (tap / (ky * kx), tap / kx % ky, tap % kx);
                self.finishing.row((block, tap), ([z * kz + dz, y * ky + dy, dx], kx), place)
            };
            let pieces = kz * ky * kx * blocks;
            for first in (0..pieces).step_by(TOGETHER) {
                let mut segment = Segment {
                    inputs,
                    stride: self.input.channels,
                    weights: self.weights.pointer().add(first * piece),
                    groups: self.groups,
                };
                let together: heapless::Vec<Block, TOGETHER> =
                    (first..(first + TOGETHER).min(pieces)).map(row).collect();
                P::rows(slice::from_mut(&mut segment), piece, width, &together);
            }
        }
    }
}
