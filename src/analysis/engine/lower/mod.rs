//! From the QDQ pattern of an ONNX model to an int8 [`Program`].
//!
//! The nodes are walked once, in order. Each tensor gets a `form`: a constant, 8-bit values that exist,
//! or an f32 expression that nobody has computed yet (a convolution's sum with a scale, a bias, an
//! activation, a second summand). `QuantizeLinear` and the graph's outputs are where an expression
//! becomes a layer (`emit`). A node that fits no pattern is named with the reason and what it makes
//! is not looked at further; nothing here panics, whatever the model says. What is not done here:
//! choosing kernels, fixing shapes.
//!
//! Parts that stay in f32 come as functions of the domain `hcc_edge` (`functions`): each becomes one float layer.

use std::collections::BTreeSet;

use thiserror::Error;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::Framework as _;

use super::int8::program::Program;

mod tensor;

mod attributes;

mod graph;

mod form;

mod emit;

mod walk;

mod quantise;

mod convolve;

mod pointwise;

mod windows;

mod functions;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod hostile_tests;

#[cfg(test)]
mod functions_tests;

#[cfg(test)]
mod shipped_tests;

/// The most nodes a model may have.
pub const MAX_NODES: usize = 4096;
/// The most tensors that may be concatenated, counting through nested concatenations.
pub const MAX_PARTS: usize = 16;
/// The most weights of all convolutions together, with the bytes of float layers' constants as they are read and for
/// each layer that holds them.
pub const MAX_WEIGHTS: usize = 1 << 28;

/// What came of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Lowering {
    /// The whole way from the input to the outputs; `None` if anything was refused.
    pub program: Option<Program>,
    /// Nodes that are part of the program, or would be, in the model's order.
    pub lowered: Vec<Lowered>,
    /// Nodes that are not, in the model's order; empty if there is a program.
    pub refused: Vec<Refused>,
}

/// A node and what it became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lowered {
    /// Name of the node, or of its first output.
    pub node: String,
    /// ONNX operator.
    pub operator: String,
    /// In plain words.
    pub became: String,
    /// It is computed in f32, not in integers.
    pub float: bool,
}

/// What stays outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Name of the node, or of its first output; an output's or the model's name where no node is at
    /// fault.
    pub node: String,
    /// ONNX operator; `output` or `model` where no node is at fault.
    pub operator: String,
    /// In plain words.
    pub why: String,
}

/// Reads what lies between the f32 tensor `input` (`[1, channels, z, y, x]`) and the tensors `outputs`,
/// which become the program's outputs in this order.
pub fn lower(model: &ModelProto, input: &str, outputs: &[String]) -> Lowering {
    let graph = match graph::Graph::new(model, input, outputs) {
        Ok(graph) => graph,
        Err(why) => {
            let refused = Refused { node: input.into(), operator: "model".into(), why };
            return Lowering { program: None, lowered: Vec::new(), refused: vec![refused] };
        }
    };
    // Whether a convolution or a float layer has one reader or several is known only at the end, so a model
    // in which one has several is walked again.
    let first = walk::Walk::new(&graph, Default::default()).finish(outputs);
    if first.shared.is_empty() {
        return first.lowering;
    }
    walk::Walk::new(&graph, first.shared).finish(outputs).lowering
}

/// A file that is no ONNX model.
#[derive(Debug, Error)]
#[error("the model cannot be read")]
pub struct ReadError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Reads an ONNX file between these tensors.
pub fn read(bytes: &[u8], input: &str, outputs: &[String]) -> Result<Lowering, ReadError> {
    Ok(lower(&decoded(bytes)?, input, outputs))
}

/// Reads an ONNX file from its own first input to its own outputs.
pub fn read_whole(bytes: &[u8]) -> Result<Lowering, ReadError> {
    let model = decoded(bytes)?;
    let graph = model.graph.as_ref();
    let constants: BTreeSet<&str> =
        graph.iter().flat_map(|graph| &graph.initializer).map(|c| c.name.as_str()).collect();
    let mut inputs = graph.iter().flat_map(|graph| &graph.input).map(|input| input.name.as_str());
    let input = inputs.find(|input| !constants.contains(input)).unwrap_or_default();
    let outputs: Vec<String> =
        graph.iter().flat_map(|graph| &graph.output).map(|output| output.name.clone()).collect();
    Ok(lower(&model, input, &outputs))
}

fn decoded(bytes: &[u8]) -> Result<ModelProto, ReadError> {
    tract_onnx::onnx().proto_model_for_read(&mut &*bytes).map_err(|error| ReadError(error.into()))
}

/// A name from a model, cut to what fits into a message.
fn clipped(name: &str) -> String {
    name.chars().take(200).collect()
}
