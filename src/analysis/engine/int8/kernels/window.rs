//! Pools and doubling: few operations per voxel, channels side by side.

use super::super::layout::{BLOCK, Layout};
use super::super::program::{Pool, PoolKind, Window, requantised};
use super::{Kernel, Place};

/// A pool. A unit is one row of the output.
pub(crate) struct Pooling {
    input: (Layout, u8),
    output: (Layout, u8),
    window: Window,
    kind: PoolKind,
}

impl Pooling {
    /// Layouts with zero points.
    pub(crate) fn new(op: &Pool, input: (Layout, u8), output: (Layout, u8)) -> Self {
        Self { input, output, window: op.window, kind: op.kind }
    }

    /// Voxels of the input that the window at `at` covers along `axis`.
    fn covered(&self, axis: usize, at: usize) -> std::ops::Range<usize> {
        let start = at * self.window.stride[axis];
        let end = (start + self.window.kernel[axis]).saturating_sub(self.window.before[axis]);
        let start = start.saturating_sub(self.window.before[axis]);
        start..end.min(self.input.0.size[axis])
    }
}

impl Kernel for Pooling {
    fn units(&self) -> usize {
        self.output.0.size[0] * self.output.0.size[1]
    }

    unsafe fn unit(&self, unit: usize, place: Place<'_>, _: *mut u8) {
        let ((input, zero), (output, out_zero)) = (self.input, self.output);
        let (z, y) = (unit / output.size[1], unit % output.size[1]);
        let (zs, ys) = (self.covered(0, z), self.covered(1, y));
        for x in 0..output.size[2] {
            let xs = self.covered(2, x);
            let count = zs.len() * ys.len() * xs.len();
            for block in (0..output.channels).step_by(BLOCK) {
                let mut largest = [0u8; BLOCK];
                let mut sums = [0i32; BLOCK];
                for at in voxels([zs.clone(), ys.clone(), xs.clone()]) {
                    // SAFETY: inside the input, and its channels are padded to whole blocks.
                    let values: [u8; BLOCK] = unsafe {
                        place.at::<[u8; BLOCK]>(input.offset + input.voxel(at) + block).read()
                    };
                    for lane in 0..BLOCK {
                        largest[lane] = largest[lane].max(values[lane]);
                        sums[lane] += i32::from(values[lane]) - i32::from(zero);
                    }
                }
                let values = match self.kind {
                    PoolKind::Max if count == 0 => [zero; BLOCK],
                    PoolKind::Max => largest,
                    PoolKind::Mean { scale } => sums.map(|sum| {
                        requantised(sum as f32 * scale / (count.max(1) as f32), out_zero)
                    }),
                };
                // SAFETY: this unit alone writes its row.
                unsafe {
                    let at = output.offset + output.voxel([z, y, x]) + block;
                    place.at::<[u8; BLOCK]>(at).write(values);
                }
            }
        }
    }
}

fn voxels([zs, ys, xs]: [std::ops::Range<usize>; 3]) -> impl Iterator<Item = [usize; 3]> {
    zs.flat_map(move |z| {
        let xs = xs.clone();
        ys.clone().flat_map(move |y| xs.clone().map(move |x| [z, y, x]))
    })
}

/// Each side doubled. A unit is one row of the output.
pub(crate) struct Doubling {
    input: (Layout, u8),
    output: (Layout, u8),
    scale: f32,
}

impl Doubling {
    /// Layouts with zero points; input scale over output scale.
    pub(crate) fn new(input: (Layout, u8), output: (Layout, u8), scale: f32) -> Self {
        Self { input, output, scale: scale / 64.0 }
    }

    /// The nearer voxel, which counts three times, and the farther one.
    fn pair(&self, axis: usize, at: usize) -> [usize; 2] {
        let (near, last) = (at / 2, self.input.0.size[axis] - 1);
        let far = if at.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(last) };
        [near, far]
    }
}

impl Kernel for Doubling {
    fn units(&self) -> usize {
        self.output.0.size[0] * self.output.0.size[1]
    }

    unsafe fn unit(&self, unit: usize, place: Place<'_>, _: *mut u8) {
        let ((input, zero), (output, out_zero)) = (self.input, self.output);
        let (z, y) = (unit / output.size[1], unit % output.size[1]);
        let (zs, ys) = (self.pair(0, z), self.pair(1, y));
        for x in 0..output.size[2] {
            let xs = self.pair(2, x);
            for block in (0..output.channels).step_by(BLOCK) {
                let mut sums = [0i32; BLOCK];
                for corner in 0..8 {
                    let side = [corner >> 2 & 1, corner >> 1 & 1, corner & 1];
                    let weight: i32 =
                        side.iter().map(|&far| if far == 0 { 3 } else { 1 }).product();
                    let at = [zs[side[0]], ys[side[1]], xs[side[2]]];
                    // SAFETY: inside the input, and its channels are padded to whole blocks.
                    let values: [u8; BLOCK] = unsafe {
                        place.at::<[u8; BLOCK]>(input.offset + input.voxel(at) + block).read()
                    };
                    for lane in 0..BLOCK {
                        sums[lane] += weight * (i32::from(values[lane]) - i32::from(zero));
                    }
                }
                // SAFETY: this unit alone writes its row.
                unsafe {
                    let at = output.offset + output.voxel([z, y, x]) + block;
                    let values = sums.map(|sum| requantised(sum as f32 * self.scale, out_zero));
                    place.at::<[u8; BLOCK]>(at).write(values);
                }
            }
        }
    }
}
