"""The PMN as a float ONNX graph: convolutions as such, everything else as functions of the domain `hcc_edge`.

A function carries its body in standard operators, so that any ONNX runtime evaluates it, and its name, by which the
engine runs one operation instead of a hundred. All tensors between nodes are `[1, channels, z, y, x]`; products with
constant matrices are 1x1x1 convolutions; BatchNorm after a convolution is folded into it.

The bodies are part of the engine: it refuses a model whose functions of these names have other ones. After a change:

    python pmn_export.py --functions ../../src/analysis/engine/lower/functions.onnx \\
        --example ../../src/analysis/engine/fixture/pmn
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper, parser
from torch import Tensor, nn

from pmn import AXIS_ORDERS, EPSILON, DualBranch, PmnSettings, PrototypeMambaNet
from quantise import OPSET, quantise, session

DOMAIN = "hcc_edge"
DOMAIN_VERSION = 1
IR_VERSION = 8

CHANNEL_NORM = """
ChannelNorm <epsilon> (x, weight, bias) => (y) {
  last = Transpose <perm = [0, 2, 3, 4, 1]> (x)
  normal = LayerNormalization <axis = -1, epsilon: float = @epsilon> (last, weight, bias)
  y = Transpose <perm = [0, 4, 1, 2, 3]> (normal)
}"""

LOCAL_SILU = """
LocalSilu <group> (x, weight, bias) => (y) {
  sum = Conv <group: int = @group, pads = [1, 1, 1, 1, 1, 1]> (x, weight, bias)
  gate = Sigmoid (sum)
  y = Mul (sum, gate)
}"""

GATED_NORM = """
GatedNorm <epsilon> (x, gate, weight, bias) => (y) {
  last = Transpose <perm = [0, 2, 3, 4, 1]> (x)
  normal = LayerNormalization <axis = -1, epsilon: float = @epsilon> (last, weight, bias)
  first = Transpose <perm = [0, 4, 1, 2, 3]> (normal)
  share = Sigmoid (gate)
  open = Mul (gate, share)
  y = Mul (first, open)
}"""

SHUFFLE_ADD = """
ShuffleAdd (x, near, far) => (y) {
  axis = Constant <value_ints = [2]> ()
  even = Unsqueeze (near, axis)
  odd = Unsqueeze (far, axis)
  pairs = Concat <axis = 2> (even, odd)
  shape = Shape (x)
  flat = Reshape (pairs, shape)
  y = Add (x, flat)
}"""

MERGE_NORM = """
MergeNorm <epsilon> (x, weight, bias) => (y) {
  one = Constant <value_ints = [1]> ()
  two = Constant <value_ints = [2]> ()
  rest = Constant <value_ints = [-1]> ()
  c = Shape <start = 1, end = 2> (x)
  depth = Shape <start = 2, end = 3> (x)
  height = Shape <start = 3, end = 4> (x)
  breadth = Shape <start = 4, end = 5> (x)
  z = Div (depth, two)
  y2 = Div (height, two)
  x2 = Div (breadth, two)
  split = Concat <axis = 0> (c, z, two, y2, two, x2, two)
  parts = Reshape (x, split)
  turned = Transpose <perm = [1, 3, 5, 2, 4, 6, 0]> (parts)
  merged = Concat <axis = 0> (one, z, y2, x2, rest)
  last = Reshape (turned, merged)
  normal = LayerNormalization <axis = -1, epsilon: float = @epsilon> (last, weight, bias)
  y = Transpose <perm = [0, 4, 1, 2, 3]> (normal)
}"""

PROTOTYPES = """
Prototypes <epsilon> (x, weight, bias, attend, level, prototypes) => (distances, token_distances) {
  last = Transpose <perm = [0, 2, 3, 4, 1]> (x)
  one = Constant <value_ints = [1]> ()
  two = Constant <value_ints = [2]> ()
  zero = Constant <value_ints = [0]> ()
  rest = Constant <value_ints = [-1]> ()
  c = Shape <start = 1, end = 2> (x)
  list = Concat <axis = 0> (one, rest, c)
  flat = Reshape (last, list)
  tokens = LayerNormalization <axis = -1, epsilon: float = @epsilon> (flat, weight, bias)
  column = Concat <axis = 0> (c, one)
  attending = Reshape (attend, column)
  product = MatMul (tokens, attending)
  score = Add (product, level)
  share = Softmax <axis = 1> (score)
  shared = Mul (tokens, share)
  pooled = ReduceSum (shared, one)
  gap = Sub (pooled, prototypes)
  squares = Mul (gap, gap)
  distances = ReduceSum <keepdims = 0> (squares, rest)
  bank = Slice (prototypes, zero, two, zero)
  each = Unsqueeze (tokens, two)
  token_gap = Sub (each, bank)
  token_squares = Mul (token_gap, token_gap)
  token_distances = ReduceSum <keepdims = 0> (token_squares, rest)
}"""


def scan_function() -> str:
    """SelectiveScan: skip * signal plus, per axis order, `pmn.chunked_scan`; see there for the names."""
    lines = """
  minus = Constant <value_ints = [-1]> ()
  zero = Constant <value_ints = [0]> ()
  one = Constant <value_ints = [1]> ()
  two = Constant <value_ints = [2]> ()
  three = Constant <value_ints = [3]> ()
  orders = Constant <value_ints = [3]> ()
  axis1 = Constant <value_int = 1> ()
  axis2 = Constant <value_int = 2> ()
  below = Constant <value_int = -1> ()
  long = Constant <value_int: int = @chunk> ()
  q = Reshape (long, one)
  inner = Shape <start = 1, end = 2> (signal)
  all = Shape <start = 1, end = 2> (selected)
  per = Div (all, orders)
  h = Shape <start = 1, end = 2> (log_rate)
  p = Div (inner, h)
  both = Sub (per, h)
  n = Div (both, two)
  parts = Concat <axis = 0> (n, n, h)
  rows = Concat <axis = 0> (minus, q, per)
  heads = Concat <axis = 0> (minus, q, h, p)
  square = Concat <axis = 0> (q, q)
  full = ConstantOfShape <value = float[1] {1.0}> (square)
  lower = Trilu <upper = 0> (full, below)
  upper = Transpose (lower)
  eye = EyeLike (full)
  column = Concat <axis = 0> (one, minus, one, one, one)
  factor = Reshape (skip, column)
  mixed_0 = Mul (signal, factor)
  s0, s1, s2 = Split <axis = 1> (selected)
  r0, r1, r2 = Split <axis = 0> (log_rate)"""
    for i, order in enumerate(AXIS_ORDERS):
        # AXIS_ORDERS is for [b, z, y, x, c]; here the channels come second.
        forth = [(0, 2, 3, 4, 1)[axis] for axis in order]
        back = [forth.index(axis) for axis in range(5)]
        lines += f"""
  turned_{i} = Transpose <perm = {forth}> (signal)
  shape_{i} = Shape (turned_{i})
  plain_{i} = Reshape (turned_{i}, heads)
  chosen_{i} = Transpose <perm = {forth}> (s{i})
  listed_{i} = Reshape (chosen_{i}, rows)
  b_{i}, c_{i}, d_{i} = Split <axis = 2> (listed_{i}, parts)
  step_{i} = Softplus (d_{i})
  rate_{i} = Exp (r{i})
  speed_{i} = Mul (step_{i}, rate_{i})
  loss_{i} = Neg (speed_{i})
  a_{i} = Transpose <perm = [0, 2, 1]> (loss_{i})
  wide_{i} = Unsqueeze (step_{i}, three)
  weighed_{i} = Mul (plain_{i}, wide_{i})
  x_{i} = Transpose <perm = [0, 2, 1, 3]> (weighed_{i})
  inclusive_{i} = CumSum (a_{i}, axis2)
  exclusive_{i} = Sub (inclusive_{i}, a_{i})
  to_{i} = Unsqueeze (inclusive_{i}, three)
  from_{i} = Unsqueeze (inclusive_{i}, two)
  ahead_{i} = Sub (to_{i}, from_{i})
  forward_{i} = Mul (ahead_{i}, lower)
  to_e_{i} = Unsqueeze (exclusive_{i}, two)
  from_e_{i} = Unsqueeze (exclusive_{i}, three)
  behind_{i} = Sub (to_e_{i}, from_e_{i})
  backward_{i} = Mul (behind_{i}, upper)
  spans_{i} = Add (forward_{i}, backward_{i})
  decays_{i} = Exp (spans_{i})
  weights_{i} = Add (decays_{i}, eye)
  b_t_{i} = Transpose <perm = [0, 2, 1]> (b_{i})
  cb_{i} = MatMul (c_{i}, b_t_{i})
  cb_1_{i} = Unsqueeze (cb_{i}, one)
  cbw_{i} = Mul (cb_1_{i}, weights_{i})
  within_{i} = MatMul (cbw_{i}, x_{i})
  total_{i} = ReduceSum (a_{i}, two)
  end_gap_{i} = Sub (total_{i}, inclusive_{i})
  end_{i} = Exp (end_gap_{i})
  start_{i} = Exp (exclusive_{i})
  end_2_{i} = Unsqueeze (end_{i}, two)
  start_2_{i} = Unsqueeze (start_{i}, two)
  b_1_{i} = Unsqueeze (b_t_{i}, one)
  b_end_{i} = Mul (b_1_{i}, end_2_{i})
  b_start_{i} = Mul (b_1_{i}, start_2_{i})
  left_{i} = MatMul (b_end_{i}, x_{i})
  right_{i} = MatMul (b_start_{i}, x_{i})
  totals_{i} = Transpose <perm = [1, 0, 2]> (total_{i})
  sums_{i} = CumSum (totals_{i}, axis1)
  sums_e_{i} = Sub (sums_{i}, totals_{i})
  sums_t_{i} = Transpose <perm = [0, 2, 1]> (sums_{i})
  gaps_{i} = Sub (sums_e_{i}, sums_t_{i})
  chunks_{i} = Shape <start = 1, end = 2> (sums_{i})
  grid_{i} = Concat <axis = 0> (chunks_{i}, chunks_{i})
  ones_{i} = ConstantOfShape <value = float[1] {{1.0}}> (grid_{i})
  mask_{i} = Trilu <upper = 0> (ones_{i}, below)
  masked_{i} = Mul (gaps_{i}, mask_{i})
  reach_{i} = Exp (masked_{i})
  earlier_{i} = Mul (reach_{i}, mask_{i})
  later_{i} = Transpose <perm = [0, 2, 1]> (earlier_{i})
  left_h_{i} = Transpose <perm = [1, 0, 2, 3]> (left_{i})
  right_h_{i} = Transpose <perm = [1, 0, 2, 3]> (right_{i})
  states_{i} = Shape (left_h_{i})
  flat_{i} = Concat <axis = 0> (zero, zero, minus)
  left_f_{i} = Reshape (left_h_{i}, flat_{i})
  right_f_{i} = Reshape (right_h_{i}, flat_{i})
  before_f_{i} = MatMul (earlier_{i}, left_f_{i})
  after_f_{i} = MatMul (later_{i}, right_f_{i})
  before_h_{i} = Reshape (before_f_{i}, states_{i})
  after_h_{i} = Reshape (after_f_{i}, states_{i})
  before_{i} = Transpose <perm = [1, 0, 2, 3]> (before_h_{i})
  after_{i} = Transpose <perm = [1, 0, 2, 3]> (after_h_{i})
  c_1_{i} = Unsqueeze (c_{i}, one)
  since_{i} = Exp (inclusive_{i})
  since_3_{i} = Unsqueeze (since_{i}, three)
  c_since_{i} = Mul (c_1_{i}, since_3_{i})
  from_before_{i} = MatMul (c_since_{i}, before_{i})
  until_gap_{i} = Sub (total_{i}, exclusive_{i})
  until_{i} = Exp (until_gap_{i})
  until_3_{i} = Unsqueeze (until_{i}, three)
  c_until_{i} = Mul (c_1_{i}, until_3_{i})
  from_after_{i} = MatMul (c_until_{i}, after_{i})
  arrived_{i} = Add (from_before_{i}, from_after_{i})
  y_h_{i} = Add (within_{i}, arrived_{i})
  y_{i} = Transpose <perm = [0, 2, 1, 3]> (y_h_{i})
  y_s_{i} = Reshape (y_{i}, shape_{i})
  scanned_{i} = Transpose <perm = {back}> (y_s_{i})
  mixed_{i + 1} = Add (mixed_{i}, scanned_{i})"""
    lines += "\n  mixed = Identity (mixed_3)"
    return f"SelectiveScan <chunk> (signal, selected, log_rate, skip) => (mixed) {{{lines}\n}}"


def functions() -> list[onnx.FunctionProto]:
    """All functions of the domain."""
    texts = [CHANNEL_NORM, LOCAL_SILU, GATED_NORM, SHUFFLE_ADD, MERGE_NORM, scan_function(), PROTOTYPES]
    head = f'<domain: "{DOMAIN}", opset_import: ["": {OPSET}]>\n'
    return [parser.parse_function(head + text.strip()) for text in texts]


class Graph:
    """Collects nodes and constants; names are those of the module they come from."""

    def __init__(self):
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, name: str, value: Tensor | np.ndarray) -> str:
        array = value.detach().numpy() if isinstance(value, Tensor) else value
        kind = np.int64 if array.dtype.kind == "i" else np.float32
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array, dtype=kind), name))
        return name

    def node(self, operator: str, inputs: list[str], name: str, domain: str = "", outputs=None, **attributes) -> str:
        outputs = outputs or [name]
        self.nodes.append(helper.make_node(operator, inputs, outputs, name, domain=domain, **attributes))
        return outputs[0]

    def edge(self, operator: str, inputs: list[str], name: str, outputs=None, **attributes) -> str:
        return self.node(operator, inputs, name, DOMAIN, outputs, **attributes)

    def norm(self, operator: str, inputs: list[str], name: str, module: nn.LayerNorm) -> str:
        weights = [self.constant(f"{name}.weight", module.weight), self.constant(f"{name}.bias", module.bias)]
        return self.edge(operator, [*inputs, *weights], name, epsilon=EPSILON)

    def channels(self, source: str, name: str, first: int, end: int) -> str:
        limits = [self.constant(f"{name}.{key}", np.array([value], np.int64))
                  for key, value in (("first", first), ("end", end), ("axis", 1))]
        return self.node("Slice", [source, *limits], name)

    def convolution(self, source: str, name: str, weight: Tensor, bias: Tensor | None, side: int, stride: int = 1,
                    pad: int = 0) -> str:
        """`weight` `[out, in, k, k, k]`, or `[out, in]` for 1x1x1."""
        weight = weight.detach().reshape(*weight.shape[:2], side, side, side)
        inputs = [source, self.constant(f"{name}.weight", weight)]
        if bias is not None:
            inputs.append(self.constant(f"{name}.bias", bias))
        return self.node("Conv", inputs, name, kernel_shape=[side] * 3, strides=[stride] * 3, pads=[pad] * 6)


def folded(convolution: nn.Conv3d, norm: nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution and the BatchNorm after it."""
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    weight = convolution.weight * factor[:, None, None, None, None]
    return weight.detach(), ((convolution.bias - norm.running_mean) * factor + norm.bias).detach()


