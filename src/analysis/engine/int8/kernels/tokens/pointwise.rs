//! What is computed of each token by itself, or of eight.

use std::sync::Arc;

use super::super::super::arithmetic::{LANES, blocks, normalise, silu};
use super::super::super::tokens::Norm;
use super::super::Place;
use super::{Read, Target, Wide, copy, floats};

/// What becomes of a token.
pub(super) enum Change {
    /// Scale and bias per channel.
    Affine(Arc<[f32]>, Arc<[f32]>),
    /// Normalised.
    Normalise(Norm),
    /// Normalised, times the activated gate.
    Gated(Read, Norm),
    /// Eight tokens together, normalised.
    Merge(Norm),
    /// Two halves added in turn.
    Shuffle(Read, Read),
}

/// A layer without neighbours. A unit is one row of the output.
pub(super) struct Pointwise {
    pub(super) input: Read,
    pub(super) change: Change,
    pub(super) target: Target,
}

impl Pointwise {
    fn channels(&self) -> usize {
        let merged = matches!(self.change, Change::Merge(_));
        self.input.channels * if merged { 8 } else { 1 }
    }

    #[inline(always)]
    unsafe fn token(&self, place: Place<'_>, [z, y, x]: [usize; 3], to: &mut [f32]) {
        let [_, height, width] = self.input.layout.size;
        let token = (z * height + y) * width + x;
        // SAFETY: tokens of values that earlier layers made.
        unsafe {
            match &self.change {
                Change::Affine(scale, bias) => {
                    let from = blocks(self.input.token(place, token));
                    let (to, _) = to.as_chunks_mut::<LANES>();
                    let numbers = from.iter().zip(blocks(scale)).zip(blocks(bias));
                    for (to, ((from, scale), bias)) in to.iter_mut().zip(numbers) {
                        *to = std::array::from_fn(|lane| scale[lane] * from[lane] + bias[lane]);
                    }
                }
                Change::Normalise(norm) => {
                    copy(to, self.input.token(place, token));
                    normalise(to, norm);
                }
                Change::Gated(gate, norm) => {
                    copy(to, self.input.token(place, token));
                    normalise(to, norm);
                    let (to, _) = to.as_chunks_mut::<LANES>();
                    for (to, gate) in to.iter_mut().zip(blocks(gate.token(place, token))) {
                        for lane in 0..LANES {
                            to[lane] *= silu(gate[lane]);
                        }
                    }
                }
                Change::Merge(norm) => {
                    let parts = to.chunks_exact_mut(self.input.channels);
                    for (corner, part) in parts.enumerate() {
                        let (z, y) = (2 * z + (corner >> 2), 2 * y + (corner >> 1 & 1));
                        let token = (z * height + y) * width + 2 * x + (corner & 1);
                        copy(part, self.input.token(place, token));
                    }
                    normalise(to, norm);
                }
                Change::Shuffle(near, far) => {
                    let (near, far) = (near.token(place, token), far.token(place, token));
                    let from = self.input.token(place, token).as_chunks::<2>().0;
                    let (to, _) = to.as_chunks_mut::<2>();
                    for (((to, from), near), far) in to.iter_mut().zip(from).zip(near).zip(far) {
                        *to = [from[0] + near, from[1] + far];
                    }
                }
            }
        }
    }
}

impl Wide for Pointwise {
    fn units(&self) -> usize {
        let [depth, height, _] = self.target.size();
        depth * height
    }

    fn scratch(&self) -> usize {
        self.channels() * size_of::<f32>()
    }

    fn weights(&self) -> usize {
        match &self.change {
            Change::Affine(scale, bias) => size_of_val(&**scale) + size_of_val(&**bias),
            Change::Normalise(norm) | Change::Gated(_, norm) | Change::Merge(norm) => norm.bytes(),
            Change::Shuffle(..) => 0,
        }
    }

    #[inline(always)]
    unsafe fn unit(&self, unit: usize, place: Place<'_>, scratch: *mut u8) {
        let [_, height, width] = self.target.size();
        let (z, y) = (unit / height, unit % height);
        // SAFETY: this unit alone writes its row.
        unsafe {
            let token = floats(scratch, self.channels());
            for x in 0..width {
                self.token(place, [z, y, x], token);
                self.target.store(place, [z, y, x], token);
            }
        }
    }
}
