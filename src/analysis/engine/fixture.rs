//! Tiny packages for tests, built by hand: the few protobuf fields of ONNX that they need, written
//! out here, so that no unit test depends on a trained model.

use std::collections::BTreeMap;

use super::package::{MODEL_FILE, Package};

pub(crate) mod qdq;

/// A protobuf message under construction.
#[derive(Default, Clone)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn int(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint((field << 3) | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    fn float(mut self, field: u64, value: f32) -> Self {
        self.varint((field << 3) | 5);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn message(self, field: u64, value: &Message) -> Self {
        self.bytes(field, &value.0)
    }
}

/// `AttributeProto` of kind INTS.
pub(crate) fn ints(name: &str, values: &[u64]) -> Message {
    let attribute = Message::default().text(1, name).int(20, 7);
    values.iter().fold(attribute, |message, &value| message.int(8, value))
}

/// `AttributeProto` of kind INT.
pub(crate) fn int(name: &str, value: i64) -> Message {
    Message::default().text(1, name).int(20, 2).int(3, value.cast_unsigned())
}

/// `AttributeProto` of kind FLOAT.
pub(crate) fn float(name: &str, value: f32) -> Message {
    Message::default().text(1, name).int(20, 1).float(2, value)
}

/// `AttributeProto` of kind STRING.
pub(crate) fn text(name: &str, value: &str) -> Message {
    Message::default().text(1, name).int(20, 3).text(4, value)
}

/// `NodeProto`.
fn node(operator: &str, inputs: &[&str], output: &str, attributes: &[Message]) -> Message {
    let node = inputs.iter().fold(Message::default(), |node, input| node.text(1, input));
    let node = node.text(2, output).text(3, output).text(4, operator);
    attributes.iter().fold(node, |node, attribute| node.message(5, attribute))
}

/// `TensorProto` of kind FLOAT (1), UINT8 (2), INT8 (3), INT32 (6) or INT64 (7).
fn tensor(name: &str, dims: &[u64], kind: u64, raw: &[u8]) -> Message {
    let tensor = dims.iter().fold(Message::default(), |tensor, &dim| tensor.int(1, dim));
    tensor.int(2, kind).text(8, name).bytes(9, raw)
}

fn floats(name: &str, dims: &[u64], values: &[f32]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, dims, 1, &raw)
}

fn int64s(name: &str, values: &[i64]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, &[values.len() as u64], 7, &raw)
}

/// `ValueInfoProto`, f32; a dimension of zero is left open.
fn value(name: &str, dims: &[u64]) -> Message {
    let shape = dims.iter().enumerate().fold(Message::default(), |shape, (axis, &dim)| {
        let dimension = if dim == 0 {
            Message::default().text(2, &format!("axis{axis}"))
        } else {
            Message::default().int(1, dim)
        };
        shape.message(1, &dimension)
    });
    let tensor_type = Message::default().int(1, 1).message(2, &shape);
    Message::default().text(1, name).message(2, &Message::default().message(1, &tensor_type))
}

/// `ModelProto`, opset 17.
fn model(nodes: &[Message], constants: &[Message], values: (Message, &[Message])) -> Vec<u8> {
    let graph = nodes.iter().fold(Message::default(), |graph, node| graph.message(1, node));
    let graph = constants.iter().fold(graph.text(2, "g"), |graph, c| graph.message(5, c));
    let graph = graph.message(11, &values.0);
    let graph = values.1.iter().fold(graph, |graph, output| graph.message(12, output));
    let opset = Message::default().text(1, "").int(2, 17);
    Message::default().int(1, 8).message(7, &graph).message(8, &opset).0
}

/// `[1, 1, D, H, W]` → `[1, C, D, H, W]`: a 1×1×1 convolution, logit c = slope·x + offset.
pub(crate) fn pointwise_onnx(classes: &[(f32, f32)]) -> Vec<u8> {
    let count = classes.len() as u64;
    let (slopes, offsets): (Vec<f32>, Vec<f32>) = classes.iter().copied().unzip();
    let conv = node("Conv", &["image", "w", "b"], "logits", &[ints("kernel_shape", &[1, 1, 1])]);
    model(
        &[conv],
        &[floats("w", &[count, 1, 1, 1, 1], &slopes), floats("b", &[count], &offsets)],
        (value("image", &[1, 1, 0, 0, 0]), &[value("logits", &[1, count, 0, 0, 0])]),
    )
}

