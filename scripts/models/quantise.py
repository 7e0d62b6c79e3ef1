"""Trained network to int8 QDQ ONNX (opset 17), by way of a float ONNX with folded constants.

Weights are per-channel symmetric int8, activations per-tensor uint8. Only convolutions and products
with constant matrices are quantised; biases, activation functions, norms, the state-space recurrence
and the prototype distances stay in float.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from torch import nn

OPSET = 17
QUANTISED_OPS = ["Conv", "ConvTranspose", "MatMul"]
METHODS = ("minmax", "percentile", "mse")
SAMPLED_VALUES = 20_000


class Samples(CalibrationDataReader):
    """Feeds arrays shaped like the network's input, one at a time."""

    def __init__(self, tensor: str, arrays: Iterable[np.ndarray]):
        self.feeds = iter([{tensor: array.astype(np.float32)} for array in arrays])

    def get_next(self):
        return next(self.feeds, None)


def export_float(
    network: nn.Module, example: torch.Tensor, names: tuple[str, list[str]], path: Path, dynamic: bool
) -> None:
    """Writes a float ONNX; `names` is (input, outputs). `dynamic` frees the three spatial axes."""
    tensor, outputs = names
    spatial = {2: "D", 3: "H", 4: "W"}
    axes = {name: spatial for name in (tensor, *outputs)} if dynamic else None
    torch.onnx.export(
        network.eval().cpu().to(memory_format=torch.contiguous_format),
        (example,),
        str(path),
        input_names=[tensor],
        output_names=outputs,
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,
    )
    fold_constants(path)


