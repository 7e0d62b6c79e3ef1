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
    """Static quantisation; `method` is "minmax" or "percentile"."""
    methods = {"minmax": CalibrationMethod.MinMax, "percentile": CalibrationMethod.Percentile}
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
        calibrate_method=methods[method],
        extra_options={
            "WeightSymmetric": True,
            "ActivationSymmetric": False,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": QUANTISED_OPS,
            "CalibPercentile": 99.995,
        },
    )
    model = onnx.load(int8_path)
    model.producer_name, model.producer_version = "hcc-edge", ""
    onnx.checker.check_model(model)
    onnx.save(model, int8_path)


def session(path: Path, threads: int = 2) -> ort.InferenceSession:
    """Runs the file as written: further fusions could hide the rounding that QDQ prescribes."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


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
