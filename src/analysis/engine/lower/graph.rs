//! What holds for the model as a whole: one f32 input of known channels, every tensor made once, and
//! the nodes that the outputs need.

use std::collections::{BTreeSet, HashMap};

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;
use tract_onnx::pb::type_proto::Value as Type;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

use super::functions::{self, Body};
use super::tensor::is_external;
use super::{MAX_NODES, clipped};
use crate::analysis::engine::int8::program::{MAX_CHANNELS, MAX_OUTPUTS};

/// Versions of the operators whose meaning is known here.
const OPSETS: std::ops::RangeInclusive<i64> = 10..=24;
/// The most tensors a node may read or make.
const MAX_PORTS: usize = 64;

/// A model whose names are unambiguous.
pub(super) struct Graph<'m> {
    /// Needed for the outputs, in the model's order, each with its place in the model.
    pub(super) nodes: Vec<(usize, &'m NodeProto)>,
    /// By name.
    pub(super) constants: HashMap<&'m str, &'m TensorProto>,
    /// Name of the input.
    pub(super) input: &'m str,
    /// Its channels.
    pub(super) input_channels: usize,
    /// Version of the operators.
    pub(super) opset: i64,
    /// What is held of the functions of our own domain that come with the model, by name.
    pub(super) bodies: HashMap<&'m str, Body>,
    /// Version of our own ones, if it names one.
    pub(super) own_version: Option<i64>,
}

impl<'m> Graph<'m> {
    pub(super) fn new(
        model: &'m ModelProto,
        input: &str,
        outputs: &[String],
    ) -> Result<Self, String> {
        let Some(graph) = &model.graph else { return Err("the model has no graph".into()) };
        if graph.node.len() > MAX_NODES {
            return Err(format!("{} nodes, the limit is {MAX_NODES}", graph.node.len()));
        }
        let opset = opset(model)?;
        if outputs.is_empty() {
            return Err("no output is asked for".into());
        }
        if outputs.len() > MAX_OUTPUTS {
            return Err(format!("{} outputs, the limit is {MAX_OUTPUTS}", outputs.len()));
        }
        let constants = constants(graph)?;
        let info = the_input(graph, input, &constants)?;
        let makers = makers(graph, &info.name, &constants)?;
        for output in outputs {
            if !makers.contains_key(output.as_str()) {
                return Err(format!("no node makes the output {}", clipped(output)));
            }
        }
        let nodes = needed(graph, &makers, outputs);
        let input_channels = channels(info)?;
        let own = model.opset_import.iter().find(|set| set.domain == functions::DOMAIN);
        let (own_version, bodies) = (own.map(|set| set.version), functions::bodies(model)?);
        let input = &info.name;
        Ok(Self { nodes, constants, input, input_channels, opset, bodies, own_version })
    }
}

fn opset(model: &ModelProto) -> Result<i64, String> {
    let default = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let mut versions =
        model.opset_import.iter().filter(|set| default(&set.domain)).map(|set| set.version);
    match (versions.next(), versions.next()) {
        (Some(version), None) if OPSETS.contains(&version) => Ok(version),
        (found, _) => Err(format!(
            "operator set {found:?}, only one of {} to {} is supported",
            OPSETS.start(),
            OPSETS.end()
        )),
    }
}

fn constants(graph: &GraphProto) -> Result<HashMap<&str, &TensorProto>, String> {
    let mut constants = HashMap::new();
    for tensor in &graph.initializer {
        if is_external(tensor) {
            return Err(format!("constant {} lies in another file", clipped(&tensor.name)));
        }
        if constants.insert(tensor.name.as_str(), tensor).is_some() {
            return Err(format!("constant {} is there twice", clipped(&tensor.name)));
        }
    }
    Ok(constants)
}

/// The one input that is no constant.
fn the_input<'m>(
    graph: &'m GraphProto,
    input: &str,
    constants: &HashMap<&str, &TensorProto>,
) -> Result<&'m ValueInfoProto, String> {
    let inputs: Vec<&ValueInfoProto> =
        graph.input.iter().filter(|info| !constants.contains_key(info.name.as_str())).collect();
    match inputs[..] {
        [info] if info.name == input => Ok(info),
        _ => {
            let names: Vec<String> =
                inputs.iter().take(8).map(|info| clipped(&info.name)).collect();
            Err(format!("expected the one input {input}, found {names:?}"))
        }
    }
}

/// Which node makes a tensor.
fn makers<'m>(
    graph: &'m GraphProto,
    input: &str,
    constants: &HashMap<&str, &TensorProto>,
) -> Result<HashMap<&'m str, usize>, String> {
    let mut makers = HashMap::new();
    for (place, node) in graph.node.iter().enumerate() {
        if node.input.len() > MAX_PORTS || node.output.len() > MAX_PORTS {
            return Err(format!("a {} with more than {MAX_PORTS} tensors", clipped(&node.op_type)));
        }
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            let known = output == input || constants.contains_key(output.as_str());
            if known || makers.insert(output.as_str(), place).is_some() {
                return Err(format!("tensor {} is made twice", clipped(output)));
            }
        }
    }
    Ok(makers)
}

/// Nodes that an output needs, directly or not.
fn needed<'m>(
    graph: &'m GraphProto,
    makers: &HashMap<&str, usize>,
    outputs: &[String],
) -> Vec<(usize, &'m NodeProto)> {
    let mut needed = BTreeSet::new();
    let mut open: Vec<&str> = outputs.iter().map(String::as_str).collect();
    while let Some(name) = open.pop() {
        if let Some(&place) = makers.get(name)
            && needed.insert(place)
        {
            open.extend(graph.node[place].input.iter().map(String::as_str));
        }
    }
    needed.into_iter().map(|place| (place, &graph.node[place])).collect()
}

/// Channels of an f32 `[1, channels, z, y, x]`.
fn channels(info: &ValueInfoProto) -> Result<usize, String> {
    let name = &info.name;
    let Some(Type::TensorType(tensor)) = info.r#type.as_ref().and_then(|kind| kind.value.as_ref())
    else {
        return Err(format!("input {name} is not a tensor"));
    };
    if tensor.elem_type != DataType::Float as i32 {
        return Err(format!("input {name} has type {}, expected f32", tensor.elem_type));
    }
    let sides: Vec<Option<i64>> =
        tensor.shape.iter().flat_map(|shape| &shape.dim).map(side).collect();
    let most = MAX_CHANNELS as i64;
    match sides[..] {
        [None | Some(1), Some(channels), _, _, _] if (1..=most).contains(&channels) => {
            Ok(channels as usize)
        }
        _ => Err(format!(
            "input {name} has sides {sides:?}, expected one image with 1 to {most} channels and \
             three axes"
        )),
    }
}

fn side(dimension: &tract_onnx::pb::tensor_shape_proto::Dimension) -> Option<i64> {
    match dimension.value {
        Some(Dimension::DimValue(side)) => Some(side),
        Some(Dimension::DimParam(_)) | None => None,
    }
}
