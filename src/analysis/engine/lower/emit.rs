//! From expressions to layers: where an f32 value is rounded to 8 bits or handed out, the layers that
//! compute it are appended, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::form::{Expr, Path, Pending, Source, Sum, Term, Token};
use super::{MAX_NODES, MAX_WEIGHTS};
use crate::analysis::engine::int8::program::{
    Affine, Combine, Conv, Double, Finish, Kind, Layer, MAX_LAYERS, Op, Pool, PoolKind, Quant,
    STAGED_MAX, Scaling, Term as Summand, Upsample, Value, ValueId, Window, largest_sum,
};
use crate::analysis::engine::int8::tokens::{TokenOp, View};

/// The program as far as it has come.
#[derive(Default)]
pub(super) struct Layers {
    /// Layer i makes value i.
    pub(super) layers: Vec<Layer>,
    pub(super) values: Vec<Value>,
    input_channels: usize,
    /// What was asked for before.
    made: Vec<(Expr, Quant, ValueId)>,
    staged: BTreeMap<usize, ValueId>,
    /// Float layers that made f32, by node.
    floats: BTreeMap<usize, ValueId>,
    /// How often a convolution or a float layer rounded to 8 bits at once, by node.
    rounded: BTreeMap<usize, usize>,
    /// Weights of all convolutions, and bytes of all constants of float layers.
    weights: usize,
    /// Nodes with several readers. Sums of a convolution are staged once, a float layer makes f32 once; each reader
    /// finishes them for itself.
    shared: BTreeSet<usize>,
}

impl Layers {
    pub(super) fn new(input_channels: usize, shared: BTreeSet<usize>) -> Self {
        Self { input_channels, shared, ..Self::default() }
    }

    /// Convolutions and float layers that ran more than once for different readers.
    pub(super) fn to_share(&self) -> BTreeSet<usize> {
        let several = |(node, &count): (&usize, &usize)| {
            let whole = [&self.staged, &self.floats].map(|made| made.contains_key(node));
            let readers = count + whole.map(usize::from).iter().sum::<usize>();
            if readers > 1 { Some(*node) } else { None }
        };
        self.rounded.iter().filter_map(several).collect()
    }

    pub(super) fn channels(&self, expr: &Expr) -> usize {
        match expr {
            Expr::Input => self.input_channels,
            Expr::Value(id) | Expr::Mean(id, _) | Expr::Double(id) => self.values[*id].channels,
            Expr::Sum(sum) => sum.terms[0].scale.len(),
            Expr::Float(view) => view.channels,
            Expr::Token(token) => token.op.channels(),
        }
    }

    /// Of a value made by a layer that rounds to 8 bits.
    pub(super) fn quant(&self, id: ValueId) -> Result<Quant, String> {
        match self.values[id].kind {
            Kind::Quantised(quant) => Ok(quant),
            Kind::Staged(_) | Kind::Float | Kind::Real => {
                Err("reads a value that is not 8-bit".into())
            }
        }
    }

    /// An expression as a sum; 8-bit values become a term.
    pub(super) fn sum(&self, expr: &Expr) -> Result<Sum, String> {
        match expr {
            Expr::Sum(sum) => Ok(sum.clone()),
            Expr::Value(id) => {
                let scale = f64::from(self.quant(*id)?.scale);
                let channels = self.values[*id].channels;
                Ok(Sum::of(Source::Value(*id), vec![scale; channels], vec![0.0; channels]))
            }
            Expr::Input => Err("reads the input before it is quantised".into()),
            Expr::Mean(..) => Err("reads an average pool before it is quantised".into()),
            Expr::Double(_) => Err("reads a resized value before it is quantised".into()),
            Expr::Float(_) | Expr::Token(_) => {
                Err("reads the result of a float layer before it is quantised".into())
            }
        }
    }

