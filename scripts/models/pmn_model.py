"""Training, evaluation and packaging of the PMN on two-phase phantoms.

The proliferation class is the phantom's own. The efficacy labels are noisy synthetic functions of
phenotype, necrosis, size and number, present for one treatment per case: they carry no knowledge of
how HAIC or TACE works in people.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
import torch.nn.functional as F
from torch import Tensor

import cards
import phantom
from auc import auc_with_interval, youden_threshold
from package import Package, write_package
from phantom import Scene
from pmn import PMN_ABSENT, PrototypeMambaNet
from quantise import export_and_quantise, session
from segmentation import learning_rate, save
from specifications import PMN, PMN_INPUT, PMN_OUTPUT, normalise, prototype_table

NAMES = ("box", ["distances", "token_distances"])
# ONNX Runtime takes 50 MiB for one box; the rest is room for engines that plan memory less well.
PEAK_RAM_MIB = 128
POOL = 500
BATCH = 4
PEAK_RATE = 1.5e-3
SMALLEST_TUMOUR_MM = 30
TOKEN_WEIGHT = 0.5


@dataclass
class BoxCase:
    """`box` `[2, S, S, S]` float16 in 0..1; `share` `[t, t, t]` tumour share of each last-stage token;
    `labels` (A, HAIC, TACE), each 0, 1 or absent (-1)."""

    box: np.ndarray
    share: np.ndarray
    labels: tuple[int, int, int]


def with_visible_tumours(ranges: dict[str, Any]) -> dict[str, Any]:
    """The same ranges, but every case has one to four tumours of at least 30 mm."""
    return ranges | {"tumours": (1, 4), "diameter_mm": (SMALLEST_TUMOUR_MM, ranges["diameter_mm"][1]), "non_contrast_share": 0.0}


def efficacy_labels(scene: Scene) -> tuple[int, int]:
    """Invented labels (HAIC, TACE); 1 good, 0 poor, one of them absent."""
    random = np.random.default_rng([scene.seed, 9])
    largest = max(max(t.shape.half) for t in scene.tumours)
    burden = (largest - 35) / 25 + 0.3 * (len(scene.tumours) - 2)
    haic = 1.2 * (1 if scene.proliferative else -1) - 0.3 * burden + random.normal(0, 1)
    tace = -1.2 * (1 if scene.proliferative else -1) - 0.5 * burden - scene.necrosis_share + random.normal(0, 1)
    if random.random() < 0.5:
        return int(haic > 0), PMN_ABSENT
    return PMN_ABSENT, int(tace > 0)


def box_case(seed: int, ranges: dict[str, Any]) -> BoxCase:
    """The cubic liver box of one phantom, both phases, zero outside liver and tumour."""
    scene = phantom.compose(seed, with_visible_tumours(ranges))
    low, high = phantom.organ_box(scene)
    side = float((high - low).max()) + 8.0
    grid = phantom.Grid.around(tuple((low + high) / 2), side / PMN.box_voxels, (PMN.box_voxels,) * 3)
    hu, label = phantom.render(scene, grid)
    box = normalise(hu.numpy(), PMN_INPUT) * (label > 0).numpy()
    share = F.avg_pool3d((label == 2).float()[None, None], PMN.box_voxels // PMN.token_side)[0, 0]
    return BoxCase(box.astype(np.float16), share.numpy(), (int(scene.proliferative), *efficacy_labels(scene)))


def loss_of(distances: Tensor, labels: Tensor) -> Tensor:
    """Distance cross entropy of the three banks plus the pull to the right prototype.

    distances `[b, 6]`, labels `[b, 3]` with absent ones masked.
    """
    total = distances.new_zeros(())
    for bank in range(3):
        present = labels[:, bank] != PMN_ABSENT
        if not present.any():
            continue
        pair = distances[present, 2 * bank : 2 * bank + 2]
        wanted = labels[present, bank]
        entropy = F.cross_entropy(-PMN.gamma * pair, wanted)
        pull = pair.gather(1, wanted[:, None]).mean()
        weight = 1.0 if bank == 0 else 0.3
        total = total + weight * (entropy + PMN.pull * pull)
    return total


def token_loss(token_distances: Tensor, share: Tensor, labels: Tensor) -> Tensor:
    """Distance cross entropy of the tokens `[b, T, 2]` against the case's class, weighted by the tumour
    share `[b, T]` of each: what makes the heat map point at tumour."""
    wanted = labels[:, :1].expand(share.shape)
    entropy = F.cross_entropy(-PMN.gamma * token_distances.movedim(-1, 1), wanted, reduction="none")
    return (entropy * share).sum() / share.sum().clamp(min=1e-3)


def augmented(case: BoxCase, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Mirrors the axes and moves contrast and level of what is inside the mask.

    Returns the box `[2, S, S, S]` and the tokens' tumour share `[T]`.
    """
    mirrored = [axis for axis in (0, 1, 2) if random.random() < 0.5]
    box, share = torch.from_numpy(case.box).float(), torch.from_numpy(case.share)
    moved = (box * random.uniform(0.92, 1.08) + random.uniform(-0.03, 0.03)) * (box != 0)
    return moved.flip([axis + 1 for axis in mirrored]), share.flip(mirrored).flatten()


