//! Sums of up to two values with an activation: residual additions, InstanceNorm, changes of scale.
//!
//! InstanceNorm takes three kernels, one after the other: [`Statistics`] adds up staged values,
//! [`Normaliser`] makes a scale and a bias per channel of the sums, [`Combining`] uses them. The sums are
//! whole numbers, so the order in which units add them changes nothing.

use super::super::layout::{BLOCK, Layout};
use super::super::memory::Packed;
use super::super::program::normalisation;
use super::path::{Operand, Path, Stored};
use super::{Kernel, Place};

/// The most units that one value's statistics are gathered in.
pub(crate) const STATISTICS_UNITS: usize = 64;

/// A value that is added.
pub(crate) struct Added {
    /// Where it lies.
    pub(crate) layout: Layout,
    /// Its zero point; `None` for a staged one.
    pub(crate) zero: Option<u8>,
    /// Multiplies.
    pub(crate) scale: Numbers,
    /// Is added.
    pub(crate) bias: Numbers,
}

/// One number per channel, padded to whole blocks.
pub(crate) enum Numbers {
    /// Known when the program was made.
    Fixed(Packed<f32>),
    /// Written into the arena by [`Normaliser`].
    Measured(usize),
}

impl Numbers {
    pub(crate) fn fixed(values: &[f32]) -> Self {
        let mut packed = Packed::zeros(values.len().next_multiple_of(BLOCK));
        packed.as_mut_slice()[..values.len()].copy_from_slice(values);
        Self::Fixed(packed)
    }

    unsafe fn pointer(&self, place: Place<'_>) -> *const f32 {
        match self {
            Self::Fixed(packed) => packed.pointer(),
            // SAFETY: the offset was given by the plan of this arena.
            Self::Measured(offset) => unsafe { place.at(*offset) },
        }
    }
}

/// The sum, requantised. A unit is one row.
pub(crate) struct Combining<P: Path> {
    terms: Vec<Added>,
    slope: Packed<f32>,
    output: Layout,
    zero: u8,
    path: std::marker::PhantomData<P>,
}

impl<P: Path> Combining<P> {
    pub(crate) fn new(terms: Vec<Added>, slope: &[f32], (output, zero): (Layout, u8)) -> Self {
        let mut padded = Packed::zeros(output.channels);
        padded.as_mut_slice()[..slope.len()].copy_from_slice(slope);
        Self { terms, slope: padded, output, zero, path: std::marker::PhantomData }
    }
}

impl<P: Path> Kernel for Combining<P> {
    fn units(&self) -> usize {
        self.output.size[0] * self.output.size[1]
    }

    unsafe fn unit(&self, unit: usize, place: Place<'_>, _: *mut u8) {
        let (z, y) = (unit / self.output.size[1], unit % self.output.size[1]);
        // SAFETY: rows of values of one shape; this unit alone writes its row of the output.
        unsafe {
            let row = |layout: &Layout| layout.voxel([z, y, 0]);
            let to = place.at::<u8>(self.output.offset + row(&self.output));
            for x in 0..self.output.size[2] {
                for block in (0..self.output.channels).step_by(BLOCK) {
                    let operand = |term: &Added| {
                        let at = row(&term.layout) + x * term.layout.channels + block;
                        Operand {
                            values: match term.zero {
                                Some(zero) => {
                                    Stored::U8(place.at::<u8>(term.layout.offset + at), zero)
                                }
                                None => Stored::I16(place.at::<i16>(term.layout.offset).add(at)),
                            },
                            scale: term.scale.pointer(place).add(block),
                            bias: term.bias.pointer(place).add(block),
                        }
                    };
                    let slope = self.slope.pointer().add(block);
                    let to = to.add(x * self.output.channels + block);
                    match &self.terms[..] {
                        [only] => P::combine(&[operand(only)], slope, self.zero, to),
                        [first, second, ..] => {
                            P::combine(&[operand(first), operand(second)], slope, self.zero, to);
                        }
                        [] => {}
                    }
                }
            }
        }
    }
}

/// Where the statistics of one value lie in the arena.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// `[unit][channel]` of sum and sum of squares, i64.
    pub(crate) sums: usize,
    /// `[channel]`, f32.
    pub(crate) scale: usize,
    /// `[channel]`, f32.
    pub(crate) bias: usize,
}

