//! The depthwise convolution before a scan.

use std::sync::Arc;

use super::super::super::arithmetic::{LANES, silu};
use super::super::Place;
use super::{Read, Target, Wide, floats, lanes};

/// A 3×3×3 window over each channel by itself. A unit is one row.
pub(super) struct Local {
    pub(super) input: Read,
    /// `[tap, channel]`.
    pub(super) weights: Arc<[f32]>,
    pub(super) bias: Arc<[f32]>,
    pub(super) target: Target,
}

/// Neighbours of place `at` along an axis: taps with the places they read.
fn taps(at: usize, side: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..3).filter_map(move |tap| {
        let place = (at + tap).checked_sub(1)?;
        (place < side).then_some((tap, place))
    })
}

/// A row of the input under the window: its first token, and the first of its three taps.
type Line = (usize, usize);

impl Local {
    /// The rows that row `z, y` reads, in order.
    fn lines(&self, z: usize, y: usize) -> heapless::Vec<Line, 9> {
        let [depth, height, width] = self.input.layout.size;
        let rows = taps(z, depth).flat_map(|z| taps(y, height).map(move |y| (z, y)));
        rows.map(|((tz, z), (ty, y))| ((z * height + y) * width, (tz * 3 + ty) * 3)).collect()
    }

    /// Sixteen channels from `channel` on of all voxels of a row.
    #[inline(always)]
    unsafe fn block(&self, place: Place<'_>, lines: &[Line], channel: usize, row: &mut [f32]) {
        let (width, channels) = (self.input.layout.size[2], self.input.channels);
        let bias = *lanes(&self.bias[channel..]);
        for x in 0..width {
            let mut sums = bias;
            let (from, to) = (usize::from(x == 0), 3 - usize::from(x + 1 == width));
            for &(first, tap) in lines {
                for step in from..to {
                    let weights = lanes(&self.weights[(tap + step) * channels + channel..]);
                    // SAFETY: a token of a value that an earlier layer made.
                    let token = unsafe { self.input.token(place, first + x + step - 1) };
                    let token = lanes(&token[channel..]);
                    sums = std::array::from_fn(|lane| sums[lane] + token[lane] * weights[lane]);
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

impl Wide for Local {
    fn units(&self) -> usize {
        let [depth, height, _] = self.target.size();
        depth * height
    }

    fn scratch(&self) -> usize {
        self.input.channels * self.input.layout.size[2] * size_of::<f32>()
    }

    fn weights(&self) -> usize {
        size_of_val(&*self.weights) + size_of_val(&*self.bias)
    }

    #[inline(always)]
    unsafe fn unit(&self, unit: usize, place: Place<'_>, scratch: *mut u8) {
        let [_, height, width] = self.target.size();
        let ((z, y), channels) = ((unit / height, unit % height), self.input.channels);
        // SAFETY: this unit alone writes its row.
        unsafe {
            let row = floats(scratch, channels * width);
            let lines = self.lines(z, y);
            for channel in (0..channels).step_by(LANES) {
                self.block(place, &lines, channel, row);
            }
            for (x, token) in row.chunks_exact(channels).enumerate() {
                self.target.store(place, [z, y, x], token);
            }
        }
    }
}
