"""The PMN's cases: cubic liver boxes of phantoms, drawn once by worker processes and kept on disk.

Drawing a box costs as much as a training step on it. Kept are HU and labels, so that window, mask and box size can
change without drawing anew.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import phantom
from phantom import Scene
from pmn import PMN_ABSENT
from specifications import PMN, PMN_INPUT, normalise

SMALLEST_TUMOUR_MM = 30
MARGIN_MM = 8.0


@dataclass
class BoxCase:
    """`box` `[2, S, S, S]` float16 in 0..1, zero outside liver and tumour; `tumour` `[S, S, S]` boolean; `labels`
    (A, HAIC, TACE), each 0, 1 or absent (-1)."""

    box: np.ndarray
    tumour: np.ndarray
    labels: tuple[int, int, int]


def with_visible_tumours(ranges: dict[str, Any]) -> dict[str, Any]:
    """The same ranges, but every case has one to four tumours of at least 30 mm."""
    diameters = (SMALLEST_TUMOUR_MM, ranges["diameter_mm"][1])
    return ranges | {"tumours": (1, 4), "diameter_mm": diameters, "non_contrast_share": 0.0}


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


def draw_boxes(seeds: list[int], ranges: dict[str, Any], folder: Path, processes: int) -> list[Path]:
    """One file per seed; those that exist already are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(processes) as workers:
        return list(workers.imap(partial(draw_box, ranges, folder), seeds, chunksize=4))


def draw_box(ranges: dict[str, Any], folder: Path, seed: int) -> Path:
    """HU `[2, S, S, S]` int16, label `[S, S, S]` uint8 and the case's labels of one phantom's cubic liver box."""
    path = folder / f"{seed}.npz"
    if path.exists():
        return path
    torch.set_num_threads(1)
    scene = phantom.compose(seed, with_visible_tumours(ranges))
    low, high = phantom.organ_box(scene)
    side = float((high - low).max()) + MARGIN_MM
    grid = phantom.Grid.around(tuple((low + high) / 2), side / PMN.box_voxels, (PMN.box_voxels,) * 3)
    hu, label = phantom.render(scene, grid)
    draft = path.with_suffix(".part.npz")
    stored = np.clip(np.rint(hu.numpy()), -1024, 3071).astype(np.int16)
    labels = np.array([int(scene.proliferative), *efficacy_labels(scene)], np.int8)
    np.savez(draft, hu=stored, label=label.numpy().astype(np.uint8), labels=labels)
    draft.replace(path)
    return path


def read_box(path: Path) -> BoxCase:
    """The network's input of a stored case."""
    with np.load(path) as stored:
        hu, label, labels = stored["hu"], stored["label"], stored["labels"]
    box = normalise(hu.astype(np.float32), PMN_INPUT) * (label > 0)
    return BoxCase(box.astype(np.float16), label == 2, tuple(int(value) for value in labels))


def token_shares(tumour: torch.Tensor, side: int) -> torch.Tensor:
    """`[b, S, S, S]` to the tumour share of each of `side`^3 tokens, `[b, T]`, z-major."""
    return F.avg_pool3d(tumour[:, None].float(), tumour.shape[-1] // side).flatten(1)
