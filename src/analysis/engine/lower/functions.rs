//! Functions of the domain `hcc_edge`: the parts of a PMN that stay in f32, each one float layer.
//!
//! A function comes with its body in standard operators, for other runtimes. It is a layer here only if its body is the
//! very one that `scripts/models/pmn_export.py` writes, so that the name cannot say one thing and the body another.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use tract_onnx::pb::{FunctionProto, ModelProto, TensorProto};

use super::form::{Expr, Form, Token};
use super::walk::{Made, Node, Walk};
use super::{clipped, decoded, tensor};
use crate::analysis::engine::int8::arithmetic::{LANES, exp};
use crate::analysis::engine::int8::tokens::{AXIS_ORDERS, Norm, Prototypes, Scan, TokenOp, View};

/// The domain.
pub(super) const DOMAIN: &str = "hcc_edge";
/// Version of the domain whose bodies are known.
const VERSION: i64 = 1;
/// Prototypes that tokens are compared with: those of proliferation.
const TOKEN_PROTOTYPES: usize = 2;

/// The bodies.
static KNOWN: LazyLock<ModelProto> =
    LazyLock::new(|| decoded(include_bytes!("functions.onnx")).expect("a file of this repository"));

/// The most functions that may come with a model.
const MAX_FUNCTIONS: usize = 64;

/// What a model says a function of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// The same as here.
    Known,
    /// Something else.
    Other,
    /// It says it more than once.
    Several,
}

/// The functions of our domain that come with a model, by name; each is compared once, however often it is called.
pub(super) fn bodies(model: &ModelProto) -> Result<HashMap<&str, Body>, String> {
    let count = model.functions.len();
    if count > MAX_FUNCTIONS {
        return Err(format!("{count} functions, the limit is {MAX_FUNCTIONS}"));
    }
    let mut bodies = HashMap::new();
    for function in model.functions.iter().filter(|function| function.domain() == DOMAIN) {
        let same = known(function.name()) == Some(function);
        let body = if same { Body::Known } else { Body::Other };
        bodies.entry(function.name()).and_modify(|body| *body = Body::Several).or_insert(body);
    }
    Ok(bodies)
}

/// The function of this name whose body is known.
fn known(name: &str) -> Option<&'static FunctionProto> {
    KNOWN.functions.iter().find(|known| known.name() == name)
}

