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
import torch

import cards
import phantom
import qat
import real_cases
import real_ct
import segmentation
from package import Package, write_package
from pool import Pool
from quantise import METHODS, export_and_quantise, layer_errors, session
from specifications import LOCALISER_OUTPUT, TUMOUR_OUTPUT, normalise
from unet import PlainConvUNet

NAMES = ("image", ["logits"])
CALIBRATION_CASES = 8
GOLDEN_SIDE = 32
# ONNX Runtime takes 260 MiB for one patch of 96 cubed; the rest is room for other engines.
PEAK_RAM_MIB = 384
VALIDATION_CASES = 6
# What int8 may lose against float, and the figures of which it may not lose more.
LARGEST_LOSS = 0.005
DICES = ("liver_dice", "tumour_dice")
QAT_STEPS = 200
VALIDATION_REAL = 900_000
BIASES = np.arange(-1.5, 1.01, 0.25)
DATA = "synthetic portal-phase phantoms; bent and recoloured real CT with painted lesions"


@dataclass(frozen=True)
class Model:
    """One of the two packages: plan, measurements and what the manifest says."""

    plan: segmentation.Plan
    task: str
    output: dict[str, Any]
    peak_ram_mib: int
    held_out_count: int
    evaluate: Callable[[ort.InferenceSession, list[segmentation.Case]], dict[str, float]]
    real: Callable[[ort.InferenceSession, argparse.Namespace], dict[str, float]]


MODELS = {
    "liver-localiser": Model(
        segmentation.LOCALISER, "localisation", LOCALISER_OUTPUT, PEAK_RAM_MIB,
        24, segmentation.evaluate_localiser, real_ct.localiser_figures,
    ),
    "liver-tumour": Model(
        segmentation.TUMOUR, "segmentation", TUMOUR_OUTPUT, PEAK_RAM_MIB,
        24, segmentation.evaluate_tumour, real_ct.tumour_figures,
    ),
}