    /// `expr` rounded to 8 bits.
    pub(super) fn rounded(
        &mut self,
        expr: &Expr,
        quant: Quant,
        name: &str,
    ) -> Result<ValueId, String> {
        let same = |(made, of, _): &&(Expr, Quant, ValueId)| *of == quant && made == expr;
        if let Some(&(_, _, id)) = self.made.iter().find(same) {
            return Ok(id);
        }
        let op = match expr {
            Expr::Input => Op::Quantise,
            &Expr::Value(id) if self.quant(id)? == quant => return Ok(id),
            Expr::Value(_) | Expr::Sum(_) => {
                let id = self.rounded_sum(&self.sum(expr)?, quant, name)?;
                self.made.push((expr.clone(), quant, id));
                return Ok(id);
            }
            &Expr::Mean(input, window) => {
                let kind = PoolKind::Mean { scale: self.ratio(input, quant)? };
                Op::Pool(Pool { input, window, kind })
            }
            &Expr::Double(input) => Op::Double(Double { input, scale: self.ratio(input, quant)? }),
            &Expr::Float(input) => unchanged(input),
            Expr::Token(token) if token.op.is_head() => return Err("rounds distances".into()),
            Expr::Token(token) if self.shared.contains(&token.node) => {
                unchanged(self.float(expr, name)?)
            }
            Expr::Token(token) => {
                *self.rounded.entry(token.node).or_default() += 1;
                Op::Token(token.op.clone())
            }
        };
        let value = Value { channels: self.channels(expr), kind: Kind::Quantised(quant) };
        let id = self.push(name, value, op)?;
        self.made.push((expr.clone(), quant, id));
        Ok(id)
    }

    /// Input scale over output scale.
    fn ratio(&self, input: ValueId, quant: Quant) -> Result<f32, String> {
        Ok((f64::from(self.quant(input)?.scale) / f64::from(quant.scale)) as f32)
    }

    fn rounded_sum(&mut self, sum: &Sum, quant: Quant, name: &str) -> Result<ValueId, String> {
        let unit = f64::from(quant.scale);
        let kind = Kind::Quantised(quant);
        if let Some((pending, term)) = at_once(sum)
            && !self.shared.contains(&pending.node)
        {
            *self.rounded.entry(pending.node).or_default() += 1;
            return self.convolution(pending, kind, Finish::Requantise(affine(term, sum, unit)));
        }
        let terms =
            sum.terms.iter().map(|term| self.summand(term, unit)).collect::<Result<_, _>>()?;
        let channels = sum.terms[0].scale.len();
        let op = Op::Combine(Combine { terms, slope: slope(sum, channels) });
        self.push(name, Value { channels, kind }, op)
    }

    /// `expr` in f32, for float layers to read.
    pub(super) fn float(&mut self, expr: &Expr, name: &str) -> Result<View, String> {
        let id = match expr {
            Expr::Float(view) => return Ok(*view),
            Expr::Token(token) => self.float_layer(token, name)?,
            _ => {
                let sum = self.convolved(self.sum(expr)?)?;
                let Some((pending, term)) = at_once(&sum) else {
                    return Err("reads a sum, or what is normalised over the image".into());
                };
                self.convolution(pending, Kind::Float, Finish::Real(affine(term, &sum, 1.0)))?
            }
        };
        Ok(View { value: id, first: 0, channels: self.values[id].channels })
    }

    /// What a float layer makes, in f32: computed once, whoever reads it.
    fn float_layer(&mut self, token: &Token, name: &str) -> Result<ValueId, String> {
        if token.op.is_head() {
            return Err("reads distances".into());
        }
        if let Some(&id) = self.floats.get(&token.node) {
            return Ok(id);
        }
        let value = Value { channels: token.op.channels(), kind: Kind::Float };
        let id = self.push(name, value, Op::Token(token.op.clone()))?;
        self.floats.insert(token.node, id);
        Ok(id)
    }