/// `[1, 2, S, S, S]` → token means `[1, T, 2]` and, from the mean of all, `[1, 6]` by `weights`
/// (`[2, 6]`): every number can be worked out by hand.
pub(crate) fn pooled_onnx(side: u64, grid: u64, weights: &[f32; 12]) -> Vec<u8> {
    let (cell, tokens) = (side / grid, grid * grid * grid);
    let pool = [ints("kernel_shape", &[cell; 3]), ints("strides", &[cell; 3])];
    let nodes = [
        node("AveragePool", &["box"], "pooled", &pool),
        node("Reshape", &["pooled", "token_shape"], "flat", &[]),
        node("Transpose", &["flat"], "token_distances", &[ints("perm", &[0, 2, 1])]),
        node("GlobalAveragePool", &["box"], "mean", &[]),
        node("Reshape", &["mean", "mean_shape"], "row", &[]),
        node("MatMul", &["row", "w"], "distances", &[]),
    ];
    let constants = [
        int64s("token_shape", &[1, 2, tokens as i64]),
        int64s("mean_shape", &[1, 2]),
        floats("w", &[2, 6], weights),
    ];
    let outputs = [value("distances", &[1, 6]), value("token_distances", &[1, tokens, 2])];
    model(&nodes, &constants, (value("box", &[1, 2, side, side, side]), &outputs))
}

const HEAD: &str = r#"
schema = 1
version = "0.1.0"
intended_use = "demonstration"
licence = "Apache-2.0"
engine_floor = "0.1.0"
peak_ram_mib = 64
"#;

const QUANTISATION: &str = r#"
[quantisation]
scheme = "qdq-int8"
weights = "per-channel symmetric int8"
activations = "per-tensor uint8"
float_ops = []
[training]
data = "none"
[training.metric]
dice = 0.0
[files]
"model.onnx" = "00"
"#;