impl<'m> Walk<'_, 'm> {
    /// A call.
    pub(super) fn function(&mut self, node: Node<'m>) -> Made<'m> {
        node.reads_at_most(self.known(node)?)?;
        let mut shown = None;
        let (op, became) = match node.proto.op_type.as_str() {
            "ChannelNorm" => {
                let input = self.view(node, 0)?;
                let norm = self.norm(node, (1, 2), input.channels)?;
                (TokenOp::Normalise { input, norm }, "a norm over channels")
            }
            "GatedNorm" => {
                let (input, gate) = (self.view(node, 0)?, self.view(node, 1)?);
                let norm = self.norm(node, (2, 3), input.channels)?;
                (TokenOp::Gated { input, gate, norm }, "a norm over channels, gated")
            }
            "MergeNorm" => {
                let input = self.view(node, 0)?;
                let norm = self.norm(node, (1, 2), input.channels.saturating_mul(8))?;
                (TokenOp::Merge { input, norm }, "a norm over eight tokens' channels")
            }
            "LocalSilu" => (self.local(node)?, "a depthwise convolution with SiLU"),
            "SelectiveScan" => (self.scan(node)?, "a selective state space"),
            "ShuffleAdd" => {
                node.attributes(&[])?;
                let [base, near, far] = [0, 1, 2].map(|index| self.view(node, index));
                let op = TokenOp::Shuffle { base: base?, near: near?, far: far? };
                (op, "a sum with shuffled channels")
            }
            "Prototypes" => {
                let op = self.prototypes(node)?;
                let mut first = op.clone();
                first.prototypes = op.prototypes[..TOKEN_PROTOTYPES * op.input.channels].into();
                shown = Some(TokenOp::TokenDistances(first));
                (TokenOp::Distances(op), "distances to prototypes")
            }
            name => return Err(format!("function {} is not known", clipped(name))),
        };
        op.check()?;
        let form = |op| Form::Real(vec![Expr::Token(Token { node: node.place, op })]);
        self.more = shown.into_iter().map(form).collect();
        Ok((form(op), became.to_string()))
    }

    /// Some channels of a float value.
    pub(super) fn slice(&mut self, node: Node<'m>) -> Made<'m> {
        node.attributes(&[])?;
        node.reads_at_most(5)?;
        let whole = self.view(node, 0)?;
        let one = |index: usize| {
            let numbers = tensor::longs(self.held(node, index)?)?;
            match numbers[..] {
                [number] => Ok(number),
                _ => Err(format!("{} axes are cut, only channels are supported", numbers.len())),
            }
        };
        let (first, end, axis) = (one(1)?, one(2)?, one(3)?);
        let step = if node.input(4).is_some() { one(4)? } else { 1 };
        if (axis, step) != (1, 1) {
            return Err(format!("cuts axis {axis} with step {step}, only channels are supported"));
        }
        let range = (usize::try_from(first), usize::try_from(end));
        let (Ok(first), Ok(end)) = range else {
            return Err(format!("channels {first} to {end}, counted from the end"));
        };
        if first >= end || end > whole.channels {
            return Err(format!("channels {first} to {end} of {}", whole.channels));
        }
        let view = View { first: whole.first + first, channels: end - first, ..whole };
        let became = format!("channels {first} to {end} where they are");
        Ok((Form::Real(vec![Expr::Float(view)]), became))
    }

    /// Inputs of a function whose body is the one known here.
    fn known(&self, node: Node<'m>) -> Result<usize, String> {
        if self.graph.own_version != Some(VERSION) {
            let found = self.graph.own_version;
            return Err(format!(
                "functions of {DOMAIN} {found:?}, only version {VERSION} is known"
            ));
        }
        let name = node.proto.op_type.as_str();
        let Some(known) = known(name) else {
            return Err(format!("function {} is not known", clipped(name)));
        };
        match self.graph.bodies.get(name) {
            Some(Body::Known) => Ok(known.input.len()),
            Some(Body::Other) => {
                Err(format!("function {name} has another body than the one known here"))
            }
            Some(Body::Several) => Err(format!("the model has several bodies for function {name}")),
            None => Err(format!("the model has no body for function {name}")),
        }
    }

    /// An input in f32; it is computed as such now.
    pub(super) fn view(&mut self, node: Node<'m>, index: usize) -> Result<View, String> {
        let exprs = self.real(node, index)?;
        let [expr] = exprs else { return Err("reads concatenated values".into()) };
        let (expr, name) = (expr.clone(), node.input(index).unwrap_or_default());
        let view = self.layers.float(&expr, &clipped(name))?;
        self.forms.insert(name, Form::Real(vec![Expr::Float(view)]));
        if !view.channels.is_multiple_of(LANES) && node.proto.op_type != "SelectiveScan" {
            return Err(format!("{} channels, expected a multiple of {LANES}", view.channels));
        }
        Ok(view)
    }

    fn norm(
        &mut self,
        node: Node<'m>,
        (weight, bias): (usize, usize),
        channels: usize,
    ) -> Result<Norm, String> {
        let epsilon = node.attributes(&["epsilon"])?.float("epsilon", 0.0)?;
        let weight = self.floats(node, weight, &[channels])?;
        Ok(Norm { weight, bias: self.floats(node, bias, &[channels])?, epsilon })
    }

    fn local(&mut self, node: Node<'m>) -> Result<TokenOp, String> {
        let input = self.view(node, 0)?;
        let channels = input.channels;
        node.attributes(&["group"])?.must_be("group", channels as i64)?;
        let read = self.floats(node, 1, &[channels, 1, 3, 3, 3])?;
        let taps = (0..27).flat_map(|tap| (0..channels).map(move |c| c * 27 + tap));
        let weights = taps.map(|place| read[place]).collect();
        Ok(TokenOp::Local { input, weights, bias: self.floats(node, 2, &[channels])? })
    }

    fn scan(&mut self, node: Node<'m>) -> Result<TokenOp, String> {
        // Into how many tokens the body cuts a sequence changes what it rounds, and nothing else.
        let chunk = node.attributes(&["chunk"])?.int("chunk", 0)?;
        if chunk < 1 {
            return Err(format!("attribute chunk is {chunk}"));
        }
        let (signal, selected) = (self.view(node, 0)?, self.view(node, 1)?);
        let sides = tensor::sides(self.held(node, 2)?)?;
        let orders = AXIS_ORDERS.len();
        let &[_, heads] = &sides[..] else {
            return Err(format!("rates with sides {sides:?}, expected {orders} orders of heads"));
        };
        let log_rate = self.floats(node, 2, &[orders, heads])?;
        let per_order = selected.channels / orders;
        let Some(both) = per_order.checked_sub(heads) else {
            return Err(format!("{} selected channels for {heads} heads", selected.channels));
        };
        let scan = Scan {
            signal,
            selected,
            rate: log_rate.iter().map(|&rate| exp(rate)).collect(),
            skip: self.floats(node, 3, &[signal.channels])?,
            heads,
            states: both / 2,
        };
        Ok(TokenOp::Scan(scan))
    }

    fn prototypes(&mut self, node: Node<'m>) -> Result<Prototypes, String> {
        let input = self.view(node, 0)?;
        let channels = input.channels;
        let norm = self.norm(node, (1, 2), channels)?;
        let sides = tensor::sides(self.held(node, 5)?)?;
        let count = sides.first().copied().unwrap_or(0);
        if count < TOKEN_PROTOTYPES {
            return Err(format!("{count} prototypes, expected {TOKEN_PROTOTYPES} or more"));
        }
        Ok(Prototypes {
            input,
            norm,
            attend: self.floats(node, 3, &[channels])?,
            level: self.floats(node, 4, &[1])?[0],
            prototypes: self.floats(node, 5, &[count, channels])?,
        })
    }

    /// A constant with these sides.
    fn floats(
        &mut self,
        node: Node<'m>,
        index: usize,
        sides: &[usize],
    ) -> Result<Arc<[f32]>, String> {
        let held: &TensorProto = self.held(node, index)?;
        let found = tensor::sides(held)?;
        if found != sides {
            return Err(format!("input {index} has sides {found:?}, expected {sides:?}"));
        }
        self.layers.spend(found.iter().product::<usize>().saturating_mul(size_of::<f32>()))?;
        tensor::floats(held).map(Arc::from)
    }
}
