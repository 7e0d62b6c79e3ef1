//! The walk over the nodes: finds what a node reads, hands it to the pattern for its operator, and
//! keeps what came of it.

use std::collections::{BTreeSet, HashMap};

use tract_onnx::pb::{NodeProto, TensorProto};

use super::attributes::Attributes;
use super::emit::Layers;
use super::form::{Expr, Form};
use super::graph::Graph;
use super::{Lowered, Lowering, Refused, clipped, functions, tensor};
use crate::analysis::engine::int8::program::Program;

/// What a pattern makes of a node: its first output, and that in plain words.
pub(super) type Made<'m> = Result<(Form<'m>, String), String>;

/// The state of a walk.
pub(super) struct Walk<'g, 'm> {
    pub(super) graph: &'g Graph<'m>,
    pub(super) layers: Layers,
    /// Weights of the convolutions so far.
    pub(super) weights: usize,
    pub(super) forms: HashMap<&'m str, Form<'m>>,
    /// What the node at hand makes beside its first output.
    pub(super) more: Vec<Form<'m>>,
    lowered: Vec<Lowered>,
    refused: Vec<Refused>,
}

/// What a walk came to.
pub(super) struct Walked {
    pub(super) lowering: Lowering,
    /// Convolutions and float layers with several readers, by node.
    pub(super) shared: BTreeSet<usize>,
}

/// A node on the walk.
#[derive(Clone, Copy)]
pub(super) struct Node<'m> {
    /// In the model.
    pub(super) place: usize,
    pub(super) proto: &'m NodeProto,
}

impl<'m> Node<'m> {
    /// Its name, or that of its first output.
    pub(super) fn name(&self) -> String {
        let output = self.proto.output.first().map_or("", String::as_str);
        let name = self.proto.name.as_str();
        clipped(if name.is_empty() { output } else { name })
    }

    /// Name of a tensor it reads; `None` where it is left out.
    pub(super) fn input(&self, index: usize) -> Option<&'m str> {
        let name = self.proto.input.get(index).map_or("", String::as_str);
        if name.is_empty() { None } else { Some(name) }
    }

    /// Refuses more than `most` inputs.
    pub(super) fn reads_at_most(&self, most: usize) -> Result<(), String> {
        let found = self.proto.input.len();
        if found <= most { Ok(()) } else { Err(format!("{found} inputs, expected at most {most}")) }
    }

    pub(super) fn attributes(&self, expected: &[&str]) -> Result<Attributes<'m>, String> {
        Attributes::new(self.proto, expected)
    }
}

impl<'g, 'm> Walk<'g, 'm> {
    /// Goes over all nodes; `shared` are convolutions and float layers known to have several readers.
    pub(super) fn new(graph: &'g Graph<'m>, shared: BTreeSet<usize>) -> Self {
        let constants = graph.constants.iter().map(|(&name, &held)| (name, Form::Constant(held)));
        let mut forms: HashMap<&str, Form<'_>> = constants.collect();
        forms.insert(graph.input, Form::Real(vec![Expr::Input]));
        let layers = Layers::new(graph.input_channels, shared);
        let (lowered, refused) = (Vec::new(), Vec::new());
        let more = Vec::new();
        let mut walk = Self { graph, layers, weights: 0, forms, more, lowered, refused };
        for &(place, proto) in &graph.nodes {
            walk.step(Node { place, proto });
        }
        walk
    }

    fn step(&mut self, node: Node<'m>) {
        let (name, operator) = (node.name(), clipped(&node.proto.op_type));
        let form = match self.visit(node) {
            Ok((form, became)) => {
                let float =
                    matches!(&form, Form::Real(exprs) if matches!(exprs[..], [Expr::Token(_)]));
                self.lowered.push(Lowered { node: name, operator, became, float });
                form
            }
            Err(why) => {
                self.refused.push(Refused { node: name, operator, why });
                Form::Outside
            }
        };
        let (first, others) =
            node.proto.output.split_first().map_or((None, &[][..]), |(a, b)| (Some(a), b));
        let made = self.more.drain(..).chain(std::iter::repeat(Form::Outside));
        self.forms.extend(others.iter().map(String::as_str).zip(made));
        self.forms.extend(first.map(|output| (output.as_str(), form)));
    }