impl Room {
    /// Bytes for a value of `channels` stored channels.
    pub(crate) fn bytes(channels: usize) -> usize {
        channels * (STATISTICS_UNITS * 2 * size_of::<i64>() + 2 * size_of::<f32>())
    }

    /// From `offset` on.
    pub(crate) fn at(offset: usize, channels: usize) -> Self {
        let scale = offset + channels * STATISTICS_UNITS * 2 * size_of::<i64>();
        Self { sums: offset, scale, bias: scale + channels * size_of::<f32>() }
    }
}

/// Sums and sums of squares of a staged value. A unit is a share of its planes.
pub(crate) struct Statistics {
    layout: Layout,
    sums: usize,
}

impl Statistics {
    pub(crate) fn new(layout: Layout, room: Room) -> Self {
        Self { layout, sums: room.sums }
    }
}

impl Kernel for Statistics {
    fn units(&self) -> usize {
        self.layout.size[0].min(STATISTICS_UNITS)
    }

    unsafe fn unit(&self, unit: usize, place: Place<'_>, _: *mut u8) {
        let Layout { offset, channels, size: [depth, height, width], .. } = self.layout;
        let share = |unit: usize| depth * unit / self.units();
        // SAFETY: the unit reads its own planes and writes its own row of sums.
        unsafe {
            let sums = place.at::<i64>(self.sums).add(unit * 2 * channels);
            let sums = std::slice::from_raw_parts_mut(sums, 2 * channels);
            sums.fill(0);
            let (sums, squares) = sums.split_at_mut(channels);
            for z in share(unit)..share(unit + 1) {
                for y in 0..height {
                    let row = place.at::<i16>(offset).add(self.layout.voxel([z, y, 0]));
                    let row = std::slice::from_raw_parts(row.cast_const(), width * channels);
                    add_row(row, sums, squares);
                }
            }
        }
    }
}

/// Adds the voxels of a row: its sum in 32 bits, which 4,096 voxels of i16 do not fill, the rest in 64.
fn add_row(row: &[i16], sums: &mut [i64], squares: &mut [i64]) {
    let channels = sums.len();
    for block in (0..channels).step_by(BLOCK) {
        let mut sum = [0i32; BLOCK];
        let mut square = [0u64; BLOCK];
        for voxel in row.chunks_exact(channels) {
            for ((sum, square), &value) in sum.iter_mut().zip(&mut square).zip(&voxel[block..]) {
                *sum += i32::from(value);
                *square += u64::from((i32::from(value) * i32::from(value)).unsigned_abs());
            }
        }
        for lane in 0..BLOCK {
            sums[block + lane] += i64::from(sum[lane]);
            squares[block + lane] += square[lane].cast_signed();
        }
    }
}

/// Scale and bias per channel from the sums. One unit.
pub(crate) struct Normaliser {
    /// What the units of [`Statistics`] wrote.
    pub(crate) units: usize,
    /// Where.
    pub(crate) room: Room,
    /// Stored channels.
    pub(crate) channels: usize,
    /// Voxels.
    pub(crate) count: u64,
    /// Real channels: gamma, beta and real units per step.
    pub(crate) constants: Vec<(f32, f32, f64)>,
    /// Is added to the variance.
    pub(crate) epsilon: f32,
}

impl Kernel for Normaliser {
    fn units(&self) -> usize {
        1
    }

    unsafe fn unit(&self, _: usize, place: Place<'_>, _: *mut u8) {
        // SAFETY: the room was planned for this many units and channels.
        unsafe {
            let sums = place.at::<i64>(self.room.sums).cast_const();
            let (scale, bias) = (place.at::<f32>(self.room.scale), place.at::<f32>(self.room.bias));
            for c in 0..self.channels {
                let at =
                    |unit: usize, which: usize| *sums.add((unit * 2 + which) * self.channels + c);
                let sum = (0..self.units).map(|unit| at(unit, 0)).sum();
                let squares = (0..self.units).map(|unit| at(unit, 1)).sum();
                let (scaled, biased) = match self.constants.get(c) {
                    Some(&(gamma, beta, unit)) => normalisation(
                        (self.count, sum, squares),
                        (gamma, beta),
                        (unit, self.epsilon),
                    ),
                    None => (0.0, 0.0),
                };
                scale.add(c).write(scaled);
                bias.add(c).write(biased);
            }
        }
    }
}
