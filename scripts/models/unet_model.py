"""Export, quantisation, measurement and packaging of the two U-Nets."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

import cards
import phantom
import real_ct
import segmentation
from package import Package, write_package
from quantise import export_and_quantise, session
from specifications import LOCALISER_OUTPUT, TUMOUR_OUTPUT, normalise

NAMES = ("image", ["logits"])
CALIBRATION_CASES = 8
GOLDEN_SIDE = 32
# ONNX Runtime takes 260 MiB for one patch of 96 cubed; the rest is room for other engines.
PEAK_RAM_MIB = 384


@dataclass(frozen=True)
class Model:
    """One of the two packages: plan, measurements and what the manifest says."""

    plan: segmentation.Plan
    task: str
    output: dict[str, Any]
    peak_ram_mib: int
    held_out: Callable[[int], list[segmentation.Case]]
    held_out_count: int
    evaluate: Callable[[ort.InferenceSession, list[segmentation.Case]], dict[str, float]]
    real: Callable[[ort.InferenceSession, Path | None], dict[str, float]]


MODELS = {
    "liver-localiser": Model(
        segmentation.LOCALISER, "localisation", LOCALISER_OUTPUT, PEAK_RAM_MIB,
        segmentation.held_out_overviews, 24, segmentation.evaluate_localiser, real_ct.localiser_dice,
    ),
    "liver-tumour": Model(
        segmentation.TUMOUR, "segmentation", TUMOUR_OUTPUT, PEAK_RAM_MIB,
        segmentation.held_out_boxes, 16, segmentation.evaluate_tumour, real_ct.tumour_network_dice,
    ),
}


def fitted(hu: np.ndarray, side: int, plan: segmentation.Plan) -> np.ndarray:
    """Central cube of `side`, normalised, padded with 0: `[1, 1, side, side, side]`."""
    starts = [max(0, (n - side) // 2) for n in hu.shape]
    cube = normalise(hu[tuple(slice(s, s + side) for s in starts)].astype(np.float32), plan.input)
    return np.pad(cube, [(0, side - n) for n in cube.shape])[None, None]


def calibration(plan: segmentation.Plan) -> list[np.ndarray]:
    """Crops of 64 voxels cubed from validation phantoms."""
    seeds = phantom.VALIDATION_SEEDS[:CALIBRATION_CASES]
    return [fitted(plan.make_case(seed, phantom.TRAIN_RANGES)[0], 64, plan) for seed in seeds]


def golden_example(plan: segmentation.Plan) -> np.ndarray:
    """A 32-voxel cube of a validation phantom, around a foreground voxel."""
    hu, label = plan.make_case(phantom.VALIDATION_SEEDS[100], phantom.TRAIN_RANGES)
    centre = np.argwhere(label == label.max()).mean(0).astype(int)
    half = GOLDEN_SIDE // 2
    starts = [int(np.clip(c - half, 0, max(n - GOLDEN_SIDE, 0))) for c, n in zip(centre, hu.shape, strict=True)]
    return fitted(hu[tuple(slice(s, s + GOLDEN_SIDE) for s in starts)], GOLDEN_SIDE, plan)


def inference_ms(network: ort.InferenceSession, plan: segmentation.Plan) -> float:
    """Milliseconds for one patch on two threads, the best of three."""
    patch = np.zeros((1, 1, *plan.input["patch"]), np.float32)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        network.run(None, {plan.input["tensor"]: patch})
        times.append(time.perf_counter() - started)
    return round(1000 * min(times), 1)


def run(options: argparse.Namespace) -> None:
    """Trains, exports, quantises, measures and packages."""
    name, model = options.model, MODELS[options.model]
    checkpoint = options.work / f"{name}.pt"
    minutes = 0.0 if options.skip_training else options.minutes
    network, state = segmentation.train(model.plan, minutes, options.seed, options.device, checkpoint)
    if options.train_only:
        return
    int8_path = options.work / f"{name}.onnx"
    float_path = export_and_quantise(network, NAMES, calibration(model.plan), int8_path, dynamic=True)
    held_out = model.held_out(options.cases or model.held_out_count)
    metrics = {}
    for kind, path in (("float", float_path), ("int8", int8_path)):
        runner = session(path)
        metrics[kind] = model.evaluate(runner, held_out)
        metrics[kind] |= {f"real_{key}": value for key, value in model.real(runner, options.real_ct).items()}
        metrics[kind]["patch_ms"] = inference_ms(runner, model.plan)
        print(kind, metrics[kind], flush=True)
    training = {
        "data": "synthetic portal-phase phantoms",
        "seed": options.seed,
        "cases": state["cases"],
        "iterations": state["iterations"],
        "minutes": round(state["elapsed"] / 60, 1),
        "device": options.device,
        "note": options.note,
        "held_out_cases": len(held_out),
        "float_metric": metrics["float"],
        "int8_metric": metrics["int8"],
    }
    package = Package(name, model.task, model.peak_ram_mib, model.plan.input, model.output, training,
                      cards.unet_card(name, training))
    write_package(package, int8_path, golden_example(model.plan), options.models)