class Pool:
    """Boxes in memory, drawn from the training seeds."""

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)
        self.cases: list[BoxCase] = []
        self.used = 0

    def grow(self) -> None:
        seed = int(self.random.integers(phantom.TRAIN_SEEDS.start, phantom.TRAIN_SEEDS.stop))
        case = box_case(seed, phantom.TRAIN_RANGES)
        self.used += 1
        if len(self.cases) < POOL:
            self.cases.append(case)
        else:
            self.cases[int(self.random.integers(POOL))] = case

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes `[b, 2, S, S, S]`, tumour shares `[b, T]`, labels `[b, 3]`."""
        chosen = [self.cases[int(i)] for i in self.random.integers(len(self.cases), size=BATCH)]
        boxes, shares = zip(*(augmented(case, self.random) for case in chosen), strict=True)
        return torch.stack(boxes), torch.stack(shares), torch.tensor([case.labels for case in chosen])


def train(minutes: float, seed: int, device: str, checkpoint: Path) -> tuple[PrototypeMambaNet, dict]:
    """Trains until the time is used up; resumes from `checkpoint` where it exists."""
    torch.manual_seed(seed)
    network = PrototypeMambaNet(PMN).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=0.02)
    state = {"iterations": 0, "elapsed": 0.0, "cases": 0}
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device)
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        state = saved["state"]
    pool = Pool(seed + state["iterations"])
    base, started, saved_at, losses, hits = dict(state), time.time(), time.time(), [], []
    network.train()
    while state["elapsed"] < minutes * 60:
        while len(pool.cases) < 40:
            pool.grow()
        if pool.random.random() < (0.8 if len(pool.cases) < POOL else 0.3):
            pool.grow()
        box, share, labels = (part.to(device) for part in pool.batch())
        optimiser.param_groups[0]["lr"] = learning_rate(state["elapsed"] / minutes / 60, PEAK_RATE)
        optimiser.zero_grad(set_to_none=True)
        distances, token_distances = network(box)
        loss = loss_of(distances, labels) + TOKEN_WEIGHT * token_loss(token_distances, share, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        hits.append(float((distances[:, :2].argmin(1) == labels[:, 0]).float().mean()))
        state["iterations"] += 1
        state["elapsed"] = base["elapsed"] + time.time() - started
        state["cases"] = base["cases"] + pool.used
        if time.time() - saved_at > 30:
            print(f"{state['elapsed']:6.0f} s  iteration {state['iterations']}  cases {state['cases']}  "
                  f"loss {np.mean(losses):.3f}  accuracy {np.mean(hits):.3f}", flush=True)
            save(checkpoint, network, optimiser, state)
            saved_at, losses, hits = time.time(), [], []
    save(checkpoint, network, optimiser, state)
    return network.to("cpu").eval(), state


def cases_of(seeds: range, count: int, ranges: dict[str, Any]) -> list[BoxCase]:
    return [box_case(seeds[index], ranges) for index in range(count)]


def scores(network: ort.InferenceSession, cases: list[BoxCase]) -> np.ndarray:
    """`[n, 3]`: p_A(proliferative), p(good | HAIC), p(good | TACE)."""
    rows = []
    for case in cases:
        distances = network.run(["distances"], {"box": case.box[None].astype(np.float32)})[0][0]
        pairs = -PMN.gamma * distances.reshape(3, 2).astype(np.float64)
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


def run(options: argparse.Namespace) -> None:
    """Trains, exports, quantises, measures and packages."""
    checkpoint = options.work / "pmn.pt"
    minutes = 0.0 if options.skip_training else options.minutes
    network, state = train(minutes, options.seed, options.device, checkpoint)
    if options.train_only:
        return
    validation = cases_of(phantom.VALIDATION_SEEDS, options.cases or 50, phantom.TRAIN_RANGES)
    held_out = cases_of(phantom.EVAL_SEEDS[20_000:], options.cases or 120, phantom.EVAL_RANGES)
    calibration = [case.box[None].astype(np.float32) for case in validation[:24]]
    int8_path = options.work / "pmn.onnx"
    float_path = export_and_quantise(network, NAMES, calibration, int8_path, dynamic=False)
    chosen = np.array([case.labels[0] == 1 for case in validation])
    threshold = round(youden_threshold(scores(session(int8_path), validation)[:, 0], chosen), 3)
    float_metric = areas(scores(session(float_path), held_out), held_out)
    found = scores(session(int8_path), held_out)
    int8_metric = areas(found, held_out)
    truth = np.array([case.labels[0] == 1 for case in held_out])
    int8_metric["sensitivity"] = round(float((found[truth, 0] > threshold).mean()), 4)
    int8_metric["specificity"] = round(float((found[~truth, 0] <= threshold).mean()), 4)
    print("float", float_metric, "\nint8", int8_metric, "\nthreshold", threshold, flush=True)
    training = {
        "data": "synthetic two-phase phantoms; efficacy labels invented",
        "seed": options.seed,
        "cases": state["cases"],
        "iterations": state["iterations"],
        "minutes": round(state["elapsed"] / 60, 1),
        "device": options.device,
        "note": options.note,
        "validation_cases": len(validation),
        "held_out_cases": len(held_out),
        "float_metric": float_metric,
        "int8_metric": int8_metric,
    }
    package = Package("pmn", "classification", PEAK_RAM_MIB, PMN_INPUT, PMN_OUTPUT, training,
                      cards.pmn_card(training, threshold), prototype_table(threshold))
    example = held_out[0].box[None].astype(np.float32)
    write_package(package, int8_path, example, options.models)
