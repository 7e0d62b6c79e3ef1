//! Float layers, written out: one token after the other, in the order that [`tokens`](super::super::tokens) prescribes.

use super::super::arithmetic::{
    LANES, advance, exp, normalise, product, silu, softplus, squared_distance,
};
use super::super::program::{Kind, ValueId, quantised};
use super::super::tokens::{AXIS_ORDERS, Prototypes, Scan, TokenOp, View};
use super::{Data, Machine, inside, ravel, unravel, voxels};

impl Machine<'_> {
    /// Values of layer `id`.
    pub(super) fn token(&self, id: ValueId, op: &TokenOp) -> Data {
        let (shape, channels) = (self.shapes[id], op.channels());
        let rows: Vec<Vec<f32>> = match op {
            TokenOp::Distances(op) => return Data::Real(self.distances(op)),
            TokenOp::TokenDistances(op) => {
                let each = |token: Vec<f32>| distances(&token, op);
                return Data::Real(self.normalised(op).into_iter().flat_map(each).collect());
            }
            TokenOp::Scan(op) => self.scan(op),
            _ => (0..voxels(shape)).map(|at| self.one(op, unravel(at, shape))).collect(),
        };
        let every = |c: usize| rows.iter().map(move |row| row[c]);
        let values: Vec<f32> = (0..channels).flat_map(every).collect();
        match self.program.values[id].kind {
            Kind::Quantised(quant) => {
                Data::Quantised(values.into_iter().map(|value| quantised(value, quant)).collect())
            }
            _ => Data::Real(values),
        }
    }

    /// What becomes of one voxel.
    fn one(&self, op: &TokenOp, at: [usize; 3]) -> Vec<f32> {
        match op {
            TokenOp::Affine { input, scale, bias } => {
                let pairs = scale.iter().zip(bias.iter());
                self.read(*input, at).iter().zip(pairs).map(|(x, (s, b))| s * x + b).collect()
            }
            TokenOp::Normalise { input, norm } => {
                let mut token = self.read(*input, at);
                normalise(&mut token, norm);
                token
            }
            TokenOp::Gated { input, gate, norm } => {
                let mut token = self.read(*input, at);
                normalise(&mut token, norm);
                token.iter().zip(self.read(*gate, at)).map(|(x, gate)| x * silu(gate)).collect()
            }
            TokenOp::Merge { input, norm } => {
                let corner = |index: usize| unravel(index, [2; 3]);
                let from = |step: [usize; 3]| [0, 1, 2].map(|axis| 2 * at[axis] + step[axis]);
                let mut token: Vec<f32> =
                    (0..8).flat_map(|index| self.read(*input, from(corner(index)))).collect();
                normalise(&mut token, norm);
                token
            }
            TokenOp::Local { input, weights, bias } => {
                let mut sums = bias.to_vec();
                for (tap, weights) in weights.chunks_exact(bias.len()).enumerate() {
                    let step = unravel(tap, [3; 3]);
                    let from = [0, 1, 2].map(|axis| (at[axis] + step[axis]) as isize - 1);
                    let shape = self.shapes[input.value];
                    let Some(place) = inside(shape, from) else { continue };
                    let from = self.read(*input, unravel(place, shape));
                    for (sum, (x, weight)) in sums.iter_mut().zip(from.iter().zip(weights)) {
                        *sum += x * weight;
                    }
                }
                sums.into_iter().map(silu).collect()
            }
            TokenOp::Shuffle { base, near, far } => {
                let (near, far) = (self.read(*near, at), self.read(*far, at));
                let added = |(c, x): (usize, &f32)| x + [&near, &far][c % 2][c / 2];
                self.read(*base, at).iter().enumerate().map(added).collect()
            }
            TokenOp::Scan(_) | TokenOp::Distances(_) | TokenOp::TokenDistances(_) => {
                unreachable!("reads more than its neighbours")
            }
        }
    }

    fn read(&self, view: View, at: [usize; 3]) -> Vec<f32> {
        let shape = self.shapes[view.value];
        let Data::Real(values) = &self.values[view.value] else {
            unreachable!("the program was checked")
        };
        let place = ravel(at, shape);
        (view.first..view.first + view.channels)
            .map(|c| values[c * voxels(shape) + place])
            .collect()
    }

    /// By token.
    fn scan(&self, op: &Scan) -> Vec<Vec<f32>> {
        let shape = self.shapes[op.signal.value];
        let tokens: Vec<[usize; 3]> = (0..voxels(shape)).map(|at| unravel(at, shape)).collect();
        let mut mixed: Vec<Vec<f32>> = tokens
            .iter()
            .map(|&at| op.skip.iter().zip(self.read(op.signal, at)).map(|(s, x)| s * x).collect())
            .collect();
        for (order, axes) in AXIS_ORDERS.into_iter().enumerate() {
            let mut forwards: Vec<usize> = (0..tokens.len()).collect();
            forwards.sort_by_key(|&token| axes.map(|axis| tokens[token][axis]));
            let backwards: Vec<usize> = forwards.iter().rev().copied().collect();
            let there = self.one_way(op, order, &forwards);
            let back = self.one_way(op, order, &backwards);
            for (mixed, (there, back)) in mixed.iter_mut().zip(there.iter().zip(&back)) {
                for (mixed, (there, back)) in mixed.iter_mut().zip(there.iter().zip(back)) {
                    *mixed += there + back;
                }
            }
        }
        mixed
    }

    /// Outputs by token of a scan that visits `tokens`.
    fn one_way(&self, op: &Scan, order: usize, tokens: &[usize]) -> Vec<Vec<f32>> {
        let shape = self.shapes[op.signal.value];
        let mut outputs = vec![Vec::new(); tokens.len()];
        for block in 0..op.signal.channels / LANES {
            let head = block * LANES / (op.signal.channels / op.heads);
            let mut states = vec![[0.0; LANES]; op.states];
            for &token in tokens {
                let at = unravel(token, shape);
                let chosen =
                    &self.read(op.selected, at)[order * op.per_order()..][..op.per_order()];
                let (b, rest) = chosen.split_at(op.states);
                let (c, steps) = rest.split_at(op.states);
                let step = softplus(steps[head]);
                let decay = exp(-(step * op.rate[order * op.heads + head]));
                let signal = self.read(op.signal, at);
                let x = std::array::from_fn(|lane| signal[block * LANES + lane] * step);
                outputs[token].extend(advance(&mut states, (b, c), decay, &x));
            }
        }
        outputs
    }

    fn normalised(&self, op: &Prototypes) -> Vec<Vec<f32>> {
        let shape = self.shapes[op.input.value];
        let normalised = |at: usize| {
            let mut token = self.read(op.input, unravel(at, shape));
            normalise(&mut token, &op.norm);
            token
        };
        (0..voxels(shape)).map(normalised).collect()
    }

    fn distances(&self, op: &Prototypes) -> Vec<f32> {
        let tokens = self.normalised(op);
        let scores: Vec<f32> =
            tokens.iter().map(|token| product(token, &op.attend) + op.level).collect();
        let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let scores: Vec<f32> = scores.into_iter().map(|score| exp(score - highest)).collect();
        let total = scores.iter().fold(0.0, |total, score| total + score);
        let mut mean = vec![0.0; op.input.channels];
        for (token, score) in tokens.iter().zip(scores) {
            let share = score / total;
            for (mean, x) in mean.iter_mut().zip(token) {
                *mean += x * share;
            }
        }
        distances(&mean, op)
    }
}

fn distances(token: &[f32], op: &Prototypes) -> Vec<f32> {
    let prototypes = op.prototypes.chunks_exact(token.len());
    prototypes.map(|prototype| squared_distance(token, prototype)).collect()
}
