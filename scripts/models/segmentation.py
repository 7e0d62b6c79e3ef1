"""Training and evaluation of the two U-Nets on phantoms.

Arrays are `[z, y, x]` as in `phantom`; labels 0 background, 1 liver, 2 tumour. The localiser counts
tumour as liver. A volume is padded with 0 after normalisation, as the engine does.
"""

from __future__ import annotations

import math
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

import phantom
import real_cases
from checkpoint import resume, save
from package import REPOSITORY, engine_command
from pool import Case, MakeCase, Pool, draw_cases
from real_sources import load_zyx, resample, resample_labels
from specifications import LOCALISER_INPUT, TUMOUR_INPUT, normalise
from unet import PlainConvUNet, liver_localiser, liver_tumour, start_from

SIZE_BINS_MM = ((0, 10), (10, 20), (20, 50), (50, 200))
BOX_MARGIN_MM = 16.0
# The smallest part that the appliance lists as a lesion.
LESION_MM3 = 50
# The median of a liver with contrast medium in the portal venous phase lies above this.
ENHANCED_HU = 65
ANGLES = np.linspace(0, np.pi, 60, endpoint=False)
FROZEN_FROM = 0.75
PROGRAM_SEEDS = 7_000_000
REPORT_S = 60


@dataclass(frozen=True)
class Plan:
    """How one network is trained. `phantom_case(seed)` draws a training phantom, `held_out_case(seed)` one
    that it never sees; `real_case(sources, seed)` makes a case of real CT."""

    build: Callable[[], PlainConvUNet]
    input: dict[str, Any]
    phantom_case: MakeCase
    held_out_case: MakeCase
    real_case: Callable[[list[real_cases.Source], int], Case]
    classes: int
    multiple: int
    phantoms: int
    reals: int
    # Share of the cubes by the first letter of the case's file.
    shares: dict[str, float]
    side: int = 64
    batch: int = 2
    peak_rate: float = 2e-3


def localiser_case(seed: int, ranges: dict[str, Any] = phantom.SEGMENTATION_TRAIN) -> Case:
    """A whole-body overview at 4 mm, portal phase."""
    scene = phantom.compose(seed, ranges)
    grid = phantom.overview_grid(scene, 4.0, np.random.default_rng([seed, 8]))
    image, label = phantom.render(scene, grid, ("portal",))
    return image[0].numpy().astype(np.float16), label.clamp(max=1).numpy()


def held_out_overview(seed: int) -> Case:
    """The same from the evaluation ranges."""
    return localiser_case(seed, phantom.SEGMENTATION_EVAL)


def tumour_case(seed: int) -> Case:
    """The liver box at 2 mm with a wider margin, so that cubes show what lies round the liver."""
    return liver_box(phantom.compose(seed, phantom.SEGMENTATION_TRAIN), BOX_MARGIN_MM + 12.0, multiple=1)


def held_out_box(seed: int) -> Case:
    """The liver box with its margin at 2 mm: what the engine shows the fine network."""
    return liver_box(phantom.compose(seed, phantom.SEGMENTATION_EVAL), BOX_MARGIN_MM, multiple=16)


def liver_box(scene: phantom.Scene, margin_mm: float, multiple: int) -> Case:
    """Portal phase at 2 mm; sides are rounded up to a `multiple` of voxels."""
    low, high = phantom.organ_box(scene)
    low, high = low - margin_mm, high + margin_mm
    shape = tuple(int(np.ceil((b - a) / 2.0 / multiple)) * multiple for a, b in zip(low, high, strict=True))
    grid = phantom.Grid.around(tuple((low + high) / 2), 2.0, shape)
    image, label = phantom.render(scene, grid, ("portal",))
    return image[0].numpy(), label.numpy()


