//! The depthwise convolution before a scan.

use super::super::super::isa::Isa;
use super::super::super::tokens::{LANES, silu};
use super::super::{Kernel, Place};
use super::{Read, Target, compiled_for, floats, lanes};

/// A 3×3×3 window over each channel by itself. A unit is one row.
pub(super) struct Local {
    pub(super) input: Read,
    /// `[tap, channel]`.
    pub(super) weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) target: Target,
    pub(super) isa: Isa,
}

/// Neighbours of place `at` along an axis: taps with the places they read.
fn taps(at: usize, side: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..3).filter_map(move |tap| {
        let place = (at + tap).checked_sub(1)?;
        (place < side).then_some((tap, place))
    })
}

impl Local {
    /// Sixteen channels from `channel` on of all voxels of a row.
    #[inline(always)]
    unsafe fn block(
        &self,
        place: Place<'_>,
        (z, y, channel): (usize, usize, usize),
        row: &mut [f32],
    ) {
        let ([depth, height, width], channels) = (self.input.layout.size, self.input.channels);
        for x in 0..width {
            let mut sums = *lanes(&self.bias[channel..]);
            for (tz, pz) in taps(z, depth) {
                for (ty, py) in taps(y, height) {
                    for (tx, px) in taps(x, width) {
                        let weights =
                            lanes(&self.weights[((tz * 3 + ty) * 3 + tx) * channels + channel..]);
                        let token = (pz * height + py) * width + px;
                        // SAFETY: a token of a value that an earlier layer made.
                        let from = unsafe { self.input.token(place, token) };
                        let from = lanes(&from[channel..]);
                        for lane in 0..LANES {
                            sums[lane] += from[lane] * weights[lane];
                        }
                    }
                }
            }
            let to = row[x * channels + channel..].first_chunk_mut::<LANES>();
            let to = to.expect("channels come in blocks of sixteen");
            for lane in 0..LANES {
                to[lane] = silu(sums[lane]);
            }
        }
    }
}

impl Kernel for Local {
    fn units(&self) -> usize {
        let [depth, height, _] = self.target.size();
        depth * height
    }

    fn scratch(&self) -> usize {
        self.input.channels * self.input.layout.size[2] * size_of::<f32>()
    }

    fn weights(&self) -> usize {
        self.weights.len() * size_of::<f32>()
    }

    unsafe fn unit(&self, unit: usize, place: Place<'_>, scratch: *mut u8) {
        let [_, height, width] = self.target.size();
        let ((z, y), channels) = ((unit / height, unit % height), self.input.channels);
        // SAFETY: the engine chose a path that this machine has; this unit alone writes its row.
        unsafe {
            let row = floats(scratch, channels * width);
            compiled_for(self.isa, || {
                for channel in (0..channels).step_by(LANES) {
                    self.block(place, (z, y, channel), row);
                }
                for (x, token) in row.chunks_exact(channels).enumerate() {
                    self.target.store(place, [z, y, x], token);
                }
            });
        }
    }
}