    fn visit(&mut self, node: Node<'m>) -> Made<'m> {
        let domain = node.proto.domain.as_str();
        if domain == functions::DOMAIN {
            return self.function(node);
        }
        if !domain.is_empty() && domain != "ai.onnx" {
            return Err(format!("operators of {} are not known", clipped(domain)));
        }
        match node.proto.op_type.as_str() {
            "QuantizeLinear" => self.quantise(node),
            "DequantizeLinear" => self.dequantise(node),
            "Conv" => self.convolution(node),
            "ConvTranspose" => self.transposed(node),
            "BatchNormalization" => self.batch_normalisation(node),
            "InstanceNormalization" => self.instance_normalisation(node),
            "Relu" => self.relu(node),
            "LeakyRelu" => self.leaky_relu(node),
            "PRelu" => self.parametric_relu(node),
            "Add" => self.add(node),
            "Concat" => self.concat(node),
            "MaxPool" => self.max_pool(node),
            "AveragePool" => self.average_pool(node),
            "Resize" => self.resize(node),
            "Slice" => self.slice(node),
            "Identity" => self.identity(node),
            "Dropout" => self.dropout(node),
            "Constant" => constant(node),
            _ => Err("has no place in an int8 program".into()),
        }
    }

    /// What input `index` of a node is.
    pub(super) fn form(&self, node: Node<'m>, index: usize) -> Result<&Form<'m>, String> {
        let Some(name) = node.input(index) else { return Err(format!("input {index} is missing")) };
        match self.forms.get(name) {
            Some(Form::Outside) => Err(format!("reads {}, which was not lowered", clipped(name))),
            Some(form) => Ok(form),
            None => Err(format!("reads {}, which nothing before it makes", clipped(name))),
        }
    }

    /// An input that is f32 and no constant.
    pub(super) fn real(&self, node: Node<'m>, index: usize) -> Result<&[Expr], String> {
        match self.form(node, index)? {
            Form::Real(exprs) => Ok(exprs),
            Form::Quantised { .. } => Err("reads 8-bit values without DequantizeLinear".into()),
            Form::Constant(_) | Form::Weights(_) | Form::Numbers(_) | Form::Outside => {
                Err(format!("input {index} is a constant"))
            }
        }
    }

    /// An input that is a constant as it is in the model.
    pub(super) fn held(&self, node: Node<'m>, index: usize) -> Result<&'m TensorProto, String> {
        match self.form(node, index)? {
            Form::Constant(held) => Ok(held),
            _ => Err(format!("input {index} is not a constant")),
        }
    }

    /// An input of `count` f32 numbers along one axis, also quantised ones.
    pub(super) fn numbers(
        &self,
        node: Node<'m>,
        index: usize,
        count: usize,
    ) -> Result<Vec<f64>, String> {
        let numbers: Vec<f64> = match self.form(node, index)? {
            Form::Numbers(numbers) => numbers.clone(),
            Form::Constant(held) if held.dims.len() == 1 => {
                tensor::floats(held)?.into_iter().map(f64::from).collect()
            }
            Form::Weights(weights) if weights.tensor.dims.len() == 1 => {
                let held = tensor::signed_bytes(weights.tensor)?;
                let scales = weights.scales.iter().cycle();
                held.iter().zip(scales).map(|(&w, &s)| f64::from(w) * f64::from(s)).collect()
            }
            _ => return Err(format!("input {index} is not a constant with one axis")),
        };
        if numbers.len() == count {
            return Ok(numbers);
        }
        Err(format!("input {index} has {} numbers for {count} channels", numbers.len()))
    }

    /// The program, if everything up to `outputs` was lowered.
    pub(super) fn finish(mut self, outputs: &[String]) -> Walked {
        let mut ids = Vec::new();
        for output in outputs {
            let made = match self.forms.get(output.as_str()) {
                Some(Form::Real(exprs)) if exprs.len() == 1 => self.layers.real(&exprs[0], output),
                Some(Form::Real(_)) => {
                    Err("is concatenated, which only a convolution reads".into())
                }
                Some(Form::Outside) => Err("was not lowered".into()),
                _ => Err("is not f32, or a constant".into()),
            };
            match made {
                Ok(id) => ids.push(id),
                Err(why) => self.refuse(output, "output", why),
            }
        }
        let shared = self.layers.to_share();
        let program = if self.refused.is_empty() { self.program(ids) } else { None };
        let (lowered, refused) = (self.lowered, self.refused);
        Walked { lowering: Lowering { program, lowered, refused }, shared }
    }

    fn program(&mut self, outputs: Vec<usize>) -> Option<Program> {
        let (values, layers) =
            (std::mem::take(&mut self.layers.values), std::mem::take(&mut self.layers.layers));
        match Program::new(self.graph.input_channels, (values, layers), outputs) {
            Ok(program) => Some(program),
            Err(error) => {
                let name = error.name.clone();
                self.refuse(&name, "layer", error.what);
                None
            }
        }
    }

    fn refuse(&mut self, name: &str, operator: &str, why: String) {
        let (node, operator) = (clipped(name), operator.into());
        self.refused.push(Refused { node, operator, why });
    }
}

fn constant(node: Node<'_>) -> Made<'_> {
    let attributes = node.attributes(&["value"])?;
    match attributes.tensor("value")? {
        Some(held) => Ok((Form::Constant(held), "a constant".into())),
        None => Err("attribute value is missing".into()),
    }
}
