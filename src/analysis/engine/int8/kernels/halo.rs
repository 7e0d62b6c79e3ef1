//! The zero point around a value, written anew for every run: values share memory.

use super::super::layout::Layout;
use super::{Kernel, Place};

/// The halo of one u8 value. A unit is one plane.
pub(crate) struct Border {
    layout: Layout,
    zero: u8,
}

impl Border {
    pub(crate) fn new(layout: Layout, zero: u8) -> Self {
        Self { layout, zero }
    }
}

impl Kernel for Border {
    fn units(&self) -> usize {
        self.layout.whole[0]
    }

    unsafe fn unit(&self, unit: usize, place: Place<'_>, _: *mut u8) {
        let layout = &self.layout;
        let inner = |axis: usize| layout.front[axis]..layout.front[axis] + layout.size[axis];
        // SAFETY: all of it lies in this value, outside the voxels that its layer writes.
        unsafe {
            let fill = |at: [usize; 3], elements: usize| {
                place.at::<u8>(layout.offset + layout.at(at)).write_bytes(self.zero, elements);
            };
            if !inner(0).contains(&unit) {
                fill([unit, 0, 0], layout.plane());
                return;
            }
            for y in 0..layout.whole[1] {
                if inner(1).contains(&y) {
                    let after = inner(2).end;
                    fill([unit, y, 0], layout.front[2] * layout.channels);
                    fill([unit, y, after], (layout.whole[2] - after) * layout.channels);
                } else {
                    fill([unit, y, 0], layout.row());
                }
            }
        }
    }
}
