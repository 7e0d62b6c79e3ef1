//! How large the numbers of float layers can become, so that none of them is infinite or not a number: what is not a
//! number would be rounded to 255 and look like a value.
//!
//! A bound is carried from layer to layer. It begins at a convolution, whose sums its weights bound, and every kind of
//! float layer has a rule; [`Program::new`] refuses what may pass [`LARGEST`]. From there nothing can reach infinity but
//! a sum of squares in a norm, whose values are then 0 times their weight; and nothing divides by 0.

use super::program::{Finish, Kind, Op, Program, ValueId, largest_sum};
use super::tokens::{AXIS_ORDERS, Norm, Prototypes, Scan, TokenOp, View};

/// The largest value that a float layer may be able to make, of 3.4 · 10³⁸ that f32 holds.
pub(super) const LARGEST: f64 = 1e30;

/// A sum of f32 numbers up to b, however many, stays below this many b: from 2²⁵ · b on another one changes nothing.
const LONGEST_SUM: f64 = (1 << 26) as f64;

/// The largest value of layer `id`, whose inputs are bounded by `before`; 0 for what is no float layer and feeds none.
pub(super) fn largest(program: &Program, id: ValueId, before: &[f64]) -> f64 {
    let value = &program.values[id];
    let convolved = |input: ValueId, weights: &[i8], finish: &Finish| match (finish, &value.kind) {
        (Finish::Real(affine), Kind::Float) => {
            let zero_point = program.quant(input).map_or(0, |quant| quant.zero_point);
            let rows = weights.chunks_exact(weights.len() / value.channels);
            let sums = rows.map(|row| largest_sum(row, zero_point) as f64);
            let affine = affine.scale.iter().zip(&affine.bias).zip(&affine.slope);
            let each = sums.zip(affine).map(|(sum, ((scale, bias), slope))| {
                (size(*scale) * sum + size(*bias)) * size(*slope).max(1.0)
            });
            each.fold(0.0, f64::max)
        }
        (_, _) => 0.0,
    };
    match &program.layers[id].op {
        Op::Conv(op) => convolved(op.inputs[0], &op.weights, &op.finish),
        Op::Upsample(op) => convolved(op.input, &op.weights, &op.finish),
        Op::Token(op) => token(op, &|view: View| before[view.value]),
        Op::Quantise | Op::Combine(_) | Op::Pool(_) | Op::Double(_) => 0.0,
    }
}

fn token(op: &TokenOp, of: &dyn Fn(View) -> f64) -> f64 {
    match op {
        TokenOp::Affine { input, scale, bias } => most(scale) * of(*input) + most(bias),
        TokenOp::Normalise { norm, .. } | TokenOp::Merge { norm, .. } => normal(norm),
        TokenOp::Gated { gate, norm, .. } => normal(norm) * of(*gate).max(1.0),
        TokenOp::Local { input, weights, bias } => {
            let sums = |c: usize| {
                let weights = weights.chunks_exact(bias.len()).map(|tap| size(tap[c]));
                size(bias[c]) + of(*input) * weights.sum::<f64>()
            };
            (0..bias.len()).map(sums).fold(0.0, f64::max)
        }
        TokenOp::Scan(op) => scan(op, of(op.signal), of(op.selected).max(1.0)),
        TokenOp::Shuffle { base, near, far } => of(*base) + of(*near).max(of(*far)),
        TokenOp::Distances(op) | TokenOp::TokenDistances(op) => distances(op),
    }
}

/// A state adds up B · step · x and only decays; the step is at most 1 more than what is selected.
fn scan(op: &Scan, signal: f64, selected: f64) -> f64 {
    let state = LONGEST_SUM * selected * (selected + 1.0) * signal;
    let outputs = 2.0 * AXIS_ORDERS.len() as f64 * op.states as f64 * selected * state;
    most(&op.skip) * signal + outputs
}

/// Of n numbers with mean 0 and variance 1 the largest is below √n; twice that leaves room for rounding.
fn normal(norm: &Norm) -> f64 {
    2.0 * (norm.weight.len() as f64).sqrt() * most(&norm.weight) + most(&norm.bias)
}

/// Distances, and the scores that weigh tokens.
fn distances(op: &Prototypes) -> f64 {
    let (channels, token) = (op.input.channels as f64, normal(&op.norm));
    let gap = token + most(&op.prototypes);
    let score = channels * token * most(&op.attend) + size(op.level);
    (channels * gap * gap).max(score)
}

fn most(values: &[f32]) -> f64 {
    values.iter().map(|&value| size(value)).fold(0.0, f64::max)
}

fn size(value: f32) -> f64 {
    f64::from(value).abs()
}