def near_half(graph: Graph, source: str, name: str, block: DualBranch) -> str:
    """The convolutions; the BatchNorm before them stays, because what they are padded with is 0 after it."""
    first, conv1, norm1, _, conv2, norm2, _, conv3, _ = block.convolutions
    numbers = {"scale": first.weight, "bias": first.bias, "mean": first.running_mean, "var": first.running_var}
    constants = [graph.constant(f"{name}.norm.{key}", value) for key, value in numbers.items()]
    tensor = graph.node("BatchNormalization", [source, *constants], f"{name}.norm", epsilon=first.eps)
    for index, (convolution, norm) in enumerate(((conv1, norm1), (conv2, norm2))):
        weight, bias = folded(convolution, norm)
        tensor = graph.convolution(tensor, f"{name}.conv{index + 1}", weight, bias, 3, pad=1)
        tensor = graph.node("Relu", [tensor], f"{name}.relu{index + 1}")
    tensor = graph.convolution(tensor, f"{name}.conv3", conv3.weight, conv3.bias, 1)
    return graph.node("Relu", [tensor], f"{name}.relu3")


def far_half(graph: Graph, source: str, name: str, block: DualBranch, tokens: int) -> str:
    """The state space."""
    space = block.state_space
    tensor = graph.norm("ChannelNorm", [source], f"{name}.norm", block.norm)
    entered = graph.convolution(tensor, f"{name}.enter", space.enter.weight, None, 1)
    signal = graph.channels(entered, f"{name}.signal", 0, space.inner)
    gate = graph.channels(entered, f"{name}.gate", space.inner, 2 * space.inner)
    local = [graph.constant(f"{name}.local.{key}", value)
             for key, value in (("weight", space.local.weight), ("bias", space.local.bias))]
    signal = graph.edge("LocalSilu", [signal, *local], f"{name}.local", group=space.inner)
    selected = graph.convolution(signal, f"{name}.select", space.select.weight, space.select.bias, 1)
    constants = [graph.constant(f"{name}.scan.log_rate", space.log_rate), graph.constant(f"{name}.scan.skip", space.skip)]
    # A divisor of the tokens of half the box as well, which the golden pair is made of.
    chunk = min(space.settings.chunk, tokens // 8)
    mixed = graph.edge("SelectiveScan", [signal, selected, *constants], f"{name}.scan", chunk=chunk)
    mixed = graph.norm("GatedNorm", [mixed, gate], f"{name}.gated", space.norm)
    return graph.convolution(mixed, f"{name}.leave", space.leave.weight, None, 1)


def float_model(network: PrototypeMambaNet) -> onnx.ModelProto:
    """`box` `[1, phases, S, S, S]` to `distances` `[1, 6]` and `token_distances` `[1, T, 2]`."""
    graph = Graph()
    tensor = trunk(graph, network)
    constants = {"weight": network.norm.weight, "bias": network.norm.bias, "attend": network.attend.weight[0],
                 "level": network.attend.bias, "prototypes": network.prototypes}
    inputs = [graph.constant(f"prototypes.{key}", value) for key, value in constants.items()]
    shapes = {"distances": [1, network.prototypes.shape[0]], "token_distances": [1, "T", 2]}
    graph.edge("Prototypes", [tensor, *inputs], "prototypes", list(shapes), epsilon=EPSILON)
    return finished(graph, network, shapes)


def features_model(network: PrototypeMambaNet) -> onnx.ModelProto:
    """`box` to `features` `[1, width, t, t, t]`: the last stage as it is, by a product that changes nothing."""
    graph = Graph()
    tensor = trunk(graph, network)
    width = network.settings.widths[-1]
    tensor = graph.convolution(tensor, "features", torch.eye(width), None, 1)
    return finished(graph, network, {tensor: [1, width, "d", "h", "w"]})


def trunk(graph: Graph, network: PrototypeMambaNet) -> str:
    """All stages; the last tensor."""
    settings = network.settings
    side = settings.box_voxels // settings.patch
    tensor = graph.convolution("box", "embed", network.embed.weight, network.embed.bias, settings.patch, settings.patch)
    for stage, blocks in enumerate(network.stages):
        for index, block in enumerate(blocks):
            name, width = f"stage{stage + 1}.block{index + 1}", 2 * block.half
            near = graph.channels(tensor, f"{name}.near", 0, block.half)
            far = graph.channels(tensor, f"{name}.far", block.half, width)
            halves = [near_half(graph, near, f"{name}.near", block), far_half(graph, far, f"{name}.far", block, side**3)]
            tensor = graph.edge("ShuffleAdd", [tensor, *halves], name)
        if stage < len(network.merges):
            merge = network.merges[stage]
            tensor = graph.norm("MergeNorm", [tensor], f"merge{stage + 1}.norm", merge.norm)
            tensor = graph.convolution(tensor, f"merge{stage + 1}", merge.reduce.weight, None, 1)
            side //= 2
    return tensor


def finished(graph: Graph, network: PrototypeMambaNet, outputs: dict[str, list[int | str]]) -> onnx.ModelProto:
    """The model with these outputs and their shapes; the box may have other sides."""
    box = helper.make_tensor_value_info("box", TensorProto.FLOAT, [1, network.settings.phases, "D", "H", "W"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    body = helper.make_graph(graph.nodes, "pmn", [box], values, graph.constants)
    return assembled(body)


def assembled(body: onnx.GraphProto) -> onnx.ModelProto:
    """A checked model with the functions."""
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)]
    model = helper.make_model(body, opset_imports=imports, functions=functions(), ir_version=IR_VERSION)
    model.producer_name, model.producer_version = "hcc-edge", ""
    onnx.checker.check_model(model)
    return model


def quantised(model: onnx.ModelProto, calibration: list[np.ndarray], int8_path: Path) -> Path:
    """Writes the QDQ model and beside it `<stem>.float.onnx`, whose path is returned."""
    float_path = int8_path.with_suffix(".float.onnx")
    int8_path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, float_path)
    quantise(float_path, int8_path, "box", calibration, "minmax")
    unround_scans(int8_path)
    return float_path