def appliance_case(seed: int) -> Case:
    """The same of a phantom that the appliance's own generator draws, on one of its two smaller grids."""
    with tempfile.TemporaryDirectory() as folder:
        preset = "small" if seed % 3 == 0 else "demo"
        command = [*engine_command(), "phantom", "--seed", str(seed), "--preset", preset, "--single-phase", f"{folder}/case"]
        subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
        hu, spacing = load_zyx(Path(folder) / "case/study/portal.nii.gz")
        label, _ = load_zyx(Path(folder) / "case/truth/labels.nii.gz")
    hu, label = resample(hu, spacing, 2.0), resample_labels(label.astype(np.uint8), spacing, 2.0)
    places, margin = np.argwhere(label > 0), int((BOX_MARGIN_MM + 12) / 2)
    low, high = np.maximum(places.min(0) - margin, 0), places.max(0) + 1 + margin
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return hu[box], label[box]


LOCALISER = Plan(liver_localiser, LOCALISER_INPUT, localiser_case, held_out_overview, real_cases.overview_case,
                 classes=2, multiple=16, phantoms=44, reals=32, shares={"p": 0.5, "t": 0.3, "c": 0.2})
TUMOUR = Plan(liver_tumour, TUMOUR_INPUT, tumour_case, held_out_box, real_cases.box_case,
              classes=3, multiple=16, phantoms=96, reals=120, shares={"p": 0.35, "g": 0.1, "t": 0.3, "c": 0.25})
# Which source a real case's letter stands for.
SOURCES = {"t": "total", "c": "tcga"}


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


def case_files(plan: Plan, kind: str, seed: int, options: Any, folder: Path) -> None:
    """Draws the plan's cases of one kind: `p` phantoms, `g` phantoms of the appliance's own generator, others of
    real CT; those in `folder` are kept."""
    if kind == "p":
        first = seed * 1000 % len(phantom.TRAIN_SEEDS)
        seeds = phantom.TRAIN_SEEDS[first : first + plan.phantoms]
        draw_cases(plan.phantom_case, {f"p{s}": s for s in seeds}, folder, options.threads)
    elif kind == "g":
        numbers = range(PROGRAM_SEEDS + seed * 1000, PROGRAM_SEEDS + seed * 1000 + plan.phantoms // 2)
        draw_cases(appliance_case, {f"g{n}": n for n in numbers}, folder, 1)
    else:
        sources = real_cases.load(options.sources, [SOURCES[kind]])
        numbers = range(seed * 1000, seed * 1000 + (plan.reals if sources else 0))
        draw_cases(partial(plan.real_case, sources), {f"{kind}{n}": n for n in numbers}, folder, 1)


@dataclass
class Run:
    """One training run: what is kept between stops, and what a stop may forget."""

    plan: Plan
    network: PlainConvUNet
    optimiser: torch.optim.Optimizer
    state: dict[str, Any]
    checkpoint: Path
    cases: Path

    def save(self) -> None:
        """The checkpoint and, beside it, the loss as a picture."""
        save(self.checkpoint, self.network, self.optimiser, self.state)
        curve(self.state["curve"], self.checkpoint.with_suffix(".png"))


def open_run(plan: Plan, options: Any) -> Run:
    """A new run or, where its checkpoint exists, the stopped one."""
    torch.manual_seed(options.seed)
    network = plan.build().to(options.device, memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.peak_rate, weight_decay=1e-3)
    checkpoint = options.work / f"{options.model}.pt"
    state = resume(checkpoint, network, optimiser, options.device) or {"iterations": 0, "elapsed": 0.0, "curve": []}
    return Run(plan, network, optimiser, state, checkpoint, checkpoint.with_suffix(".cases"))


def train(plan: Plan, options: Any) -> tuple[PlainConvUNet, dict[str, Any]]:
    """Trains for `options.iterations`; resumes where a checkpoint exists. A kind of case whose share the run
    may not use yet (`options.kinds`) is left out."""
    run = open_run(plan, options)
    if run.state["iterations"] < options.iterations:
        pool = Pool(plan.input, {k: v for k, v in plan.shares.items() if k in options.kinds},
                    options.seed + run.state["iterations"])
        if not options.no_drawing:
            for kind in pool.shares:
                case_files(plan, kind, options.seed, options, run.cases)
        pool.add(run.cases)
        if run.state["iterations"] == 0 and options.start is not None:
            image, _ = pool.batch(8, plan.side)
            start_from(run.network, options.start, image.to(options.device))
            run.state["start"] = options.start.name
        iterate(run, options, pool)
        run.save()
    run.state["cases"] = len(list(run.cases.glob("*.npz")))
    return run.network.to("cpu").eval(), run.state


def iterate(run: Run, options: Any, pool: Pool) -> None:
    """The training loop; reports, saves and takes up new cases about every minute."""
    plan, state = run.plan, run.state
    before, started, reported, losses = state["elapsed"], time.time(), time.time(), []
    while state["iterations"] < options.iterations:
        progress = state["iterations"] / options.iterations
        # The running statistics are what will be computed with: in the end the rest is trained to fit them.
        run.network.train(progress < FROZEN_FROM)
        losses.append(step(run, pool.batch(plan.batch, plan.side), learning_rate(progress, plan.peak_rate)))
        state["iterations"] += 1
        state["elapsed"] = before + time.time() - started
        if time.time() - reported > REPORT_S:
            loss = float(np.mean(losses))
            state["curve"].append((state["iterations"], loss))
            left = state["elapsed"] / state["iterations"] * (options.iterations - state["iterations"])
            print(f"{state['elapsed']:6.0f} s  iteration {state['iterations']} of {options.iterations}  loss "
                  f"{loss:.3f}  {len(pool.cases)} cases  {left / 60:.0f} min left", flush=True)
            pool.add(run.cases)
            run.save()
            reported, losses = time.time(), []


def step(run: Run, batch: tuple[Tensor, Tensor], rate: float) -> float:
    """One optimiser step in bfloat16 where the machine computes in it; the loss."""
    image, target = batch
    device = next(run.network.parameters()).device
    run.optimiser.param_groups[0]["lr"] = rate
    run.optimiser.zero_grad(set_to_none=True)
    with torch.autocast(device.type, torch.bfloat16):
        logits = run.network(image.to(device).contiguous(memory_format=torch.channels_last_3d))
    loss = segmentation_loss(logits.float(), target.to(device))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), 5.0)
    run.optimiser.step()
    return float(loss.detach())