/// Manifest of a localiser (two classes) or a segmenter (three); 8³ patches, normalised = HU / 100.
pub(crate) fn unet_manifest(classes: usize, spacing_mm: f64) -> String {
    let (name, task, names) = match classes {
        2 => ("liver-localiser", "localisation", r#""background", "liver""#),
        _ => ("liver-tumour", "segmentation", r#""background", "liver", "tumour""#),
    };
    format!(
        r#"name = "{name}"
task = "{task}"{HEAD}
[input]
phases = ["portal"]
axis_order = "zyx"
spacing_mm = [{spacing_mm:?}, {spacing_mm:?}, {spacing_mm:?}]
hu_clip = [-500.0, 500.0]
mean = 0.0
sd = 100.0
patch = [8, 8, 8]
tensor = "image"
[output]
tensors = ["logits"]
classes = [{names}]
[golden]
input = "golden/input.f32"
input_shape = [1, 1, 2, 2, 2]
tolerance = 0.001
reason = "one rounding"
[[golden.output]]
name = "logits"
file = "golden/output.f32"
shape = [1, {classes}, 2, 2, 2]
{QUANTISATION}"#
    )
}

/// Manifest of a PMN on `side`³ with `grid`³ tokens, gamma 0.5, normalised = (HU + 100) / 200.
pub(crate) fn pmn_manifest(side: usize, grid: usize) -> String {
    let tokens = grid * grid * grid;
    format!(
        r#"name = "pmn"
task = "classification"{HEAD}
[input]
phases = ["arterial", "portal"]
axis_order = "zyx"
hu_clip = [-100.0, 100.0]
mean = -100.0
sd = 200.0
patch = [{side}, {side}, {side}]
tensor = "box"
[output]
tensors = ["distances", "token_distances"]
classes = ["non_proliferative", "proliferative"]
[prototypes]
gamma = 0.5
pull = 0.001
bank_a = ["non_proliferative", "proliferative"]
bank_haic = ["poor", "good"]
bank_tace = ["poor", "good"]
token_grid = [{grid}, {grid}, {grid}]
proliferative_threshold = 0.5
[golden]
input = "golden/input.f32"
input_shape = [1, 2, {side}, {side}, {side}]
tolerance = 0.001
reason = "one rounding"
[[golden.output]]
name = "distances"
file = "golden/distances.f32"
shape = [1, 6]
[[golden.output]]
name = "token_distances"
file = "golden/token_distances.f32"
shape = [1, {tokens}, 2]
{QUANTISATION}"#
    )
}

/// A small PMN with its answer in ONNX Runtime, written by `scripts/models/pmn_export.py`; 12³ voxels, 2³ tokens.
pub(crate) struct PmnExample {
    pub(crate) model: &'static [u8],
    input: &'static [u8],
    distances: &'static [u8],
    token_distances: &'static [u8],
}

pub(crate) const PMN_EXAMPLE: PmnExample = PmnExample {
    model: include_bytes!("fixture/pmn/model.onnx"),
    input: include_bytes!("fixture/pmn/input.f32"),
    distances: include_bytes!("fixture/pmn/distances.f32"),
    token_distances: include_bytes!("fixture/pmn/token_distances.f32"),
};

impl PmnExample {
    /// `[2, 12, 12, 12]`.
    pub(crate) fn input(&self) -> Vec<f32> {
        numbers(self.input)
    }

    /// `[6]`.
    pub(crate) fn distances(&self) -> Vec<f32> {
        numbers(self.distances)
    }

    /// `[8, 2]`.
    pub(crate) fn token_distances(&self) -> Vec<f32> {
        numbers(self.token_distances)
    }

    /// As a package.
    pub(crate) fn package(&self) -> Package {
        let manifest = pmn_manifest(12, 2).replace("tolerance = 0.001", "tolerance = 0.5");
        let files = [
            (MODEL_FILE, self.model),
            ("golden/input.f32", self.input),
            ("golden/distances.f32", self.distances),
            ("golden/token_distances.f32", self.token_distances),
        ];
        let files = files.map(|(name, bytes)| (name.to_string(), bytes.to_vec()));
        Package::new(&manifest, [9; 32], BTreeMap::from(files)).unwrap()
    }
}

fn numbers(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

fn le_bytes(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

/// A pointwise U-Net stand-in with a true golden pair.
pub(crate) fn unet_package(classes: &[(f32, f32)], spacing_mm: f64) -> Package {
    let input: Vec<f32> = (0..8).map(|index| index as f32 * 0.25 - 1.0).collect();
    let output = classes
        .iter()
        .flat_map(|&(slope, offset)| input.iter().map(move |value| slope * value + offset));
    let files = BTreeMap::from([
        (MODEL_FILE.to_string(), pointwise_onnx(classes)),
        ("golden/output.f32".to_string(), le_bytes(output)),
        ("golden/input.f32".to_string(), le_bytes(input.clone())),
    ]);
    Package::new(&unet_manifest(classes.len(), spacing_mm), [7; 32], files).unwrap()
}

/// A pooled PMN stand-in with a true golden pair (an input of ones).
pub(crate) fn pmn_package(side: usize, grid: usize, weights: &[f32; 12]) -> Package {
    let tokens = grid * grid * grid;
    let distances = (0..6).map(|column| weights[column] + weights[6 + column]);
    let files = BTreeMap::from([
        (MODEL_FILE.to_string(), pooled_onnx(side as u64, grid as u64, weights)),
        ("golden/input.f32".to_string(), le_bytes(vec![1.0; 2 * side * side * side])),
        ("golden/distances.f32".to_string(), le_bytes(distances)),
        ("golden/token_distances.f32".to_string(), le_bytes(vec![1.0; tokens * 2])),
    ]);
    Package::new(&pmn_manifest(side, grid), [8; 32], files).unwrap()
}