def fold_constants(path: Path) -> None:
    """Rewrites the file after ONNX Runtime's basic (standard-operator) optimisation."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    ort.InferenceSession(
        str(path),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["MatMulAddFusion"],
    )
    model = onnx.load(path)
    standard = [entry for entry in model.opset_import if entry.domain == ""]
    del model.opset_import[:]
    model.opset_import.extend(standard)
    model.producer_name, model.producer_version = "hcc-edge", ""
    onnx.checker.check_model(model)
    onnx.save(model, path)


def products_of_activations(path: Path) -> list[str]:
    """Names of MatMul nodes with no constant operand: the state-space recurrence."""
    graph = onnx.load(path).graph
    constants = {tensor.name for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    return [node.name for node in products if not constants.intersection(node.input)]


def quantise(
    float_path: Path, int8_path: Path, tensor: str, calibration: list[np.ndarray], method: str
) -> None:
    """Static quantisation; `method` is one of METHODS."""
    overrides = {}
    if method == "mse":
        ranges = least_error_ranges(float_path, tensor, calibration)
        overrides = {name: [{"rmin": np.float32(a), "rmax": np.float32(b)}] for name, (a, b) in ranges.items()}
    calibrate = CalibrationMethod.Percentile if method == "percentile" else CalibrationMethod.MinMax
    quantize_static(
        str(float_path),
        str(int8_path),
        Samples(tensor, calibration),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=QUANTISED_OPS,
        nodes_to_exclude=products_of_activations(float_path),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=calibrate,
        extra_options={
            "WeightSymmetric": True,
            "ActivationSymmetric": False,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": QUANTISED_OPS,
            "CalibPercentile": 99.995,
            "TensorQuantOverrides": overrides,
        },
    )
    model = onnx.load(int8_path)
    model.producer_name, model.producer_version = "hcc-edge", ""
    onnx.checker.check_model(model)
    onnx.save(model, int8_path)


def quantised_activations(path: Path) -> list[str]:
    """Tensors that a quantised operator reads, constants left out."""
    graph = onnx.load(path).graph
    constants = {tensor.name for tensor in graph.initializer}
    found = [node.input[0] for node in graph.node if node.op_type in ("Conv", "ConvTranspose")]
    return list(dict.fromkeys(name for name in found if name not in constants))


def with_outputs(path: Path, names: list[str]) -> ort.InferenceSession:
    """The file with more tensors to look at."""
    model = onnx.load(path)
    known = {output.name for output in model.graph.output} | {entry.name for entry in model.graph.input}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def least_error_ranges(float_path: Path, tensor: str, calibration: list[np.ndarray]) -> dict[str, tuple[float, float]]:
    """Per activation the range whose 256 steps change a sample of its values least, in mean square."""
    names = quantised_activations(float_path)
    network, random = with_outputs(float_path, names), np.random.default_rng(0)
    samples: dict[str, list[np.ndarray]] = {name: [] for name in names}
    inner = [name for name in names if name != tensor]
    for array in calibration:
        values = dict(zip(inner, network.run(inner, {tensor: array.astype(np.float32)}), strict=True))
        for name in names:
            flat = values.get(name, array).ravel()
            edges = np.array([flat.min(), flat.max()])
            samples[name] += [random.choice(flat, min(SAMPLED_VALUES, flat.size), replace=False), edges]
    return {name: least_error_range(np.concatenate(parts).astype(np.float32)) for name, parts in samples.items()}


def least_error_range(values: np.ndarray) -> tuple[float, float]:
    """Of ranges shrunk step by step at both ends."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    best, result = np.inf, (low, high)
    for share in np.linspace(1.0, 0.3, 36):
        for lower in {low, low * share}:
            scale = max((high * share - lower) / 255, 1e-9)
            zero = np.rint(-lower / scale)
            rounded = (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale
            error = float(np.mean((rounded - values) ** 2))
            if error < best:
                best, result = error, (lower, high * share)
    return result


def layer_errors(float_path: Path, int8_path: Path, tensor: str, example: np.ndarray) -> list[tuple[str, float]]:
    """Signal to error in dB of each activation that both files have, in the order of the computation: where a
    network loses its accuracy."""
    names = [name for name in quantised_activations(float_path) if name != tensor]
    names += [output.name for output in onnx.load(float_path).graph.output]
    present = {output for node in onnx.load(int8_path).graph.node for output in node.output}
    names = [name for name in names if name in present]
    feed = {tensor: example.astype(np.float32)}
    exact = with_outputs(float_path, names).run(names, feed)
    rounded = with_outputs(int8_path, names).run(names, feed)
    return [(name, float(10 * np.log10(np.mean(a**2) / max(float(np.mean((a - b) ** 2)), 1e-20))))
            for name, a, b in zip(names, exact, rounded, strict=True)]


def session(path: Path, threads: int = 2) -> ort.InferenceSession:
    """Runs the file as written: further fusions could hide the rounding that QDQ prescribes."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def is_quantised(path: Path) -> bool:
    """Whether anything in the file is rounded to 8 bits."""
    return any(node.op_type == "QuantizeLinear" for node in onnx.load(path).graph.node)


def float_operators(path: Path) -> list[str]:
    """Operator types of the file that compute in float, for the manifest."""
    model = onnx.load(path)
    layout = {"QuantizeLinear", "DequantizeLinear", "Constant", "Reshape", "Transpose", "Slice",
              "Concat", "Unsqueeze", "Squeeze", "Shape", "Gather", "Split", "Conv", "ConvTranspose"}
    return sorted({node.op_type for node in model.graph.node} - layout)


def operator_counts(path: Path) -> dict[str, int]:
    """How often each operator type occurs."""
    counts: dict[str, int] = {}
    for node in onnx.load(path).graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return dict(sorted(counts.items()))


def export_and_quantise(
    network: nn.Module,
    names: tuple[str, list[str]],
    calibration: list[np.ndarray],
    int8_path: Path,
    dynamic: bool,
    method: str = "minmax",
) -> Path:
    """Writes `int8_path` and beside it `<stem>.float.onnx`, whose path is returned."""
    float_path = int8_path.with_suffix(".float.onnx")
    int8_path.parent.mkdir(parents=True, exist_ok=True)
    export_float(network, torch.from_numpy(calibration[0]).float(), names, float_path, dynamic)
    quantise(float_path, int8_path, names[0], calibration, method)
    return float_path
