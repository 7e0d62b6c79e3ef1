//! The f32 input to u8, channels last.

use super::super::layout::Layout;
use super::super::program::{Quant, quantised};
use super::{Kernel, Place};

/// The input layer. A unit is one row.
pub(crate) struct Quantising {
    layout: Layout,
    quant: Quant,
    channels: usize,
}

impl Quantising {
    pub(crate) fn new(layout: Layout, quant: Quant, channels: usize) -> Self {
        Self { layout, quant, channels }
    }
}

impl Kernel for Quantising {
    fn units(&self) -> usize {
        self.layout.size[0] * self.layout.size[1]
    }

    unsafe fn unit(&self, unit: usize, place: Place<'_>, _: *mut u8) {
        let [depth, height, width] = self.layout.size;
        let (z, y) = (unit / height, unit % height);
        for c in 0..self.channels {
            let first = ((c * depth + z) * height + y) * width;
            let row = &place.input()[first..first + width];
            // SAFETY: the row lies in the value, and this unit alone writes it.
            unsafe {
                let to = place.at::<u8>(self.layout.offset + self.layout.voxel([z, y, 0]) + c);
                for (x, &value) in row.iter().enumerate() {
                    to.add(x * self.layout.channels).write(quantised(value, self.quant));
                }
            }
        }
    }
}