def unround_scans(path: Path) -> None:
    """Lets scans read their signal as it was before it was rounded for the convolution beside them: the quantiser
    gives the rounded one to every reader."""
    model = onnx.load(path)
    makers = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        if node.op_type == "SelectiveScan":
            maker = makers.get(node.input[0])
            if maker is not None and maker.op_type == "DequantizeLinear":
                node.input[0] = makers[maker.input[0]].input[0]
    onnx.checker.check_model(model)
    onnx.save(model, path)


def example(folder: Path) -> None:
    """A PMN of two small stages with made-up weights, an input, and what ONNX Runtime answers: the engine's test."""
    torch.manual_seed(1)
    network = PrototypeMambaNet(PmnSettings(box_voxels=12, widths=(32, 64), depths=(1, 1), state_size=4, chunk=16))
    box = torch.rand(4, 2, 12, 12, 12)
    network.train()(box)  # for BatchNorm's statistics
    int8_path = folder / "model.onnx"
    float_path = quantised(float_model(network.eval()), [one[None].numpy() for one in box[:3]], int8_path)
    float_path.unlink()
    values = box[3:].numpy()
    values.astype("<f4").tofile(folder / "input.f32")
    for output, value in zip(("distances", "token_distances"), session(int8_path).run(None, {"box": values}), strict=True):
        value.astype("<f4").tofile(folder / f"{output}.f32")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--functions", type=Path, required=True, help="where the engine's copy of the functions goes")
    options.add_argument("--example", type=Path, required=True, help="folder of the engine's example")
    arguments = options.parse_args()
    example(arguments.example)
    path = arguments.functions
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    nothing = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "functions", [value],
                                [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])])
    onnx.save(assembled(nothing), path)


if __name__ == "__main__":
    main()
