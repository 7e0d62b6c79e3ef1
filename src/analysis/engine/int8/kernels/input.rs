//! The f32 input to u8, channels last.

use super::super::layout::Layout;
use super::super::program::Quant;
use super::path::Path;
use super::{Kernel, Place};

/// The input layer. A unit is one row.
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

    unsafe fn unit(&self, unit: usize, place: Place<'_>, _: *mut u8) {
        let [_, height, width] = self.layout.size;
        let (z, y) = (unit / height, unit % height);
        for c in 0..self.channels {
            let row = &place.input().row([c, z, y])[..width];
            // SAFETY: the row lies in the value, and this unit alone writes it.
            unsafe {
                let to = place.at::<u8>(self.layout.offset + self.layout.voxel([z, y, 0]) + c);
                P::quantise(row.as_ptr(), width, self.quant, (to, self.layout.channels));
            }
        }
    }
}
