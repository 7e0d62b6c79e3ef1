//! What a program means, written out: one loop per sum, no layout, no tricks. Every path is compared
//! with this one.

use super::program::{
    Combine, Conv, Double, Finish, Kind, Op, Pool, PoolKind, Program, Scaling, Upsample, ValueId,
    activated, normalisation, quantised, requantised, staged,
};

mod tokens;

/// A value, `[channel, z, y, x]`, x fastest.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Of [`Kind::Quantised`].
    Quantised(Vec<u8>),
    /// Of [`Kind::Staged`].
    Staged(Vec<i16>),
    /// Of [`Kind::Float`] and [`Kind::Real`].
    Real(Vec<f32>),
}

/// All values of `program` for `input` `[channel, z, y, x]`, in order; `None` where the input does not
/// fit.
pub fn run(program: &Program, input: &[f32], size: [usize; 3]) -> Option<Vec<Data>> {
    let shapes = program.shapes(size)?;
    if input.len() != program.input_channels * voxels(size) {
        return None;
    }
    let mut machine = Machine { program, shapes, values: Vec::new() };
    for (id, layer) in program.layers.iter().enumerate() {
        let value = match &layer.op {
            Op::Quantise => {
                let quant = program.quant(id)?;
                Data::Quantised(input.iter().map(|&x| quantised(x, quant)).collect())
            }
            Op::Conv(op) => machine.conv(id, op),
            Op::Upsample(op) => machine.upsample(id, op),
            Op::Combine(op) => machine.combine(id, op),
            Op::Pool(op) => machine.pool(id, op),
            Op::Double(op) => machine.double(id, op),
            Op::Token(op) => machine.token(id, op),
        };
        machine.values.push(value);
    }
    Some(machine.values)
}

struct Machine<'a> {
    program: &'a Program,
    shapes: Vec<[usize; 3]>,
    values: Vec<Data>,
}

