"""Training and evaluation of the two U-Nets on phantoms.

Arrays are `[z, y, x]` as in `phantom`; labels 0 background, 1 liver, 2 tumour. The localiser counts
tumour as liver. A volume is padded with 0 after normalisation, as the engine does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
import torch.nn.functional as F
from torch import Tensor

import phantom
from pool import Case, MakeCase, Pool, draw_cases
from specifications import LOCALISER_INPUT, TUMOUR_INPUT, normalise
from unet import PlainConvUNet, liver_localiser, liver_tumour

SIZE_BINS_MM = ((0, 20), (20, 50), (50, 200))
BOX_MARGIN_MM = 16.0
# The smallest part that the appliance lists as a lesion.
LESION_MM3 = 50
# The median of a liver with contrast medium in the portal venous phase lies above this.
ENHANCED_HU = 65


@dataclass(frozen=True)
class Plan:
    """How one network is trained. `make_case(seed, ranges)` gives HU float16 and labels."""

    build: Callable[[], PlainConvUNet]
    input: dict[str, Any]
    make_case: MakeCase
    classes: int
    multiple: int
    cases: int
    side: int = 64
    batch: int = 2
    peak_rate: float = 3e-3


def localiser_case(seed: int, ranges: dict[str, Any]) -> Case:
    """A whole-body overview at 4 mm, portal phase."""
    scene = phantom.compose(seed, ranges)
    grid = phantom.overview_grid(scene, 4.0, np.random.default_rng([seed, 8]))
    image, label = phantom.render(scene, grid, ("portal",))
    return image[0].numpy().astype(np.float16), label.clamp(max=1).numpy()


def tumour_case(seed: int, ranges: dict[str, Any]) -> Case:
    """The liver box at 2 mm with a wider margin, so that cubes show what lies round the liver."""
    has_tumour = np.random.default_rng([seed, 8]).random() < 0.85
    scene = phantom.compose(seed, ranges, minimum_tumours=int(has_tumour))
    return liver_box(scene, BOX_MARGIN_MM + 12.0, multiple=1)


def liver_box_case(seed: int, ranges: dict[str, Any]) -> Case:
    """The liver box with its margin at 2 mm: what the engine shows the fine network."""
    return liver_box(phantom.compose(seed, ranges, minimum_tumours=1), BOX_MARGIN_MM, multiple=16)


def liver_box(scene: phantom.Scene, margin_mm: float, multiple: int) -> Case:
    """Portal phase at 2 mm; sides are rounded up to a `multiple` of voxels."""
    low, high = phantom.organ_box(scene)
    low, high = low - margin_mm, high + margin_mm
    shape = tuple(int(np.ceil((b - a) / 2.0 / multiple)) * multiple for a, b in zip(low, high, strict=True))
    grid = phantom.Grid.around(tuple((low + high) / 2), 2.0, shape)
    image, label = phantom.render(scene, grid, ("portal",))
    return image[0].numpy(), label.numpy()


LOCALISER = Plan(liver_localiser, LOCALISER_INPUT, localiser_case, classes=2, multiple=8, cases=200)
TUMOUR = Plan(liver_tumour, TUMOUR_INPUT, tumour_case, classes=3, multiple=16, cases=240)


def segmentation_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy plus soft Dice over the foreground classes, taken over the batch."""
    entropy = F.cross_entropy(logits, target)
    probability = logits.softmax(1)[:, 1:]
    wanted = F.one_hot(target, logits.shape[1]).movedim(-1, 1)[:, 1:].to(probability.dtype)
    overlap = (probability * wanted).sum((0, 2, 3, 4))
    total = probability.sum((0, 2, 3, 4)) + wanted.sum((0, 2, 3, 4))
    return entropy + 1 - ((2 * overlap + 10) / (total + 10)).mean()


def learning_rate(progress: float, peak: float) -> float:
    """Short warm-up, then cosine to a hundredth; `progress` 0..1."""
    if progress < 0.05:
        return peak * (0.1 + 0.9 * progress / 0.05)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - 0.05) / 0.95)))


