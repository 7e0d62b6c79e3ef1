//! Operators that change each voxel by itself, or by its channel's statistics: folded into the scale,
//! the bias and the activation of the layer before, or of the one that adds.

use super::MAX_PARTS;
use super::form::{Expr, Form, Sum, Token};
use super::quantise::place;
use super::tensor;
use super::walk::{Made, Node, Walk};
use crate::analysis::engine::int8::program::MAX_CHANNELS;
use crate::analysis::engine::int8::tokens::TokenOp;

impl<'m> Walk<'_, 'm> {
    pub(super) fn relu(&mut self, node: Node<'m>) -> Made<'m> {
        node.attributes(&[])?;
        self.activation(node, |channels| Ok(vec![0.0; channels]))
    }

    pub(super) fn leaky_relu(&mut self, node: Node<'m>) -> Made<'m> {
        let alpha = node.attributes(&["alpha"])?.float("alpha", 0.01)?;
        self.activation(node, |channels| Ok(vec![alpha; channels]))
    }

    /// One slope, or one per channel.
    pub(super) fn parametric_relu(&mut self, node: Node<'m>) -> Made<'m> {
        node.attributes(&[])?;
        let held = self.held(node, 1)?;
        let (slopes, sides) = (tensor::floats(held)?, tensor::sides(held)?);
        // Sides are aligned at the end: `[1, channels, z, y, x]`.
        let per_channel =
            sides.len() >= 4 && sides[sides.len() - 4] == slopes.len() && sides.len() <= 5;
        self.activation(node, |channels| match slopes.len() {
            1 => Ok(vec![slopes[0]; channels]),
            count if count == channels && per_channel => Ok(slopes.clone()),
            _ => Err(format!("slopes with sides {sides:?} for {channels} channels")),
        })
    }

    fn activation(
        &self,
        node: Node<'m>,
        slopes: impl Fn(usize) -> Result<Vec<f32>, String>,
    ) -> Made<'m> {
        let exprs = self.real(node, 0)?;
        let slopes = slopes(self.channels(exprs))?;
        let parts = self.parts(exprs, |sum, range| sum.activated(&slopes[range]))?;
        Ok((parts, "the activation of the layer that rounds it".into()))
    }

    pub(super) fn batch_normalisation(&mut self, node: Node<'m>) -> Made<'m> {
        let attributes = node.attributes(&["epsilon", "momentum", "training_mode", "spatial"])?;
        attributes.must_be("training_mode", 0)?;
        attributes.must_be("spatial", 1)?;
        let epsilon = f64::from(attributes.float("epsilon", 1e-5)?);
        let exprs = self.real(node, 0)?.to_vec();
        let channels = self.channels(&exprs);
        let [scale, bias, mean, variance] =
            [1, 2, 3, 4].map(|index| self.numbers(node, index, channels));
        let (scale, bias, mean, variance) = (scale?, bias?, mean?, variance?);
        let factor: Vec<f64> = scale
            .iter()
            .zip(&variance)
            .map(|(scale, var)| scale / (var + epsilon).sqrt())
            .collect();
        if factor.iter().any(|factor| !factor.is_finite()) {
            return Err("variances that are not positive".into());
        }
        let offset: Vec<f64> = (0..channels).map(|c| bias[c] - mean[c] * factor[c]).collect();
        if let [Expr::Float(_) | Expr::Token(_)] = exprs[..] {
            let input = self.view(node, 0)?;
            let [scale, bias] = [factor, offset].map(|n| n.into_iter().map(|x| x as f32).collect());
            let op = TokenOp::Affine { input, scale, bias };
            let token = Token { node: node.place, op };
            return Ok((Form::Real(vec![Expr::Token(token)]), "a scale and a bias".into()));
        }
        let parts =
            self.parts(&exprs, |sum, range| sum.scaled(&factor[range.clone()], &offset[range]))?;
        Ok((parts, "part of the scale and bias of the layer that rounds it".into()))
    }

    pub(super) fn instance_normalisation(&mut self, node: Node<'m>) -> Made<'m> {
        let epsilon = node.attributes(&["epsilon"])?.float("epsilon", 1e-5)?;
        if epsilon <= 0.0 {
            return Err(format!("attribute epsilon is {epsilon}"));
        }
        let mut exprs = self.real(node, 0)?.to_vec();
        for expr in &mut exprs {
            let sum = self.layers.sum(expr)?;
            *expr = Expr::Sum(self.layers.convolved(sum)?);
        }
        let channels = self.channels(&exprs);
        let (gamma, beta) = (self.numbers(node, 1, channels)?, self.numbers(node, 2, channels)?);
        let parts = self.parts(&exprs, |sum, range| {
            sum.normalised((&gamma[range.clone()], &beta[range]), epsilon)
        })?;
        Ok((parts, "a normalisation of 16-bit sums by their own mean and variance".into()))
    }

    /// Two values of the same parts.
    pub(super) fn add(&mut self, node: Node<'m>) -> Made<'m> {
        node.attributes(&[])?;
        node.reads_at_most(2)?;
        let (left, right) = (self.real(node, 0)?, self.real(node, 1)?);
        let channels = |exprs: &[Expr]| -> Vec<usize> {
            exprs.iter().map(|expr| self.layers.channels(expr)).collect()
        };
        if channels(left) != channels(right) {
            return Err(format!(
                "adds parts of {:?} and {:?} channels",
                channels(left),
                channels(right)
            ));
        }
        let added =
            |(a, b): (&Expr, &Expr)| Ok(Expr::Sum(self.layers.sum(a)?.added(self.layers.sum(b)?)?));
        let exprs = left.iter().zip(right).map(added).collect::<Result<_, String>>()?;
        Ok((Form::Real(exprs), "a sum of two values".into()))
    }

    /// Along the channels: the parts are kept apart.
    pub(super) fn concat(&mut self, node: Node<'m>) -> Made<'m> {
        let axis = node.attributes(&["axis"])?.int("axis", i64::MIN)?;
        if place(axis, 5)? != 1 {
            return Err(format!("concatenates along axis {axis}, only channels are supported"));
        }
        let forms = (0..node.proto.input.len())
            .map(|index| self.form(node, index))
            .collect::<Result<Vec<_>, _>>()?;
        let (joined, parts, channels) = self.joined(&forms)?;
        if parts > MAX_PARTS || channels > MAX_CHANNELS {
            return Err(format!(
                "{parts} parts with {channels} channels, the limits are {MAX_PARTS} and \
                 {MAX_CHANNELS}"
            ));
        }
        Ok((joined, "several inputs of the layers that read it".into()))
    }

    pub(super) fn identity(&mut self, node: Node<'m>) -> Made<'m> {
        node.attributes(&[])?;
        Ok((self.form(node, 0)?.clone(), "its input".into()))
    }

    pub(super) fn dropout(&mut self, node: Node<'m>) -> Made<'m> {
        node.attributes(&["ratio", "seed"])?;
        if node.input(2).is_some() && tensor::truth(self.held(node, 2)?)? {
            return Err("is in training mode".into());
        }
        Ok((self.form(node, 0)?.clone(), "its input".into()))
    }

    /// All f32, or all 8-bit of one sign; with the number of parts and of channels.
    fn joined(&self, forms: &[&Form<'m>]) -> Result<(Form<'m>, usize, usize), String> {
        let mixed = || Err("concatenates values of different kinds".to_string());
        match forms.first() {
            Some(Form::Real(_)) => {
                let mut all = Vec::new();
                for form in forms {
                    let Form::Real(exprs) = form else { return mixed() };
                    all.extend(exprs.iter().cloned());
                }
                let (parts, channels) = (all.len(), self.channels(&all));
                Ok((Form::Real(all), parts, channels))
            }
            Some(&&Form::Quantised { signed, .. }) => {
                let mut values = Vec::new();
                for form in forms {
                    match form {
                        Form::Quantised { values: more, signed: sign } if *sign == signed => {
                            values.extend(more);
                        }
                        _ => return mixed(),
                    }
                }
                let channels =
                    values.iter().map(|&id: &usize| self.layers.values[id].channels).sum();
                let parts = values.len();
                Ok((Form::Quantised { values, signed }, parts, channels))
            }
            _ => Err("concatenates constants".into()),
        }
    }

    fn channels(&self, exprs: &[Expr]) -> usize {
        exprs.iter().map(|expr| self.layers.channels(expr)).sum()
    }

    /// Changes every part, knowing which channels of the whole it holds.
    fn parts(
        &self,
        exprs: &[Expr],
        change: impl Fn(Sum, std::ops::Range<usize>) -> Result<Sum, String>,
    ) -> Result<Form<'m>, String> {
        let mut first = 0;
        let mut changed = Vec::with_capacity(exprs.len());
        for expr in exprs {
            let range = first..first + self.layers.channels(expr);
            first = range.end;
            changed.push(Expr::Sum(change(self.layers.sum(expr)?, range)?));
        }
        Ok(Form::Real(changed))
    }
}
