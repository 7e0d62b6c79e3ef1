//! What a tensor of the model is, before it is known how it will be stored.
//!
//! An f32 tensor is a list of [`Expr`]s, concatenated along the channels. A [`Sum`] is
//! `activation(term + term)`; a [`Term`] is `scale · x + bias` per channel, x a convolution's sum or
//! an 8-bit value less its zero point, or that normalised over the image.

use std::rc::Rc;

use tract_onnx::pb::TensorProto;

use crate::analysis::engine::int8::program::{ValueId, Window};
use crate::analysis::engine::int8::tokens::{TokenOp, View};

/// What a tensor is.
#[derive(Debug, Clone)]
pub(super) enum Form<'m> {
    /// Numbers of the model.
    Constant(&'m TensorProto),
    /// i8 numbers of the model, dequantised.
    Weights(Weights<'m>),
    /// i32 numbers of the model, dequantised; one axis.
    Numbers(Vec<f64>),
    /// 8-bit values that layers make, concatenated.
    Quantised {
        /// At least one.
        values: Vec<ValueId>,
        /// Written as i8: the model's numbers are the program's less 128.
        signed: bool,
    },
    /// f32, concatenated.
    Real(Vec<Expr>),
    /// Made by a node that was refused.
    Outside,
}

/// Dequantised weights.
#[derive(Debug, Clone)]
pub(super) struct Weights<'m> {
    /// i8.
    pub(super) tensor: &'m TensorProto,
    /// Of all of them, or one per place along an axis.
    pub(super) scales: Vec<f32>,
    /// That axis; `None` with one scale.
    pub(super) axis: Option<usize>,
}

/// An f32 value that can become a layer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    /// The graph's input.
    Input,
    /// 8-bit values, as they are.
    Value(ValueId),
    /// See [`Sum`].
    Sum(Sum),
    /// Means of windows of 8-bit values.
    Mean(ValueId, Window),
    /// 8-bit values, each side doubled.
    Double(ValueId),
    /// f32 values that exist, or some channels of them.
    Float(View),
    /// See [`Token`].
    Token(Token),
}

/// A float layer that is not there yet: it can round to 8 bits by itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    /// What it is known by: the place of its node in the model.
    pub(super) node: usize,
    /// What it computes.
    pub(super) op: TokenOp,
}

/// Up to two terms, then an activation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sum {
    /// One or two, of as many channels.
    pub(super) terms: Vec<Term>,
    /// Per channel; `None` before any activation.
    pub(super) slope: Option<Vec<f32>>,
}

/// One summand.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Term {
    /// What x is.
    pub(super) source: Source,
    /// Per channel.
    pub(super) scale: Vec<f64>,
    /// Per channel.
    pub(super) bias: Vec<f64>,
    /// `None`: the source itself is scaled.
    pub(super) normalised: Option<Normalised>,
}

/// A term is normalised to mean 0 and variance 1 before it is scaled.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Normalised {
    /// Added to the variance.
    pub(super) epsilon: f32,
    /// Real units per unit of the source, per channel.
    pub(super) unit: Vec<f64>,
}

/// Where the numbers of a term come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// 8-bit values less their zero point.
    Value(ValueId),
    /// Sums of a convolution that no layer computes yet.
    Pending(Rc<Pending>),
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Value(a), Self::Value(b)) => a == b,
            (Self::Pending(a), Self::Pending(b)) => a.node == b.node,
            (_, _) => false,
        }
    }
}

/// A convolution without its finish.
#[derive(Debug)]
pub(super) struct Pending {
    /// What it is known by: the place of its node in the model.
    pub(super) node: usize,
    /// Name of its node.
    pub(super) name: String,
    /// Output channels.
    pub(super) channels: usize,
    /// 8-bit values of one scale.
    pub(super) inputs: Vec<ValueId>,
    /// How it goes over them.
    pub(super) path: Path,
    /// `[out, in, kz, ky, kx]`.
    pub(super) weights: Vec<i8>,
}

/// How a convolution goes over its inputs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Path {
    /// A window slides.
    Window(Window),
    /// Each input voxel becomes a block of these sides.
    Block([usize; 3]),
}

impl Sum {
    /// One term before any activation.
    pub(super) fn of(source: Source, scale: Vec<f64>, bias: Vec<f64>) -> Self {
        Self { terms: vec![Term { source, scale, bias, normalised: None }], slope: None }
    }

    /// Times `factor`, plus `offset`, per channel.
    pub(super) fn scaled(mut self, factor: &[f64], offset: &[f64]) -> Result<Self, String> {
        self.before_activation()?;
        for (index, term) in self.terms.iter_mut().enumerate() {
            for (c, (scale, bias)) in term.scale.iter_mut().zip(&mut term.bias).enumerate() {
                *scale *= factor[c];
                *bias = *bias * factor[c] + if index == 0 { offset[c] } else { 0.0 };
            }
        }
        Ok(self)
    }

    /// Plus `other`.
    pub(super) fn added(mut self, other: Self) -> Result<Self, String> {
        self.before_activation()?;
        other.before_activation()?;
        if self.terms.len() + other.terms.len() > 2 {
            return Err("adds more than two values without rounding to 8 bits between".into());
        }
        self.terms.extend(other.terms);
        Ok(self)
    }

    /// Normalised over the image, then times `gamma`, plus `beta`.
    pub(super) fn normalised(
        mut self,
        (gamma, beta): (&[f64], &[f64]),
        epsilon: f32,
    ) -> Result<Self, String> {
        self.before_activation()?;
        let [term] = &mut self.terms[..] else {
            return Err("normalises a sum of two values".into());
        };
        if term.normalised.is_some() {
            return Err("normalises what is normalised already".into());
        }
        let unit = std::mem::replace(&mut term.scale, gamma.to_vec());
        term.normalised = Some(Normalised { epsilon, unit });
        term.bias = beta.to_vec();
        Ok(self)
    }

    /// With an activation: negative values times `slope`, per channel.
    pub(super) fn activated(mut self, slope: &[f32]) -> Result<Self, String> {
        self.before_activation()?;
        self.slope = Some(slope.to_vec());
        Ok(self)
    }

    fn before_activation(&self) -> Result<(), String> {
        match self.slope {
            None => Ok(()),
            Some(_) => Err("follows an activation without rounding to 8 bits between".into()),
        }
    }
}
