//! The path of every machine: plain Rust that the compiler vectorises as it can.

use super::super::layout::BLOCK;
use super::super::program::{Quant, activated, quantised, requantised};
use super::path::{Channels, Operand, Path, Segment, Stored, To, Widen, voxel_by_voxel};

/// Voxels whose sums are kept at a time.
const TILE: usize = 4;

/// No instruction beyond the target's baseline.
pub(crate) struct Portable;

/// Sixteen numbers.
type Lanes<T> = [T; BLOCK];

unsafe fn lanes<T: Copy>(from: *const T) -> Lanes<T> {
    // SAFETY: the callers' pointers hold sixteen numbers.
    unsafe { from.cast::<Lanes<T>>().read_unaligned() }
}

impl Channels {
    /// The affine values of one voxel.
    pub(crate) unsafe fn values(&self, sums: &Lanes<i32>) -> Lanes<f32> {
        // SAFETY: the pointers hold sixteen numbers each.
        let (correction, scale, bias, slope) = unsafe {
            (lanes(self.correction), lanes(self.scale), lanes(self.bias), lanes(self.slope))
        };
        std::array::from_fn(|lane| {
            let sum = sums[lane].wrapping_add(correction[lane]);
            activated(sum as f32 * scale[lane] + bias[lane], slope[lane])
        })
    }
}

impl Path for Portable {
    type Input = i16;
    type Weight = i16;
    const GROUP: usize = 2;
    const SHIFT: i32 = 0;
    const WIDEN: Option<Widen<i16>> = Some(widen);

    fn weight(weight: i8) -> i16 {
        i16::from(weight)
    }

    unsafe fn row(segments: &[Segment<Self>], width: usize, at: Channels, to: To) {
        for first in (0..width).step_by(TILE) {
            let voxels = TILE.min(width - first);
            // SAFETY: by the caller's word.
            let sums = unsafe { tile(segments, first) };
            for (voxel, sums) in (first..).zip(&sums[..voxels]) {
                // SAFETY: by the caller's word, voxel by voxel.
                unsafe { store(at.values(sums), voxel, to) };
            }
        }
    }

    unsafe fn quantise(from: *const f32, count: usize, quant: Quant, to: *mut u8) {
        for index in 0..count {
            // SAFETY: by the caller's word.
            unsafe { to.add(index).write(quantised(from.add(index).read(), quant)) };
        }
    }

    unsafe fn combine(
        terms: &[Operand],
        slope: *const f32,
        zero: u8,
        row: (*mut u8, usize, usize),
    ) {
        // SAFETY: by the caller's word.
        unsafe { voxel_by_voxel(terms, row, |terms, to| combine_one(terms, slope, zero, to)) }
    }
}

/// One voxel of [`Path::combine`].
unsafe fn combine_one(terms: &[Operand], slope: *const f32, zero: u8, to: *mut u8) {
    let mut total: Lanes<f32> = [0.0; BLOCK];
    for (index, term) in terms.iter().enumerate() {
        // SAFETY: by the caller's word.
        let (scale, bias) = unsafe { (lanes(term.scale), lanes(term.bias)) };
        // SAFETY: as above.
        let whole: Lanes<i16> = unsafe {
            match term.values {
                Stored::U8(from, zero) => {
                    lanes(from).map(|value: u8| i16::from(value) - i16::from(zero))
                }
                Stored::I16(from) => lanes(from),
            }
        };
        for lane in 0..BLOCK {
            let value = f32::from(whole[lane]) * scale[lane] + bias[lane];
            total[lane] = if index == 0 { value } else { total[lane] + value };
        }
    }
    // SAFETY: by the caller's word.
    unsafe {
        let slope = lanes(slope);
        let values: Lanes<u8> =
            std::array::from_fn(|lane| requantised(activated(total[lane], slope[lane]), zero));
        to.cast::<Lanes<u8>>().write(values);
    }
}

unsafe fn widen(from: *const u8, to: *mut i16, count: usize) {
    // SAFETY: by the caller's word.
    unsafe {
        let from = std::slice::from_raw_parts(from, count);
        let to = std::slice::from_raw_parts_mut(to, count);
        for (to, &from) in to.iter_mut().zip(from) {
            *to = i16::from(from);
        }
    }
}

/// Sums of the voxels from `first` on.
unsafe fn tile(segments: &[Segment<Portable>], first: usize) -> [Lanes<i32>; TILE] {
    let mut sums = [[0i32; BLOCK]; TILE];
    for segment in segments {
        for group in 0..segment.groups {
            // SAFETY: the segment says how many there are, and a tile may read beyond the row.
            unsafe {
                let weights =
                    segment.weights.add(group * 2 * BLOCK).cast::<Lanes<[i16; 2]>>().read();
                for (voxel, sums) in (first..).zip(&mut sums) {
                    let inputs = segment.inputs.add(voxel * segment.stride + 2 * group);
                    let [a, b] = inputs.cast::<[i16; 2]>().read_unaligned().map(i32::from);
                    for (sum, [wa, wb]) in sums.iter_mut().zip(weights) {
                        let product = a * i32::from(wa) + b * i32::from(wb);
                        // Only the whole sum, corrected, is known to fit.
                        *sum = sum.wrapping_add(product);
                    }
                }
            }
        }
    }
    sums
}

unsafe fn store(values: Lanes<f32>, voxel: usize, to: To) {
    // SAFETY: the row has this voxel.
    unsafe {
        match to {
            To::U8 { first, stride, zero } => {
                let values = values.map(|value| requantised(value, zero));
                first.add(voxel * stride).cast::<Lanes<u8>>().write(values);
            }
            To::I16 { first, stride } => {
                let values = values.map(|value| value.round_ties_even() as i16);
                first.add(voxel * stride).cast::<Lanes<i16>>().write_unaligned(values);
            }
            To::F32 { first, step, plane, count } => {
                for (channel, value) in values.into_iter().take(count).enumerate() {
                    first.add(channel * plane + voxel * step).write(value);
                }
            }
        }
    }
}