def curve(points: list[tuple[int, float]], path: Path) -> None:
    """The loss over the iterations as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    axes.plot(*np.array(points or [(0, 0.0)]).T)
    axes.set_xlabel("iteration")
    axes.set_ylabel("loss (cross entropy + 1 - Dice)")
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


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


def held_out(plan: Plan, seeds: range, folder: Path) -> list[Case]:
    """Phantoms from the evaluation ranges; drawn once into `folder`."""
    cases = []
    for file in draw_cases(plan.held_out_case, {f"h{seed}": seed for seed in seeds}, folder, 1):
        with np.load(file) as stored:
            cases.append((stored["hu"].astype(np.float32), stored["label"]))
    return cases


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
    """What the network finds in liver boxes at 2 mm, see `cards.FIGURES`."""
    tally = Tally()
    for hu, label in cases:
        tally.add(hu, label, predict(network, hu, TUMOUR))
    return tally.figures()


class Tally:
    """Sums up cases of the fine network."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.lesions: list[tuple[float, float, float]] = []

    def add(self, hu: np.ndarray, label: np.ndarray, found: np.ndarray) -> None:
        """One case: `[z, y, x]` HU, true and found labels at 2 mm."""
        true, seen = label == 2, found == 2
        self.rows.append({
            "liver": dice(found > 0, label > 0), "tumour": dice(seen, true), "healthy": not true.any(),
            "enhanced": float(np.median(hu[label == 1])) > ENHANCED_HU, "false_ml": float((seen & ~true).sum()) * 0.008,
            "false_lesions": count_false_lesions(seen, true), "count": count_lesions(seen) == count_lesions(true),
        })
        self.lesions += lesion_dice(seen, true)

    def mean(self, key: str, rows: list[dict[str, float]]) -> float:
        return round(float(np.mean([row[key] for row in rows])), 4) if rows else float("nan")

    def figures(self) -> dict[str, float]:
        """Rounded figures by name."""
        ill = [row for row in self.rows if not row["healthy"]]
        healthy = [row for row in self.rows if row["healthy"]]
        enhanced = [row for row in ill if row["enhanced"]]
        result = {
            "liver_dice": self.mean("liver", self.rows),
            "liver_dice_least": round(min(row["liver"] for row in self.rows), 4),
            "tumour_dice": self.mean("tumour", ill), "enhanced_tumour_dice": self.mean("tumour", enhanced),
            "false_tumour_ml": self.mean("false_ml", ill), "false_lesions": self.mean("false_lesions", ill),
            "count_exact": self.mean("count", self.rows), "cases_with_tumour": len(ill),
            "healthy_cases": len(healthy), "healthy_tumour_ml": self.mean("false_ml", healthy),
            "healthy_false_lesions": self.mean("false_lesions", healthy),
        }
        for low, high in (*SIZE_BINS_MM, (20, 200)):
            inside = [lesion for lesion in self.lesions if low <= lesion[0] < high]
            if inside:
                result[f"lesion_dice_{low}_{high}_mm"] = round(float(np.mean([d for _, d, _ in inside])), 4)
                result[f"lesions_{low}_{high}_mm"] = len(inside)
        errors = [error for diameter, _, error in self.lesions if diameter >= 20 and np.isfinite(error)]
        if errors:
            result["diameter_error_mm"] = round(float(np.median(errors)), 2)
        return result


