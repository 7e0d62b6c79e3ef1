#!/usr/bin/env python3
"""The networks of the comparison, made from a seed: float ONNX, and int8 ONNX in the QDQ form.

    networks.py --out FOLDER [--networks unet96,nnunet128]      writes every file of them

Shaped like nnU-Net's PlainConvUNet: two 3x3x3 convolutions a stage (BatchNorm folded, or followed by
InstanceNorm) with LeakyReLU 0.01, the first of a stage with stride 2 from the second stage on; going
up a 2x2x2 transposed convolution, the skip concatenated; a 1x1x1 head. Weights are random: the time
does not depend on them, and activations spread over the range of their scales as in a trained network.

int8: weights per output channel, symmetric, in all 8 bits; activations per tensor, uint8; biases in
f32. `exported` places Q/DQ where scripts/models/quantise.py does. The other graphs compute the same
layers with Q/DQ elsewhere, where another engine may like them better; see GRAPHS.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
SEED = 1
LEAKY_SLOPE = 0.01
EPSILON = 1e-5
CLASSES = 3
CALIBRATION_SIDE = 48

GRAPHS = {
    "exported": "Q/DQ after each LeakyReLU and after each concatenation, as our quantiser writes it",
    "shared": "as exported, but both inputs of a concatenation are quantised with its scale, before it",
    "symmetric": "as shared, with zero point 128 everywhere",
    "strict": "as exported, and Q/DQ between convolution and LeakyReLU too, as ONNX Runtime's quantiser does",
}


@dataclass(frozen=True)
class Network:
    """A network of the comparison; its input is `[1, channels, side, side, side]` f32."""

    name: str
    side: int
    channels: int
    widths: tuple[int, ...]
    instance_norm: bool = False


NETWORKS = {
    network.name: network
    for network in (
        Network("unet96", 96, 2, (16, 32, 64, 128, 160)),
        Network("nnunet128", 128, 1, (32, 64, 128, 256, 320, 320)),
        Network("unet96-in", 96, 2, (16, 32, 64, 128, 160), instance_norm=True),
    )
}


@dataclass(frozen=True)
class Layer:
    """A convolution with what follows it, or a transposed one with the concatenation after it."""

    kind: str  # "unit", "up" or "head"
    name: str
    source: str
    inputs: int
    outputs: int
    stride: int = 1
    skip: str | None = None  # the tensor that an "up" is concatenated with

    @property
    def result(self) -> str:
        """The tensor that the next layer reads."""
        return {"unit": f"{self.name}.leaky", "up": f"{self.name}.concat", "head": "logits"}[self.kind]


def layers(network: Network) -> list[Layer]:
    """All layers in order."""
    found: list[Layer] = []
    source, previous = "image", network.channels

    def unit(name: str, outputs: int, stride: int = 1) -> None:
        nonlocal source, previous
        found.append(Layer("unit", name, source, previous, outputs, stride))
        source, previous = found[-1].result, outputs

    skips = []
    for stage, width in enumerate(network.widths):
        unit(f"down{stage}a", width, 1 if stage == 0 else 2)
        unit(f"down{stage}b", width)
        skips.append(source)
    skips.pop()
    for stage, width in reversed(list(enumerate(network.widths[:-1]))):
        found.append(Layer("up", f"up{stage}", source, previous, width, skip=skips.pop()))
        source, previous = found[-1].result, 2 * width
        unit(f"merge{stage}a", width)
        unit(f"merge{stage}b", width)
    found.append(Layer("head", "head", source, previous, CLASSES))
    return found


def macs(network: Network) -> int:
    """Multiplications and additions of the convolutions for one run."""
    total, sides = 0, {"image": network.side}
    for layer in layers(network):
        side = sides[layer.source]
        output = 2 * side if layer.kind == "up" else side // layer.stride
        # Each output voxel of the transposed convolution is reached by one of its eight taps.
        taps = 27 if layer.kind == "unit" else 1
        total += output**3 * taps * layer.inputs * layer.outputs
        sides[layer.result] = output
    return total


def make_weights(network: Network, seed: int) -> dict[str, np.ndarray]:
    """f32 arrays by initialiser name, scaled so that activations neither grow nor vanish."""
    random = np.random.default_rng(seed)
    weights = {}

    def normal(name: str, shape: tuple[int, ...], deviation: float, mean: float = 0.0) -> None:
        weights[name] = (mean + deviation * random.standard_normal(shape)).astype(np.float32)

    for layer in layers(network):
        outputs, inputs = layer.outputs, layer.inputs
        if layer.kind == "up":
            normal(f"{layer.name}.weight", (inputs, outputs, 2, 2, 2), (2 / inputs) ** 0.5)
        else:
            side = 3 if layer.kind == "unit" else 1
            deviation = (2 / (inputs * side**3)) ** 0.5
            normal(f"{layer.name}.weight", (outputs, inputs, side, side, side), deviation)
        normal(f"{layer.name}.bias", (outputs,), 0.1)
        if layer.kind == "unit" and network.instance_norm:
            normal(f"{layer.name}.gamma", (outputs,), 0.1, mean=1.0)
            normal(f"{layer.name}.beta", (outputs,), 0.1)
    return weights


def make_input(network: Network, seed: int) -> np.ndarray:
    """`[1, channels, side, side, side]` f32: a smooth field with noise on it, about mean 0 and deviation 1."""
    random = np.random.default_rng(seed + 1)
    coarse = random.standard_normal((1, network.channels, *[network.side // 8] * 3))
    for axis in (2, 3, 4):
        coarse = coarse.repeat(8, axis)
    noise = random.standard_normal(coarse.shape)
    return (0.9 * coarse + 0.4 * noise).astype(np.float32)


@dataclass(frozen=True)
class Quant:
    """uint8 scale and zero point of a tensor."""

    scale: np.float32
    zero_point: int


def quant(low: float, high: float, symmetric: bool) -> Quant:
    """What spreads low..high, and 0, over 0..255."""
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric:
        return Quant(np.float32(max(-low, high) / 127), 128)
    scale = np.float32((high - low) / 255)
    return Quant(scale, int(round(-low / float(scale))))


class Writer:
    """Collects nodes and initialisers of one model."""

    def __init__(self, network: Network, weights: dict[str, np.ndarray]):
        self.network, self.weights = network, weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def node(self, operator: str, inputs: list[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], f"{output}/{operator}", **attributes))
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants[name] = value
        return name

    def own(self, name: str) -> str:
        """An array of the network's own, as it is."""
        return self.constant(name, self.weights[name])

    def weight(self, layer: Layer) -> str:
        """The name under which the convolution reads its weights."""
        return self.own(f"{layer.name}.weight")

    def after(self, place: str, tensor: str) -> str:
        """What readers of `tensor` read instead; places are image, conv, leaky, up, skip and concat."""
        del place
        return tensor

    def body(self) -> None:
        """All layers."""
        read = {"image": self.after("image", "image")}
        for layer in layers(self.network):
            source, name = read[layer.source], layer.name
            if layer.kind == "up":
                inputs = [source, self.weight(layer), self.own(f"{name}.bias")]
                self.node("ConvTranspose", inputs, f"{name}.up", kernel_shape=[2] * 3, strides=[2] * 3)
                inputs = [self.after("up", f"{name}.up"), self.after("skip", layer.skip)]
                self.node("Concat", inputs, layer.result, axis=1)
                read[layer.result] = self.after("concat", layer.result)
            elif layer.kind == "unit":
                read[layer.result] = self.unit(layer, source)
            else:
                inputs = [source, self.weight(layer), self.own(f"{name}.bias")]
                self.node("Conv", inputs, "logits", kernel_shape=[1] * 3)

    def unit(self, layer: Layer, source: str) -> str:
        name = layer.name
        inputs = [source, self.weight(layer), self.own(f"{name}.bias")]
        shape = {"kernel_shape": [3] * 3, "pads": [1] * 6, "strides": [layer.stride] * 3}
        tensor = self.after("conv", self.node("Conv", inputs, f"{name}.conv", **shape))
        if self.network.instance_norm:
            inputs = [tensor, self.own(f"{name}.gamma"), self.own(f"{name}.beta")]
            tensor = self.node("InstanceNormalization", inputs, f"{name}.norm", epsilon=EPSILON)
        return self.after("leaky", self.node("LeakyRelu", [tensor], layer.result, alpha=LEAKY_SLOPE))

    def model(self, side: int, outputs: list[tuple[str, list[int]]]) -> onnx.ModelProto:
        def info(name: str, shape: list[int]) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        graph = helper.make_graph(
            self.nodes,
            self.network.name,
            [info("image", [1, self.network.channels, *[side] * 3])],
            [info(name, shape) for name, shape in outputs],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, producer_name="hcc-edge", opset_imports=opset, ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model


class QuantisedWriter(Writer):
    """Writes one of GRAPHS; `ranges` are the least and largest value of each tensor."""

    def __init__(self, network, weights, ranges: dict[str, tuple[float, float]], graph: str):
        super().__init__(network, weights)
        self.ranges, self.graph = ranges, graph
        self.shares = graph in ("shared", "symmetric")
        # The concatenation that each of its inputs takes the scale from.
        self.scale_of: dict[str, str] = {}
        if self.shares:
            for layer in layers(network):
                if layer.kind == "up":
                    self.scale_of |= {f"{layer.name}.up": layer.result, layer.skip: layer.result}

    def weight(self, layer: Layer) -> str:
        name = f"{layer.name}.weight"
        values = self.weights[name]
        axis = 1 if layer.kind == "up" else 0
        others = tuple(n for n in range(values.ndim) if n != axis)
        scale = (np.abs(values).max(others, keepdims=True) / 127).astype(np.float32)
        whole = np.clip(np.rint(values / scale), -127, 127).astype(np.int8)
        return self.dequantised_weight(name, whole, scale.reshape(-1), axis)

    def dequantised_weight(self, name: str, whole: np.ndarray, scale: np.ndarray, axis: int) -> str:
        inputs = [
            self.constant(f"{name}_quantized", whole),
            self.constant(f"{name}_scale", scale),
            self.constant(f"{name}_zero_point", np.zeros(scale.shape, np.int8)),
        ]
        return self.node("DequantizeLinear", inputs, f"{name}_dequantized", axis=axis)

    def after(self, place: str, tensor: str) -> str:
        if place == "skip":
            return f"{tensor}_dequantized"
        wanted = {"image", "leaky"}
        wanted |= {"up"} if self.shares else {"concat"}
        wanted |= {"conv", "up"} if self.graph == "strict" else set()
        return self.quantised(tensor) if place in wanted else tensor

    def quantised(self, tensor: str) -> str:
        low, high = self.ranges[self.scale_of.get(tensor, tensor)]
        found = quant(low, high, symmetric=self.graph == "symmetric")
        parameters = [
            self.constant(f"{tensor}_scale", np.array(found.scale, np.float32)),
            self.constant(f"{tensor}_zero_point", np.array(found.zero_point, np.uint8)),
        ]
        self.node("QuantizeLinear", [tensor, *parameters], f"{tensor}_quantized")
        return self.node("DequantizeLinear", [f"{tensor}_quantized", *parameters], f"{tensor}_dequantized")


@dataclass(frozen=True)
class Single:
    """A layer by itself: what `model` of it reads and makes, in integers of `quant`."""

    name: str
    source: str
    inputs: int
    outputs: int
    quant: Quant
    result: str
    stride: int = 1
    grows: int = 1
    beside: str | None = None  # what the result is concatenated with
    staged: bool = False  # sums are rounded before they are normalised


class SingleWriter(QuantisedWriter):
    """One layer of `exported` between the quantisation of its input and the identity as head, so that
    the logits are its integers in steps of their scale from their zero point.
    """

    def __init__(self, network: Network, weights: dict[str, np.ndarray], ranges, single: Single):
        super().__init__(replace(network, channels=single.inputs), weights, ranges, "exported")
        self.single = single

    def weight(self, layer: Layer) -> str:
        if layer.kind != "head":
            return super().weight(layer)
        whole = np.eye(layer.inputs, dtype=np.int8)[..., None, None, None]
        return self.dequantised_weight("head.weight", whole, np.ones(layer.inputs, np.float32), 0)

    def head(self, tensor: str) -> None:
        outputs = self.single.outputs
        layer = Layer("head", "head", tensor, outputs, outputs)
        inputs = [tensor, self.weight(layer), self.constant("head.bias", np.zeros(outputs, np.float32))]
        self.node("Conv", inputs, "logits", kernel_shape=[1] * 3)


def singles(network: Network, seed: int) -> list[tuple[Single, onnx.ModelProto]]:
    """Every layer before the head as a model of its own, in order. The two inputs of a concatenation,
    which is quantised as a whole, are two of them.
    """
    weights = make_weights(network, seed)
    ranges = measured_ranges(network, weights, seed)
    sides, channels = {"image": network.side}, {"image": network.channels}
    found = []

    def single(layer: Single, side: int, body) -> None:
        # The layer's input is the model's: it is quantised as the layer before says.
        own = ranges | {"image": ranges[layer.source]}
        writer = SingleWriter(network, weights, own, layer)
        writer.head(body(writer, writer.quantised("image")))
        made = side * layer.grows // layer.stride
        found.append((layer, writer.model(side, [("logits", [1, layer.outputs, *[made] * 3])])))

    for layer in layers(network):
        side = sides.get(layer.source)
        low_high = ranges.get(layer.result)
        if layer.kind == "unit":
            made = Single(layer.name, layer.source, layer.inputs, layer.outputs, quant(*low_high, symmetric=False),
                          layer.result, stride=layer.stride, staged=network.instance_norm)
            single(made, side, lambda writer, read, layer=layer: writer.unit(layer, read))
        elif layer.kind == "up":
            shared = quant(*low_high, symmetric=False)
            up, skip = f"{layer.name}.up", f"{layer.name}.skip"

            def rescaled(writer: SingleWriter, read: str, result=layer.result, skip=skip) -> str:
                writer.ranges |= {skip: writer.ranges[result]}
                return writer.quantised(writer.node("Identity", [read], skip))

            def transposed(writer: SingleWriter, read: str, layer=layer, up=up) -> str:
                writer.ranges |= {up: writer.ranges[layer.result]}
                inputs = [read, writer.weight(layer), writer.own(f"{layer.name}.bias")]
                return writer.quantised(writer.node("ConvTranspose", inputs, up, kernel_shape=[2] * 3, strides=[2] * 3))

            count = channels[layer.skip]
            single(Single(skip, layer.skip, count, count, shared, skip), sides[layer.skip], rescaled)
            single(Single(up, layer.source, layer.inputs, layer.outputs, shared, layer.result, grows=2, beside=skip),
                   side, transposed)
        if layer.kind != "head":
            sides[layer.result] = side * (2 if layer.kind == "up" else 1) // layer.stride
            channels[layer.result] = layer.outputs + (channels[layer.skip] if layer.kind == "up" else 0)
    return found


def measured_ranges(network: Network, weights: dict[str, np.ndarray], seed: int) -> dict[str, tuple[float, float]]:
    """Least and largest value of every tensor, in float, on an input of half the side where that is enough."""
    small = replace(network, side=min(network.side, max(network.side // 2, CALIBRATION_SIDE)))
    writer = Writer(small, weights)
    writer.body()
    tensors = ["image", *[node.output[0] for node in writer.nodes if node.output[0] != "logits"]]
    outputs = []
    for tensor in tensors:
        for operator in ("ReduceMin", "ReduceMax"):
            writer.node(operator, [tensor], f"{tensor}.{operator}", keepdims=0)
            outputs.append((f"{tensor}.{operator}", []))
    options = ort.SessionOptions()
    options.log_severity_level = 3
    model = writer.model(small.side, outputs)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = [float(value) for value in session.run(None, {"image": make_input(small, seed)})]
    return dict(zip(tensors, zip(found[::2], found[1::2], strict=True), strict=True))


@dataclass(frozen=True)
class Files:
    """Where the files of one network lie."""

    network: Network
    folder: Path

    def path(self, graph: str) -> Path:
        """`graph` is float or one of GRAPHS."""
        return self.folder / f"{self.network.name}.{graph}.onnx"

    @property
    def input(self) -> Path:
        """An input, f32 little-endian, `[channel, z, y, x]`."""
        return self.folder / f"{self.network.name}.input.f32"


def write(network: Network, folder: Path, seed: int) -> Files:
    """Writes every file of a network; the same seed gives the same weights."""
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(network, folder)
    weights = make_weights(network, seed)
    ranges = measured_ranges(network, weights, seed)
    writers = {"float": Writer(network, weights)}
    writers |= {graph: QuantisedWriter(network, weights, ranges, graph) for graph in GRAPHS}
    for graph, writer in writers.items():
        writer.body()
        onnx.save(writer.model(network.side, [("logits", [1, CLASSES, *[network.side] * 3])]), files.path(graph))
    make_input(network, seed).astype("<f4").tofile(files.input)
    return files


def chosen(names: str | None) -> list[Network]:
    """Networks of a comma-separated list; all of them without one."""
    listed = list(NETWORKS) if names is None else names.split(",")
    unknown = [name for name in listed if name not in NETWORKS]
    if unknown:
        raise SystemExit(f"no such network: {', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    return [NETWORKS[name] for name in listed]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--networks", metavar="NAME[,NAME]", help="only these")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    for network in chosen(options.networks):
        write(network, options.out, options.seed)
        print(f"{network.name}: {macs(network) / 1e9:.1f} GMAC, {', '.join(['float', *GRAPHS])}")


if __name__ == "__main__":
    main()