    /// `expr` in f32, handed out: a convolution's result, what was rounded to 8 bits, or distances.
    pub(super) fn real(&mut self, expr: &Expr, name: &str) -> Result<ValueId, String> {
        if let Expr::Token(token) = expr
            && token.op.is_head()
        {
            let value = Value { channels: token.op.channels(), kind: Kind::Real };
            return self.push(name, value, Op::Token(token.op.clone()));
        }
        let sum = self.convolved(self.sum(expr)?)?;
        let Some((pending, term)) = at_once(&sum) else {
            return Err("is a sum or normalised, and not rounded to 8 bits after that".into());
        };
        self.convolution(pending, Kind::Real, Finish::Real(affine(term, &sum, 1.0)))
    }

    /// A single term of 8-bit values as one of a convolution: only their sums can be normalised or
    /// handed out, and a 1×1×1 convolution with ones on its diagonal changes nothing.
    pub(super) fn convolved(&mut self, mut sum: Sum) -> Result<Sum, String> {
        let [term] = &mut sum.terms[..] else { return Ok(sum) };
        if let Source::Value(id) = term.source {
            let channels = self.values[id].channels;
            self.spend(channels * channels)?;
            let diagonal = |at: usize| i8::from(at / channels == at % channels);
            let weights = (0..channels * channels).map(diagonal).collect();
            let window = Window { kernel: [1; 3], stride: [1; 3], before: [0; 3], after: [0; 3] };
            let name = format!("{} unchanged", self.layers[id].name);
            let (node, path) = (MAX_NODES + id, Path::Window(window));
            let pending = Pending { node, name, channels, inputs: vec![id], path, weights };
            term.source = Source::Pending(Rc::new(pending));
        }
        Ok(sum)
    }

    /// The largest values of windows, in the scale of their input.
    pub(super) fn largest(
        &mut self,
        input: ValueId,
        window: Window,
        name: &str,
    ) -> Result<ValueId, String> {
        let value = self.values[input].clone();
        self.push(name, value, Op::Pool(Pool { input, window, kind: PoolKind::Max }))
    }

    fn summand(&mut self, term: &Term, unit: f64) -> Result<Summand, String> {
        let (input, steps) = match &term.source {
            Source::Value(id) => (*id, None),
            Source::Pending(pending) => {
                let (id, steps) = self.staged(pending)?;
                (id, Some(steps))
            }
        };
        let bias = in_units(&term.bias, unit);
        let scaling = match (&term.normalised, steps) {
            (Some(normalised), _) => Scaling::Normalised {
                gamma: in_units(&term.scale, unit),
                beta: bias,
                epsilon: normalised.epsilon,
                unit: in_units(&normalised.unit, 1.0),
            },
            (None, None) => Scaling::Fixed { scale: in_units(&term.scale, unit), bias },
            (None, Some(steps)) => {
                let per_step = |(scale, step): (&f64, f32)| scale * f64::from(step);
                let scale: Vec<f64> = term.scale.iter().zip(steps).map(per_step).collect();
                Scaling::Fixed { scale: in_units(&scale, unit), bias }
            }
        };
        Ok(Summand { input, scaling })
    }

    /// The sums of a convolution as i16, and their steps.
    fn staged(&mut self, pending: &Pending) -> Result<(ValueId, Vec<f32>), String> {
        let quant = self.quant(pending.inputs[0])?;
        let row = pending.weights.len() / pending.channels;
        let steps: Vec<f32> = pending
            .weights
            .chunks_exact(row)
            .map(|weights| step(largest_sum(weights, quant.zero_point)))
            .collect();
        if let Some(&id) = self.staged.get(&pending.node) {
            return Ok((id, steps));
        }
        let id = self.convolution(pending, Kind::Staged(steps.clone()), Finish::Stage)?;
        self.staged.insert(pending.node, id);
        Ok((id, steps))
    }