impl Machine<'_> {
    /// q − zero point, 0 outside.
    fn real(&self, id: ValueId, c: usize, at: [isize; 3]) -> i32 {
        let (shape, zero) = (self.shapes[id], self.zero_point(id));
        match (&self.values[id], inside(shape, at)) {
            (Data::Quantised(values), Some(at)) => {
                i32::from(values[c * voxels(shape) + at]) - i32::from(zero)
            }
            (_, _) => 0,
        }
    }

    fn zero_point(&self, id: ValueId) -> u8 {
        self.program.quant(id).map_or(0, |quant| quant.zero_point)
    }

    fn conv(&self, id: ValueId, op: &Conv) -> Data {
        let channels: Vec<(ValueId, usize)> = op
            .inputs
            .iter()
            .flat_map(|&id| (0..self.program.values[id].channels).map(move |c| (id, c)))
            .collect();
        let taps = op.window.taps();
        self.finished(id, &op.finish, |out, at| {
            let mut sum = 0;
            for (index, &(input, c)) in channels.iter().enumerate() {
                let weights = &op.weights[(out * channels.len() + index) * taps..][..taps];
                for (tap, &weight) in weights.iter().enumerate() {
                    let step = unravel(tap, op.window.kernel);
                    let from = [0, 1, 2].map(|axis| {
                        (at[axis] * op.window.stride[axis] + step[axis]) as isize
                            - op.window.before[axis] as isize
                    });
                    sum += self.real(input, c, from) * i32::from(weight);
                }
            }
            sum
        })
    }

    fn upsample(&self, id: ValueId, op: &Upsample) -> Data {
        let inputs = self.program.values[op.input].channels;
        let taps = op.kernel.iter().product::<usize>();
        self.finished(id, &op.finish, |out, at| {
            let from = [0, 1, 2].map(|axis| (at[axis] / op.kernel[axis]) as isize);
            let tap = [0, 1, 2].map(|axis| at[axis] % op.kernel[axis]);
            let tap = (tap[0] * op.kernel[1] + tap[1]) * op.kernel[2] + tap[2];
            let product = |c: usize| {
                let weight = op.weights[(out * inputs + c) * taps + tap];
                self.real(op.input, c, from) * i32::from(weight)
            };
            (0..inputs).map(product).sum()
        })
    }

    fn finished(
        &self,
        id: ValueId,
        finish: &Finish,
        sum: impl Fn(usize, [usize; 3]) -> i32,
    ) -> Data {
        let zero = self.zero_point(id);
        match (finish, &self.program.values[id].kind) {
            (Finish::Requantise(affine), _) => Data::Quantised(
                self.every(id, |c, at| requantised(affine.value(sum(c, at), c), zero)),
            ),
            (Finish::Stage, Kind::Staged(steps)) => {
                Data::Staged(self.every(id, |c, at| staged(sum(c, at), steps[c])))
            }
            (Finish::Real(affine), _) => {
                Data::Real(self.every(id, |c, at| affine.value(sum(c, at), c)))
            }
            (Finish::Stage, _) => unreachable!("the program was checked"),
        }
    }

    fn combine(&self, id: ValueId, op: &Combine) -> Data {
        let (zero, count) = (self.zero_point(id), voxels(self.shapes[id]));
        let terms: Vec<Vec<(f32, f32)>> =
            op.terms.iter().map(|term| self.scaling(term.input, &term.scaling)).collect();
        Data::Quantised(self.every(id, |c, at| {
            let place = c * count + ravel(at, self.shapes[id]);
            let value = |(term, scaling): (&super::program::Term, &Vec<(f32, f32)>)| {
                let whole = match &self.values[term.input] {
                    Data::Quantised(q) => {
                        f32::from(i16::from(q[place]) - i16::from(self.zero_point(term.input)))
                    }
                    Data::Staged(t) => f32::from(t[place]),
                    Data::Real(_) => unreachable!("the program was checked"),
                };
                whole * scaling[c].0 + scaling[c].1
            };
            let mut values = op.terms.iter().zip(&terms).map(value);
            let first = values.next().unwrap_or(0.0);
            let sum = values.next().map_or(first, |second| first + second);
            requantised(activated(sum, op.slope[c]), zero)
        }))
    }

    /// Scale and bias per channel.
    fn scaling(&self, input: ValueId, scaling: &Scaling) -> Vec<(f32, f32)> {
        match (scaling, &self.values[input], &self.program.values[input].kind) {
            (Scaling::Fixed { scale, bias }, _, _) => {
                scale.iter().copied().zip(bias.iter().copied()).collect()
            }
            (
                Scaling::Normalised { gamma, beta, epsilon, unit },
                Data::Staged(values),
                Kind::Staged(steps),
            ) => {
                let count = voxels(self.shapes[input]);
                let channel = |(c, values): (usize, &[i16])| {
                    let sum = values.iter().map(|&t| i64::from(t)).sum();
                    let squares = values.iter().map(|&t| i64::from(t) * i64::from(t)).sum();
                    let real_per_step = f64::from(steps[c]) * f64::from(unit[c]);
                    normalisation(
                        (count as u64, sum, squares),
                        (gamma[c], beta[c]),
                        (real_per_step, *epsilon),
                    )
                };
                values.chunks_exact(count).enumerate().map(channel).collect()
            }
            (Scaling::Normalised { .. }, _, _) => unreachable!("the program was checked"),
        }
    }

    fn pool(&self, id: ValueId, op: &Pool) -> Data {
        let (zero, shape) = (self.zero_point(id), self.shapes[op.input]);
        Data::Quantised(self.every(id, |c, at| {
            let window = (0..op.window.taps()).filter_map(|tap| {
                let step = unravel(tap, op.window.kernel);
                let from = [0, 1, 2].map(|axis| {
                    (at[axis] * op.window.stride[axis] + step[axis]) as isize
                        - op.window.before[axis] as isize
                });
                inside(shape, from).map(|_| self.real(op.input, c, from))
            });
            match op.kind {
                PoolKind::Max => (window.max().unwrap_or(0) + i32::from(zero)) as u8,
                PoolKind::Mean { scale } => {
                    let (sum, count) = window.fold((0, 0), |(sum, n), value| (sum + value, n + 1));
                    requantised(sum as f32 * scale / (count.max(1) as f32), zero)
                }
            }
        }))
    }

    fn double(&self, id: ValueId, op: &Double) -> Data {
        let (zero, shape) = (self.zero_point(id), self.shapes[op.input]);
        // Quarters of the way between two voxels, edges repeated: three parts of the nearer, one of the
        // farther one.
        let parts = |axis: usize, at: usize| {
            let near = (at / 2) as isize;
            let far = if at.is_multiple_of(2) { near - 1 } else { near + 1 };
            [(near, 3), (far.clamp(0, shape[axis] as isize - 1), 1)]
        };
        Data::Quantised(self.every(id, |c, at| {
            let mut sum = 0;
            for (z, of_z) in parts(0, at[0]) {
                for (y, of_y) in parts(1, at[1]) {
                    for (x, of_x) in parts(2, at[2]) {
                        sum += of_z * of_y * of_x * self.real(op.input, c, [z, y, x]);
                    }
                }
            }
            requantised(sum as f32 * (op.scale / 64.0), zero)
        }))
    }

    fn every<T>(&self, id: ValueId, value: impl Fn(usize, [usize; 3]) -> T) -> Vec<T> {
        let shape = self.shapes[id];
        (0..self.program.values[id].channels)
            .flat_map(|c| (0..voxels(shape)).map(move |place| (c, place)))
            .map(|(c, place)| value(c, unravel(place, shape)))
            .collect()
    }
}

fn voxels(shape: [usize; 3]) -> usize {
    shape.iter().product()
}

fn unravel(place: usize, [_, y, x]: [usize; 3]) -> [usize; 3] {
    [place / (y * x), place / x % y, place % x]
}

fn ravel(at: [usize; 3], shape: [usize; 3]) -> usize {
    (at[0] * shape[1] + at[1]) * shape[2] + at[2]
}

fn inside(shape: [usize; 3], at: [isize; 3]) -> Option<usize> {
    let within = (0..3).all(|axis| at[axis] >= 0 && (at[axis] as usize) < shape[axis]);
    within.then(|| ravel(at.map(|side| side as usize), shape))
}
