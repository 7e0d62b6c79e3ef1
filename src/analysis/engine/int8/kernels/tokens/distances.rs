//! The heads: distances to prototypes.

use super::super::super::arithmetic::{exp, normalise, product, squared_distance};
use super::super::super::tokens::Prototypes;
use super::super::Place;
use super::{Read, Wide, floats};

/// Of the weighted mean of all tokens. One unit: there are few tokens by now.
pub(super) struct Distances {
    pub(super) input: Read,
    pub(super) op: Prototypes,
    /// A score per token.
    pub(super) offset: usize,
    pub(super) output: usize,
}

impl Distances {
    #[inline(always)]
    unsafe fn compute(
        &self,
        place: Place<'_>,
        (token, mean): (&mut [f32], &mut [f32]),
        to: &mut [f32],
    ) {
        let op = &self.op;
        // SAFETY: the plan gave this layer a number per token; tokens of a value that an earlier layer made.
        let (scores, normalised) = unsafe {
            let scores =
                std::slice::from_raw_parts_mut(place.at::<f32>(self.offset), self.input.tokens());
            let normalised = |index: usize, to: &mut [f32]| {
                to.copy_from_slice(self.input.token(place, index));
                normalise(to, &op.norm);
            };
            (scores, normalised)
        };
        let mut highest = f32::NEG_INFINITY;
        for (index, score) in scores.iter_mut().enumerate() {
            normalised(index, token);
            *score = product(token, &op.attend) + op.level;
            highest = highest.max(*score);
        }
        let mut total = 0.0;
        for score in scores.iter_mut() {
            *score = exp(*score - highest);
            total += *score;
        }
        mean.fill(0.0);
        for (index, score) in scores.iter().enumerate() {
            normalised(index, token);
            let share = score / total;
            for (mean, token) in mean.iter_mut().zip(token.iter()) {
                *mean += token * share;
            }
        }
        for (to, prototype) in to.iter_mut().zip(op.prototypes.chunks_exact(mean.len())) {
            *to = squared_distance(mean, prototype);
        }
    }
}

impl Wide for Distances {
    fn units(&self) -> usize {
        1
    }

    fn scratch(&self) -> usize {
        2 * self.input.channels * size_of::<f32>()
    }

    fn weights(&self) -> usize {
        self.op.bytes()
    }

    #[inline(always)]
    unsafe fn unit(&self, _: usize, place: Place<'_>, scratch: *mut u8) {
        // SAFETY: the output has a number per prototype.
        unsafe {
            let numbers =
                floats(scratch, 2 * self.input.channels).split_at_mut(self.input.channels);
            let to = std::slice::from_raw_parts_mut(place.output(self.output), self.op.count());
            self.compute(place, numbers, to);
        }
    }
}

/// Of each token. A unit is one row.
pub(super) struct TokenDistances {
    pub(super) input: Read,
    pub(super) op: Prototypes,
    pub(super) output: usize,
}

impl Wide for TokenDistances {
    fn units(&self) -> usize {
        let [depth, height, _] = self.input.layout.size;
        depth * height
    }

    fn scratch(&self) -> usize {
        self.input.channels * size_of::<f32>()
    }

    fn weights(&self) -> usize {
        self.op.bytes()
    }

    #[inline(always)]
    unsafe fn unit(&self, unit: usize, place: Place<'_>, scratch: *mut u8) {
        let [_, _, width] = self.input.layout.size;
        let count = self.op.count();
        // SAFETY: this unit alone writes its rows of the output.
        unsafe {
            let token = floats(scratch, self.input.channels);
            let to = place.output(self.output).add(unit * width * count);
            let to = std::slice::from_raw_parts_mut(to, width * count);
            for (x, to) in to.chunks_exact_mut(count).enumerate() {
                token.copy_from_slice(self.input.token(place, unit * width + x));
                normalise(token, &self.op.norm);
                let prototypes = self.op.prototypes.chunks_exact(token.len());
                for (to, prototype) in to.iter_mut().zip(prototypes) {
                    *to = squared_distance(token, prototype);
                }
            }
        }
    }
}
