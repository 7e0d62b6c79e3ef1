#!/usr/bin/env python3
"""Runs an ONNX file in another engine, with the command line of `hcc-edge bench engine`.

    peers.py openvino|onnxruntime|torch --model FILE --size D,H,W --threads N --json
        [--rounds R] [--input FILE] [--output FILE]        R timed runs after a warm-up
        --serve [--input FILE]                             a run for each line on standard input

Standard output is one JSON object with `seconds` (a list), `load_seconds`, `threads`, `isa` (what the
engine says it computes in) and `version`. With --serve that object comes first, after the warm-up
and with an empty list, and then `{"seconds": [s]}` for each run until standard input ends. FILEs are
f32, little-endian, `[channel, z, y, x]`; without --input the values are random.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ISA_LIMIT = "ONEDNN_MAX_CPU_ISA"

Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Loaded:
    """A network ready to run."""

    run: Run  # `[1, channel, z, y, x]` to `[1, class, z, y, x]`
    channels: int
    version: str
    isa: str


def onnxruntime(model: Path, threads: int, optimised: bool = True) -> Loaded:
    """All optimisations; not `optimised` evaluates the file as written, Q/DQ by Q/DQ."""
    import onnxruntime as ort

    levels = ort.GraphOptimizationLevel
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    (tensor,) = session.get_inputs()
    channels = tensor.shape[1]
    return Loaded(lambda image: session.run(None, {tensor.name: image})[0], channels, ort.__version__, "default")


def openvino(model: Path, threads: int) -> Loaded:
    """The latency hint, everything else at its default: the precision is what the plug-in picks.

    ONEDNN_MAX_CPU_ISA=AVX2 in the environment holds it to what processors without VNNI have.
    """
    import openvino as ov

    core = ov.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    limit = os.environ.get(ISA_LIMIT)
    if limit:
        # The default may be bf16, which it picks by the processor and then finds no code for.
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    compiled = core.compile_model(core.read_model(model), "CPU", settings)
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    isa = f"{precision} where it is not int8{f', with {ISA_LIMIT}={limit}' if limit else ''}"
    channels = compiled.input(0).partial_shape[1].get_length()
    request = compiled.create_infer_request()

    def run(image: np.ndarray) -> np.ndarray:
        return request.infer([image], share_inputs=True, share_outputs=True)[0]

    return Loaded(run, channels, ov.__version__.split("-")[0], isa)


def torch(model: Path, threads: int) -> Loaded:
    """The float file's nodes, one by one, in eager mode with channels last, the faster layout."""
    import onnx
    import torch as t
    from onnx import numpy_helper

    t.set_num_threads(threads)
    graph = onnx.load(model).graph
    constants = {c.name: t.from_numpy(numpy_helper.to_array(c).copy()) for c in graph.initializer}
    layout = t.channels_last_3d
    constants = {n: c.contiguous(memory_format=layout) if c.ndim == 5 else c for n, c in constants.items()}
    nodes = [
        (node.op_type, list(node.input), node.output[0],
         {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute})
        for node in graph.node
    ]
    last_use = {name: index for index, (_, inputs, _, _) in enumerate(nodes) for name in inputs}

    def evaluate(operator: str, x: list, attributes: dict):
        functional = t.nn.functional
        if operator == "Conv":
            return functional.conv3d(*x, attributes.get("strides", 1), attributes.get("pads", [0])[0])
        if operator == "ConvTranspose":
            return functional.conv_transpose3d(*x, attributes["strides"])
        if operator == "InstanceNormalization":
            return functional.instance_norm(x[0], weight=x[1], bias=x[2], eps=attributes["epsilon"])
        if operator == "LeakyRelu":
            return functional.leaky_relu_(x[0], attributes["alpha"])
        if operator == "Concat":
            return t.cat(x, attributes["axis"])
        raise SystemExit(f"{model}: operator {operator} is not one of the comparison's float networks")

    @t.inference_mode()
    def run(image: np.ndarray) -> np.ndarray:
        values = {graph.input[0].name: t.from_numpy(image).contiguous(memory_format=layout)}
        for index, (operator, inputs, output, attributes) in enumerate(nodes):
            arguments = [values[name] if name in values else constants[name] for name in inputs]
            values[output] = evaluate(operator, arguments, attributes)
            for name in inputs:
                if last_use[name] == index:
                    values.pop(name, None)
        return values[graph.output[0].name].contiguous().numpy()

    channels = graph.input[0].type.tensor_type.shape.dim[1].dim_value
    return Loaded(run, channels, t.__version__, t.backends.cpu.get_cpu_capability())


ENGINES = {"openvino": openvino, "onnxruntime": onnxruntime, "torch": torch}


def read_input(path: Path | None, channels: int, size: list[int]) -> np.ndarray:
    """`[1, channel, z, y, x]`."""
    shape = (1, channels, *size)
    if path is None:
        return np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    values = np.fromfile(path, "<f4")
    if values.size != np.prod(shape):
        raise SystemExit(f"{path}: {values.size} values, expected {shape}")
    return values.reshape(shape)


def timed(run: Run, image: np.ndarray) -> float:
    started = time.perf_counter()
    run(image)
    return time.perf_counter() - started


def say(what: dict) -> None:
    print(json.dumps(what), flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--size", required=True, help="D,H,W in voxels")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="for the sake of the other command; always so")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--input", type=Path)
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    started = time.perf_counter()
    loaded = ENGINES[options.engine](options.model, options.threads)
    load_seconds = time.perf_counter() - started
    image = read_input(options.input, loaded.channels, [int(side) for side in options.size.split(",")])
    facts = {"threads": options.threads, "isa": loaded.isa, "version": loaded.version, "load_seconds": load_seconds}
    logits = loaded.run(image)
    if options.serve:
        say({"seconds": [], **facts})
        for _ in sys.stdin:
            say({"seconds": [timed(loaded.run, image)]})
        return
    if options.output:
        logits.astype("<f4").tofile(options.output)
    say({"seconds": [timed(loaded.run, image) for _ in range(options.rounds)], **facts})


if __name__ == "__main__":
    main()