def training_files(plan: Plan, seed: int, folder: Path, processes: int) -> list[Path]:
    """The plan's cases, drawn now unless they are in `folder` already."""
    first = seed * 1000 % len(phantom.TRAIN_SEEDS)
    return draw_cases(plan.make_case, list(phantom.TRAIN_SEEDS[first : first + plan.cases]), folder, processes)


def train(
    plan: Plan, minutes: float, seed: int, device: str, checkpoint: Path
) -> tuple[PlainConvUNet, dict[str, Any]]:
    """Trains until the time is used up; resumes from `checkpoint` where it exists."""
    torch.manual_seed(seed)
    network = plan.build().to(device, memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.peak_rate, weight_decay=1e-3)
    state = {"iterations": 0, "elapsed": 0.0, "cases": plan.cases}
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device)
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        state = saved["state"]
    if state["elapsed"] < minutes * 60:
        files = training_files(plan, seed, checkpoint.with_suffix(".cases"), torch.get_num_threads())
        pool = Pool(files, plan.input, plan.side, plan.batch, seed + state["iterations"])
        run_until(minutes, plan, network, optimiser, state, pool, checkpoint)
        save(checkpoint, network, optimiser, state)
    return network.to("cpu").eval(), state


def run_until(
    minutes: float, plan: Plan, network: PlainConvUNet, optimiser: torch.optim.Optimizer,
    state: dict[str, Any], pool: Pool, checkpoint: Path,
) -> None:
    """The training loop; reports and saves every half minute."""
    device = next(network.parameters()).device
    before, started, saved_at, losses = state["elapsed"], time.time(), time.time(), []
    network.train()
    while state["elapsed"] < minutes * 60:
        image, target = pool.batch()
        optimiser.param_groups[0]["lr"] = learning_rate(state["elapsed"] / minutes / 60, plan.peak_rate)
        optimiser.zero_grad(set_to_none=True)
        logits = network(image.to(device).contiguous(memory_format=torch.channels_last_3d))
        loss = segmentation_loss(logits, target.to(device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        state["iterations"] += 1
        state["elapsed"] = before + time.time() - started
        if time.time() - saved_at > 30:
            print(f"{state['elapsed']:6.0f} s  iteration {state['iterations']}  loss {np.mean(losses):.3f}",
                  flush=True)
            save(checkpoint, network, optimiser, state)
            saved_at, losses = time.time(), []


def save(checkpoint: Path, network: torch.nn.Module, optimiser: torch.optim.Optimizer, state: dict) -> None:
    """Writes the checkpoint beside itself first, so that a stop never leaves half a file."""
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    draft = checkpoint.with_suffix(".part")
    torch.save({"network": network.state_dict(), "optimiser": optimiser.state_dict(), "state": state}, draft)
    draft.replace(checkpoint)


def predict(network: ort.InferenceSession, hu: np.ndarray, plan: Plan) -> np.ndarray:
    """Class per voxel of a whole volume in one pass, padded up to the network's multiple."""
    pads = [(0, -n % plan.multiple) for n in hu.shape]
    image = np.pad(normalise(hu, plan.input), pads)[None, None]
    logits = network.run(None, {plan.input["tensor"]: image})[0][0]
    return logits.argmax(0)[tuple(slice(0, n) for n in hu.shape)]


def dice(found: np.ndarray, wanted: np.ndarray) -> float:
    """Overlap of two masks; 1 where both are empty."""
    total = int(found.sum()) + int(wanted.sum())
    return 1.0 if total == 0 else 2.0 * int((found & wanted).sum()) / total


def held_out_overviews(count: int) -> list[Case]:
    """Overviews from the evaluation seeds and ranges."""
    return [localiser_case(seed, phantom.EVAL_RANGES) for seed in phantom.EVAL_SEEDS[:count]]


def held_out_boxes(count: int) -> list[Case]:
    """Liver boxes from the evaluation seeds and ranges."""
    seeds = phantom.EVAL_SEEDS[10_000 : 10_000 + count]
    return [liver_box_case(seed, phantom.EVAL_RANGES) for seed in seeds]


def evaluate_localiser(network: ort.InferenceSession, cases: list[Case]) -> dict[str, float]:
    """Liver Dice and box coverage."""
    scores, covered = [], []
    for hu, label in cases:
        found = predict(network, hu.astype(np.float32), LOCALISER) == 1
        if not label.any():
            continue
        scores.append(dice(found, label == 1))
        covered.append(box_coverage(found, label == 1))
    return {"liver_dice": round(float(np.mean(scores)), 4), "liver_dice_minimum": round(float(min(scores)), 4),
            "liver_in_box": round(float(np.mean(covered)), 4)}


def box_coverage(found: np.ndarray, wanted: np.ndarray) -> float:
    """Share of the wanted voxels inside the bounding box (with margin) of the largest found part."""
    from scipy import ndimage

    parts, count = ndimage.label(found)
    if count == 0:
        return 0.0
    largest = 1 + int(np.argmax(ndimage.sum(found, parts, range(1, count + 1))))
    places = np.argwhere(parts == largest)
    margin = int(BOX_MARGIN_MM / 4)
    low, high = np.maximum(places.min(0) - margin, 0), places.max(0) + 1 + margin
    inside = wanted[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return float(inside.sum() / wanted.sum())


def evaluate_tumour(network: ort.InferenceSession, cases: list[Case]) -> dict[str, float]:
    """Dice of liver (with tumour), of tumour, and per tumour size bin of what was found of it; what was
    wrongly called tumour, also with the phantoms without contrast medium left out (`enhanced_*`)."""
    liver, tumour, found_share = [], [], {b: [] for b in SIZE_BINS_MM}
    false_ml, false_lesions, enhanced = [], [], []
    for hu, label in cases:
        found = predict(network, hu, TUMOUR)
        liver.append(dice(found > 0, label > 0))
        tumour.append(dice(found == 2, label == 2))
        false_ml.append(float(((found == 2) & (label != 2)).sum()) * 0.008)
        false_lesions.append(count_false_lesions(found == 2, label == 2))
        enhanced.append(bool(np.median(hu[label == 1]) > ENHANCED_HU))
        for diameter, share in lesion_dice(found == 2, label == 2):
            for low, high in SIZE_BINS_MM:
                if low <= diameter < high:
                    found_share[(low, high)].append(share)
    result = {"liver_dice": np.mean(liver), "tumour_dice": np.mean(tumour), "false_tumour_ml": np.mean(false_ml),
              "false_lesions": np.mean(false_lesions), "enhanced_cases": sum(enhanced),
              "enhanced_tumour_dice": np.mean(np.array(tumour)[enhanced]),
              "enhanced_false_tumour_ml": np.mean(np.array(false_ml)[enhanced]),
              "enhanced_false_lesions": np.mean(np.array(false_lesions)[enhanced])}
    for (low, high), shares in found_share.items():
        if shares:
            result[f"lesion_dice_{low}_{high}_mm"] = np.mean(shares)
            result[f"lesions_{low}_{high}_mm"] = len(shares)
    return {key: round(float(value), 4) for key, value in result.items()}


def count_false_lesions(found: np.ndarray, wanted: np.ndarray) -> int:
    """Connected parts that the appliance would list as lesions and that touch no wanted one."""
    from scipy import ndimage

    parts, count = ndimage.label(found, np.ones((3, 3, 3)))
    voxels = ndimage.sum_labels(found, parts, range(1, count + 1))
    touching = ndimage.sum_labels(wanted, parts, range(1, count + 1))
    return int(((voxels * 8 >= LESION_MM3) & (touching == 0)).sum())


def lesion_dice(found: np.ndarray, wanted: np.ndarray) -> list[tuple[float, float]]:
    """(equivalent diameter in mm, Dice within 6 mm around it) of each connected wanted lesion at 2 mm."""
    from scipy import ndimage

    parts, count = ndimage.label(wanted)
    result = []
    for index, window in enumerate(ndimage.find_objects(parts), start=1):
        grown = tuple(slice(max(s.start - 3, 0), s.stop + 3) for s in window)
        lesion = parts[grown] == index
        diameter = (lesion.sum() * 8.0 * 6 / np.pi) ** (1 / 3)
        if diameter < 5:
            continue
        near = ndimage.binary_dilation(lesion, iterations=3) & ~((parts[grown] > 0) & ~lesion)
        result.append((float(diameter), dice(found[grown] & near, lesion)))
    return result
