//! The constants that turn the sums of a convolution into values, padded to whole blocks.

use super::super::layout::{BLOCK, Layout};
use super::super::memory::Packed;
use super::super::program::{Affine, Finish, Kind, Value};
use super::Place;
use super::path::{Block, Channels, To};

/// Where the values go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// u8 in the arena.
    Quantised {
        /// Where they lie.
        layout: Layout,
        /// Their zero point.
        zero: u8,
    },
    /// Staged values in the arena.
    Staged(Layout),
    /// f32.
    Real {
        /// Where.
        numbers: Numbers,
        /// `[z, y, x]`.
        size: [usize; 3],
        /// Channels there are.
        channels: usize,
    },
}

impl Target {
    /// Shape of the value.
    pub(crate) fn size(&self) -> [usize; 3] {
        match self {
            Self::Quantised { layout, .. } | Self::Staged(layout) => layout.size,
            Self::Real { size, .. } => *size,
        }
    }
}

/// Where numbers in f32 go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Numbers {
    /// Into the arena, channels last.
    Arena(Layout),
    /// Outside, `[channel, z, y, x]`: place among the program's outputs.
    Output(usize),
}

/// A convolution's last steps.
pub(crate) struct Finishing {
    target: Target,
    correction: Packed<i32>,
    scale: Packed<f32>,
    bias: Packed<f32>,
    slope: Packed<f32>,
}

impl Finishing {
    /// `corrections` are added to the sums, for all taps of a transposed convolution one set after the
    /// other: `[tap][channel]`.
    pub(crate) fn new(
        target: Target,
        value: &Value,
        finish: &Finish,
        corrections: &[Vec<i32>],
    ) -> Self {
        let affine = match (finish, &value.kind) {
            (Finish::Requantise(affine) | Finish::Real(affine), _) => affine.clone(),
            (Finish::Stage, Kind::Staged(steps)) => Affine {
                scale: steps.iter().map(|step| 1.0 / step).collect(),
                bias: vec![0.0; steps.len()],
                slope: vec![1.0; steps.len()],
            },
            (Finish::Stage, _) => unreachable!("the program was checked"),
        };
        let padded = value.channels.next_multiple_of(BLOCK);
        let mut correction = Packed::zeros(corrections.len() * padded);
        let rows = correction.as_mut_slice().chunks_exact_mut(padded);
        for (row, corrections) in rows.zip(corrections) {
            row[..corrections.len()].copy_from_slice(corrections);
        }
        let padded_to_block = |values: &[f32]| {
            let mut packed = Packed::zeros(padded);
            packed.as_mut_slice()[..values.len()].copy_from_slice(values);
            packed
        };
        Self {
            target,
            correction,
            scale: padded_to_block(&affine.scale),
            bias: padded_to_block(&affine.bias),
            slope: padded_to_block(&affine.slope),
        }
    }

    /// Blocks of channels.
    pub(crate) fn blocks(&self) -> usize {
        self.scale.as_slice().len() / BLOCK
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Constants of block `block`, for tap `tap`.
    pub(crate) fn channels(&self, block: usize, tap: usize) -> Channels {
        let at = block * BLOCK;
        let correction = tap * self.scale.as_slice().len() + at;
        Channels {
            correction: self.correction.as_slice()[correction..][..BLOCK].as_ptr(),
            scale: self.scale.as_slice()[at..][..BLOCK].as_ptr(),
            bias: self.bias.as_slice()[at..][..BLOCK].as_ptr(),
            slope: self.slope.as_slice()[at..][..BLOCK].as_ptr(),
        }
    }

    /// Block `block` of a row, for tap `tap`: its first voxel is `at`, the others follow every `step`
    /// voxels.
    ///
    /// # Safety
    /// The row lies in the value.
    pub(crate) unsafe fn row(
        &self,
        (block, tap): (usize, usize),
        (at, step): ([usize; 3], usize),
        place: Place<'_>,
    ) -> Block {
        // SAFETY: the caller says that the voxels lie in the value; its layout is of this arena.
        let to = unsafe {
            match self.target {
                Target::Quantised { layout, zero } => To::U8 {
                    first: place.at::<u8>(layout.offset + layout.voxel(at) + block * BLOCK),
                    stride: step * layout.channels,
                    zero,
                },
                Target::Staged(layout) => To::I16 {
                    first: place.at::<i16>(layout.offset).add(layout.voxel(at) + block * BLOCK),
                    stride: step * layout.channels,
                },
                // Channels are padded to blocks, so all sixteen have a place.
                Target::Real { numbers: Numbers::Arena(layout), .. } => To::F32 {
                    first: place.at::<f32>(layout.offset).add(layout.voxel(at) + block * BLOCK),
                    step: step * layout.channels,
                    plane: 1,
                    count: BLOCK,
                },
                Target::Real { numbers: Numbers::Output(output), size, channels } => {
                    let plane = size[0] * size[1] * size[2];
                    let first = (at[0] * size[1] + at[1]) * size[2] + at[2];
                    To::F32 {
                        first: place.output(output).add(block * BLOCK * plane + first),
                        step,
                        plane,
                        count: BLOCK.min(channels - block * BLOCK),
                    }
                }
            }
        };
        Block { channels: self.channels(block, tap), to }
    }
}
