"""Training, evaluation and packaging of the PMN on two-phase phantoms.

The proliferation class is the phantom's own. The efficacy labels are noisy synthetic functions of
phenotype, necrosis, size and number, present for one treatment per case: they carry no knowledge of
how HAIC or TACE works in people.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import cards
import phantom
from auc import auc_with_interval, youden_threshold
from boxes import BoxCase, draw_boxes, read_box
from package import Package, write_package
from pmn import PMN_ABSENT, PROTOTYPES, PrototypeMambaNet
from pmn_export import float_model, quantised
from pmn_head import fit_head, run_engine
from pmn_training import SCHEDULES, train
from specifications import PMN, PMN_INPUT, PMN_OUTPUT, prototype_table

# Activations, scratch memory and packed weights of the engine at 96^3, with room.
PEAK_RAM_MIB = 128
TRAINING_CASES, HEAD_CASES, VALIDATION_CASES, HELD_OUT_CASES, CALIBRATION_CASES = 660, 240, 60, 100, 8

Distances = Callable[[np.ndarray], np.ndarray]


def in_torch(network: PrototypeMambaNet) -> Distances:
    """Distances `[6]` of a box `[1, 2, S, S, S]` by the float network."""

    def run(box: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(box))[0][0].numpy()

    return run


def in_engine(model: Path) -> Distances:
    """The same by the int8 model in the engine that the device runs."""
    return lambda box: run_engine(model, box)[: len(PROTOTYPES)]


def scores(distances: Distances, cases: list[BoxCase]) -> np.ndarray:
    """`[n, 3]`: p_A(proliferative), p(good | HAIC), p(good | TACE)."""
    rows = []
    for case in cases:
        pairs = -PMN.gamma * distances(case.box[None].astype(np.float32)).reshape(3, 2).astype(np.float64)
        rows.append(1 / (1 + np.exp(pairs[:, 0] - pairs[:, 1])))
    return np.array(rows)


def areas(found: np.ndarray, cases: list[BoxCase]) -> dict[str, float]:
    """AUC per bank over the cases that have the label; interval for proliferation."""
    labels = np.array([case.labels for case in cases])
    area, low, high = auc_with_interval(found[:, 0], labels[:, 0] == 1)
    result = {"auc": area, "auc_low": low, "auc_high": high}
    for bank, name in ((1, "haic"), (2, "tace")):
        present = labels[:, bank] != PMN_ABSENT
        result[f"auc_{name}"] = auc_with_interval(found[present, bank], labels[present, bank] == 1)[0]
    return {key: round(value, 4) for key, value in result.items()}


def cases_of(seeds: range, count: int, ranges: dict[str, Any], folder: Path, processes: int) -> list[BoxCase]:
    """Drawn where they are not there yet; those whose tumours lie outside the liver are left out."""
    files = draw_boxes(list(seeds[:count]), ranges, folder, processes)
    return [case for case in map(read_box, files) if case.tumour.any()]


def run(options: argparse.Namespace) -> None:
    """Draws, trains, exports, quantises, measures and packages."""
    checkpoint, folder = options.work / "pmn.pt", options.work / "boxes"
    draw_boxes(list(phantom.TRAIN_SEEDS[500_000:][:TRAINING_CASES]), phantom.TRAIN_RANGES, folder / "train", options.threads)
    schedule = SCHEDULES[options.schedule]
    minutes = 0.0 if options.skip_training else options.minutes
    network, state = train(folder / "train", schedule, minutes, options.seed, options.device, checkpoint)
    if options.train_only:
        return
    validation = cases_of(phantom.VALIDATION_SEEDS, options.cases or VALIDATION_CASES, phantom.TRAIN_RANGES,
                          folder / "validation", options.threads)
    held_out = cases_of(phantom.EVAL_SEEDS[20_000:], options.cases or HELD_OUT_CASES, phantom.EVAL_RANGES,
                        folder / "held_out", options.threads)
    fitted = fit_head(network, cases_of(phantom.TRAIN_SEEDS[500_000:], HEAD_CASES, phantom.TRAIN_RANGES,
                                        folder / "train", options.threads), validation, options.work, options.seed)
    print("head, AUC on validation:", fitted, flush=True)
    calibration = [case.box[None].astype(np.float32) for case in validation[:CALIBRATION_CASES]]
    int8_path = options.work / "pmn.onnx"
    quantised(float_model(network), calibration, int8_path)
    engine = in_engine(int8_path)
    chosen = np.array([case.labels[0] == 1 for case in validation])
    threshold = round(youden_threshold(scores(engine, validation)[:, 0], chosen), 3)
    float_metric = areas(scores(in_torch(network), held_out), held_out)
    found = scores(engine, held_out)
    int8_metric = areas(found, held_out)
    truth = np.array([case.labels[0] == 1 for case in held_out])
    int8_metric["sensitivity"] = round(float((found[truth, 0] > threshold).mean()), 4)
    int8_metric["specificity"] = round(float((found[~truth, 0] <= threshold).mean()), 4)
    print("float", float_metric, "\nint8", int8_metric, "\nthreshold", threshold, flush=True)
    training = {
        "data": "synthetic two-phase phantoms; efficacy labels invented",
        "seed": options.seed,
        "schedule": options.schedule,
        "cases": TRAINING_CASES,
        "iterations": state["iterations"],
        "minutes": round(state["elapsed"] / 60, 1),
        "device": options.device,
        "note": options.note,
        "head_cases": HEAD_CASES,
        "head_auc_before": fitted["before"],
        "head_auc_after": fitted["after"],
        "validation_cases": len(validation),
        "held_out_cases": len(held_out),
        "float_metric": float_metric,
        "int8_metric": int8_metric,
    }
    package = Package("pmn", "classification", PEAK_RAM_MIB, PMN_INPUT, PMN_OUTPUT, training,
                      cards.pmn_card(training, threshold), prototype_table(threshold))
    # Half the box holds every kind of layer and an eighth of the bytes.
    quarter, end = PMN.box_voxels // 4, 3 * PMN.box_voxels // 4
    example = held_out[0].box[None, :, quarter:end, quarter:end, quarter:end].astype(np.float32)
    write_package(package, int8_path, example, options.models)