def parts_of(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Connected parts (by face, edge or corner) that the appliance would list, and the volume of each in voxels;
    smaller ones are cleared."""
    parts, count = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    listed = np.flatnonzero(sizes * 8 >= LESION_MM3)
    listed = listed[listed > 0]
    renamed = np.zeros(count + 1, np.int32)
    renamed[listed] = np.arange(1, len(listed) + 1)
    return renamed[parts], sizes[listed]


def count_lesions(mask: np.ndarray) -> int:
    return len(parts_of(mask)[1])


def count_false_lesions(found: np.ndarray, wanted: np.ndarray) -> int:
    """Connected parts that the appliance would list as lesions and that touch no wanted one."""
    parts, sizes = parts_of(found)
    return len(sizes) - len(set(np.unique(parts[wanted])) - {0})


def longest_in_plane_mm(mask: np.ndarray) -> float:
    """The longest in-plane distance over all slices at 2 mm, as RECIST measures."""
    longest = 0.0
    for plane in mask:
        places = np.argwhere(plane & ~ndimage.binary_erosion(plane))
        if len(places) > 1:
            directions = np.stack([np.cos(ANGLES), np.sin(ANGLES)])
            extents = np.ptp(places @ directions, axis=0)
            longest = max(longest, 2.0 * (float(extents.max()) + 1))
    return longest


def lesion_dice(found: np.ndarray, wanted: np.ndarray) -> list[tuple[float, float, float]]:
    """Of each connected wanted lesion at 2 mm: equivalent diameter in mm, Dice within 6 mm around it, and by how
    much the longest in-plane diameter of what was found there is off (infinite where nothing was)."""
    parts, sizes = parts_of(wanted)
    found_parts, _ = parts_of(found)
    places = ndimage.find_objects(found_parts)
    result = []
    for index, window in enumerate(ndimage.find_objects(parts), start=1):
        grown = tuple(slice(max(s.start - 3, 0), s.stop + 3) for s in window)
        lesion = parts[grown] == index
        diameter = (sizes[index - 1] * 8.0 * 6 / np.pi) ** (1 / 3)
        near = ndimage.binary_dilation(lesion, iterations=3) & ~((parts[grown] > 0) & ~lesion)
        touching = found_parts[grown][lesion]
        touching = touching[touching > 0]
        error = np.inf
        if len(touching):
            number = int(np.bincount(touching).argmax())
            seen = found_parts[places[number - 1]] == number
            error = abs(longest_in_plane_mm(seen) - longest_in_plane_mm(parts[window] == index))
        result.append((float(diameter), dice(found[grown] & near, lesion), error))
    return result