    fn convolution(
        &mut self,
        pending: &Pending,
        kind: Kind,
        finish: Finish,
    ) -> Result<ValueId, String> {
        self.spend(pending.weights.len())?;
        let (inputs, weights) = (pending.inputs.clone(), pending.weights.clone());
        let op = match pending.path {
            Path::Window(window) => Op::Conv(Conv { inputs, window, weights, finish }),
            Path::Block(kernel) => {
                Op::Upsample(Upsample { input: inputs[0], kernel, weights, finish })
            }
        };
        self.push(&pending.name, Value { channels: pending.channels, kind }, op)
    }

    /// Counts weights, or bytes of constants, that are about to be held.
    pub(super) fn spend(&mut self, weights: usize) -> Result<(), String> {
        self.weights = self.weights.saturating_add(weights);
        if self.weights <= MAX_WEIGHTS {
            return Ok(());
        }
        Err(format!("the weights of all layers are more than {MAX_WEIGHTS}"))
    }

    fn push(&mut self, name: &str, value: Value, op: Op) -> Result<ValueId, String> {
        if self.layers.len() == MAX_LAYERS {
            return Err(format!("would be layer {MAX_LAYERS}, which is the limit"));
        }
        if let Op::Token(op) = &op {
            self.spend(op.bytes())?;
        }
        self.layers.push(Layer { name: name.into(), op });
        self.values.push(value);
        Ok(self.values.len() - 1)
    }
}

/// The convolution of a sum that needs no staging.
fn at_once(sum: &Sum) -> Option<(&Pending, &Term)> {
    let [term] = &sum.terms[..] else { return None };
    match (&term.source, &term.normalised) {
        (Source::Pending(pending), None) => Some((pending, term)),
        (Source::Pending(_) | Source::Value(_), _) => None,
    }
}

/// A float layer that changes nothing but may round.
fn unchanged(input: View) -> Op {
    let [scale, bias] = [1.0, 0.0].map(|number| vec![number; input.channels].into());
    Op::Token(TokenOp::Affine { input, scale, bias })
}

fn affine(term: &Term, sum: &Sum, unit: f64) -> Affine {
    Affine {
        scale: in_units(&term.scale, unit),
        bias: in_units(&term.bias, unit),
        slope: slope(sum, term.scale.len()),
    }
}

fn slope(sum: &Sum, channels: usize) -> Vec<f32> {
    sum.slope.clone().unwrap_or_else(|| vec![1.0; channels])
}

/// In units of the output's scale, rounded to f32 once.
fn in_units(values: &[f64], unit: f64) -> Vec<f32> {
    values.iter().map(|value| (value / unit) as f32).collect()
}

/// The smallest step with which sums up to `largest` fit into i16.
fn step(largest: u64) -> f32 {
    let exact = largest.max(1) as f64 / f64::from(STAGED_MAX);
    let step = exact as f32;
    if f64::from(step) * f64::from(STAGED_MAX) < largest as f64 { step.next_up() } else { step }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Constants are shared, and counted for each layer that holds them.
    #[test]
    fn what_a_float_layer_holds_is_spent() {
        let mut layers = Layers::new(1, BTreeSet::new());
        layers.values.push(Value { channels: 16, kind: Kind::Float });
        layers.layers.push(Layer { name: "first".into(), op: Op::Quantise });
        let view = View { value: 0, first: 0, channels: 16 };
        let quant = Quant { scale: 1.0, zero_point: 0 };
        layers.spend(MAX_WEIGHTS - 2 * 128).unwrap();
        for scale in [1.0, 2.0] {
            layers.rounded(&Expr::Float(view), Quant { scale, ..quant }, "round").unwrap();
        }
        let refused = layers.rounded(&Expr::Float(view), Quant { scale: 3.0, ..quant }, "round");
        assert!(refused.unwrap_err().contains("are more than"));
        assert_eq!(layers.layers.len(), 3);
    }
}