def fitted(hu: np.ndarray, side: int, plan: segmentation.Plan) -> np.ndarray:
    """Central cube of `side`, normalised, padded with 0: `[1, 1, side, side, side]`."""
    starts = [max(0, (n - side) // 2) for n in hu.shape]
    cube = normalise(hu[tuple(slice(s, s + side) for s in starts)].astype(np.float32), plan.input)
    return np.pad(cube, [(0, side - n) for n in cube.shape])[None, None]


def calibration(plan: segmentation.Plan, cases: Path) -> list[np.ndarray]:
    """Crops of 64 voxels cubed from validation phantoms, and from some of the training cases made of real CT."""
    volumes = [plan.phantom_case(seed)[0] for seed in phantom.VALIDATION_SEEDS[:CALIBRATION_CASES]]
    for kind in segmentation.SOURCES:
        for file in sorted(cases.glob(f"{kind}*.npz"))[:CALIBRATION_CASES]:
            with np.load(file) as stored:
                volumes.append(stored["hu"])
    return [fitted(volume, 64, plan) for volume in volumes]


def golden_example(plan: segmentation.Plan) -> np.ndarray:
    """A 32-voxel cube of a validation phantom, around a foreground voxel."""
    hu, label = plan.phantom_case(phantom.VALIDATION_SEEDS[100])
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
    if options.draw_only:
        for kind in options.kinds:
            segmentation.case_files(model.plan, kind, options.seed, options, options.work / f"{name}.cases")
        return
    if options.skip_training:
        options.iterations = 0
    network, state = segmentation.train(model.plan, options)
    if options.train_only:
        return
    folder = options.work / f"{name}.held-out"
    count = options.cases or model.held_out_count
    held_out = segmentation.held_out(model.plan, phantom.EVAL_SEEDS[20_000 : 20_000 + count], folder)
    validation = segmentation.held_out(model.plan, phantom.VALIDATION_SEEDS[200 : 200 + VALIDATION_CASES], folder)
    bias = 0.0
    if model.plan.classes == 3:
        bias = shift_tumour(network, model.plan, validation + validation_of_real(model.plan, options))
    paths, method = quantised(network, model, validation, options)
    metrics = {kind: measured(path, model, held_out, options) for kind, path in paths.items()}
    loss = largest_loss(metrics)
    if loss > LARGEST_LOSS:
        print(f"int8 loses {loss:.4f} of Dice: fine-tuning with rounding", flush=True)
        round_aware(network, model, options)
        paths, method = quantised(network, model, validation, options)
        method += ", quantisation-aware"
        metrics["int8"] = measured(paths["int8"], model, held_out, options)
        if largest_loss(metrics) > LARGEST_LOSS:
            raise SystemExit(f"not packaged: int8 loses {largest_loss(metrics):.4f} of Dice, more than {LARGEST_LOSS}")
    for tensor, decibel in layer_errors(paths["float"], paths["int8"], NAMES[0], golden_example(model.plan)):
        print(f"  {decibel:5.1f} dB  {tensor}")
    training = {
        "data": DATA,
        "seed": options.seed,
        "started_from": state.get("start", "nothing"),
        "cases": state["cases"],
        "iterations": state["iterations"],
        "minutes": round(state["elapsed"] / 60, 1),
        "device": options.device,
        "note": options.note,
        "calibration": method,
        "tumour_bias": bias,
        "held_out_cases": len(held_out),
        "float_metric": metrics["float"],
        "int8_metric": metrics["int8"],
    }
    package = Package(name, model.task, model.peak_ram_mib, model.plan.input, model.output, training,
                      cards.unet_card(name, training))
    write_package(package, paths["int8"], golden_example(model.plan), options.models)


def validation_of_real(plan: segmentation.Plan, options: argparse.Namespace) -> list[segmentation.Case]:
    """As many cases of each real scan, bent and painted as none of the training is."""
    cases = []
    for kind, name in segmentation.SOURCES.items():
        sources = real_cases.load(options.sources, [name])
        cases += [plan.real_case(sources, VALIDATION_REAL + n) for n in range(VALIDATION_CASES // 2 if sources else 0)]
    return cases


@torch.no_grad()
def shift_tumour(network: PlainConvUNet, plan: segmentation.Plan, cases: list[segmentation.Case]) -> float:
    """Adds to the tumour's logit what scores best on validation cases: a network trained on cubes round tumours
    expects more of them than there are. The score of a case is its tumour's Dice; without a tumour it falls
    from 1 by exp(-false ml / 10)."""
    scores = np.zeros(len(BIASES))
    for hu, label in cases:
        pads = [(0, -n % plan.multiple) for n in hu.shape]
        image = torch.from_numpy(np.pad(normalise(hu, plan.input), pads))[None, None]
        logits = network(image)[0].numpy()[(slice(None), *(slice(0, n) for n in hu.shape))]
        others = np.maximum(logits[0], logits[1])
        for index, bias in enumerate(BIASES):
            found = logits[2] + bias > others
            false_ml = float(found.sum()) * 0.008
            healthy = float(np.exp(-false_ml / 10))
            scores[index] += segmentation.dice(found, label == 2) if (label == 2).any() else healthy
    best = float(BIASES[int(np.argmax(scores))])
    listed = ", ".join(f"{bias:+.2f}: {score / len(cases):.3f}" for bias, score in zip(BIASES, scores, strict=True))
    print(f"tumour logit {best:+.2f} ({listed})", flush=True)
    network.head.bias[2] += best
    return best


def quantised(network: PlainConvUNet, model: Model, validation: list[segmentation.Case],
              options: argparse.Namespace) -> tuple[dict[str, Path], str]:
    """The float and the int8 file by the calibration that keeps most Dice on the validation phantoms, and its name."""
    scores, samples = {}, calibration(model.plan, options.work / f"{options.model}.cases")
    for method in METHODS:
        int8_path = options.work / f"{options.model}.{method}.onnx"
        float_path = export_and_quantise(network, NAMES, samples, int8_path, dynamic=True, method=method)
        figures = model.evaluate(session(int8_path), validation)
        scores[method] = sum(figures[key] for key in DICES if key in figures)
        print(f"calibration {method}: {scores[method]:.4f}", flush=True)
    best = max(scores, key=scores.get)
    return {"float": float_path, "int8": options.work / f"{options.model}.{best}.onnx"}, best


def measured(path: Path, model: Model, held_out: list[segmentation.Case], options: argparse.Namespace
             ) -> dict[str, float]:
    """All figures of one file."""
    runner = session(path)
    figures = model.evaluate(runner, held_out)
    figures |= {f"real_{key}": value for key, value in model.real(runner, options).items()}
    figures["patch_ms"] = inference_ms(runner, model.plan)
    print(path.name, figures, flush=True)
    return figures


def largest_loss(metrics: dict[str, dict[str, float]]) -> float:
    """The most that int8 loses of a Dice on the phantoms."""
    return max(metrics["float"][key] - metrics["int8"][key] for key in DICES if key in metrics["float"])


def round_aware(network: PlainConvUNet, model: Model, options: argparse.Namespace) -> None:
    """Fine-tunes with rounding on the training cases."""
    pool = Pool(model.plan.input, model.plan.shares, options.seed + 1)
    pool.add(options.work / f"{options.model}.cases")
    images = [torch.from_numpy(sample) for sample in calibration(model.plan, options.work / f"{options.model}.cases")]
    qat.fine_tune(network, images, lambda: pool.batch(model.plan.batch, model.plan.side),
                  segmentation.segmentation_loss, QAT_STEPS)
