//! The f32 input to u8, channels last.

use std::slice;

use super::super::layout::Layout;
use super::super::program::Quant;
use super::path::Path;
use super::{Kernel, Place};

/// The input layer. A unit is one row: its channels one after the other, then side by side.
pub(crate) struct Quantising<P: Path> {
    layout: Layout,
    quant: Quant,
    channels: usize,
    path: std::marker::PhantomData<P>,
}

impl<P: Path> Quantising<P> {
    pub(crate) fn new(layout: Layout, quant: Quant, channels: usize) -> Self {
        Self { layout, quant, channels, path: std::marker::PhantomData }
    }
}

impl<P: Path> Kernel for Quantising<P> {
    fn units(&self) -> usize {
        self.layout.size[0] * self.layout.size[1]
    }

    fn scratch(&self) -> usize {
        self.channels * self.layout.size[2]
    }

    unsafe fn unit(&self, unit: usize, place: Place<'_>, scratch: *mut u8) {
        let [_, height, width] = self.layout.size;
        let (z, y) = (unit / height, unit % height);
        // SAFETY: scratch holds the rows of all channels; the row lies in the value, and this unit alone
        // writes it.
        let (rows, to) = unsafe {
            for c in 0..self.channels {
                let row = &place.input().row([c, z, y])[..width];
                P::quantise(row.as_ptr(), width, self.quant, scratch.add(c * width));
            }
            let to = place.at::<u8>(self.layout.offset + self.layout.voxel([z, y, 0]));
            (
                slice::from_raw_parts(scratch, self.channels * width),
                slice::from_raw_parts_mut(to, width * self.layout.channels),
            )
        };
        match self.layout.channels {
            1 => to.copy_from_slice(rows),
            2 => interleave::<2>(rows, to),
            3 => interleave::<3>(rows, to),
            4 => interleave::<4>(rows, to),
            stored => {
                for (c, row) in rows.chunks_exact(width).enumerate() {
                    for (voxel, &value) in to.chunks_exact_mut(stored).zip(row) {
                        voxel[c] = value;
                    }
                }
            }
        }
    }
}

/// Rows of `C` channels, voxel by voxel.
fn interleave<const C: usize>(rows: &[u8], to: &mut [u8]) {
    let (voxels, _) = to.as_chunks_mut::<C>();
    let width = voxels.len();
    let rows: [&[u8]; C] = std::array::from_fn(|c| &rows[c * width..][..width]);
    for (x, voxel) in voxels.iter_mut().enumerate() {
        *voxel = std::array::from_fn(|c| rows[c][x]);
    }
}
