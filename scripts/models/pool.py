"""Training cases, drawn once by worker processes and kept on disk, and the batches cut from them.

Drawing a phantom costs more than a training step on it, so the cases are drawn beforehand and every
batch cuts and disturbs new cubes. Nothing is mirrored: the liver has a side.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

import phantom
from specifications import normalise

Case = tuple[np.ndarray, np.ndarray]
MakeCase = Callable[[int, dict[str, Any]], Case]

# Which kind of voxel a cube is centred on (before it is shifted), as shares of the cubes; the rest anywhere.
SHARES = {"tumour": 0.35, "liver": 0.3, "neighbour": 0.1, "fluid": 0.15}
# Background that could pass for tumour: soft tissue this near the liver, and there what is as dark as
# bile and the content of stomach and bowel.
NEIGHBOUR_MM, SOFT_HU, FLUID_HU = 24.0, (-20, 110), (-20, 48)
PLACES = 4000
MIN_LESION_VOXELS = 40
SHIFT_VOXELS = 20


def draw_cases(make_case: MakeCase, seeds: list[int], folder: Path, processes: int) -> list[Path]:
    """One file per training seed; those that exist already are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(processes) as workers:
        return list(workers.imap(partial(draw_case, make_case, folder), seeds, chunksize=4))


def draw_case(make_case: MakeCase, folder: Path, seed: int) -> Path:
    """HU as int16 and labels as uint8."""
    path = folder / f"{seed}.npz"
    if not path.exists():
        torch.set_num_threads(1)
        hu, label = make_case(seed, phantom.TRAIN_RANGES)
        draft = path.with_suffix(".part.npz")
        np.savez(draft, hu=np.clip(np.rint(hu), -1024, 3071).astype(np.int16), label=label.astype(np.uint8))
        draft.replace(path)
    return path


class Pool:
    """Cases in memory, and where in each of them the interesting voxels are."""

    def __init__(self, files: list[Path], table: dict[str, Any], side: int, batch: int, seed: int):
        self.random = np.random.default_rng(seed)
        self.table, self.side, self.size = table, side, batch
        self.cases: list[Case] = []
        self.places: list[dict[str, np.ndarray]] = []
        for file in files:
            with np.load(file) as stored:
                self.cases.append((stored["hu"], stored["label"]))
            self.places.append(self.interesting(*self.cases[-1]))
        self.with_tumour = [i for i, places in enumerate(self.places) if len(places["tumour"])]

    def interesting(self, hu: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
        """Flat indices, at most `PLACES` of each kind."""
        near = ndimage.distance_transform_edt(label == 0, self.table["spacing_mm"]) < NEIGHBOUR_MM
        smooth = ndimage.gaussian_filter(hu.astype(np.float32), 1.5)
        beside = (label == 0) & near
        soft = beside & (smooth > SOFT_HU[0]) & (smooth < SOFT_HU[1])
        # The erosion leaves bodies of fluid and takes the blurred edges of everything else away.
        fluid = ndimage.binary_erosion(beside & (smooth > FLUID_HU[0]) & (smooth < FLUID_HU[1]), iterations=2)
        kinds = {"liver": label == 1, "neighbour": soft, "fluid": fluid}
        found = {"tumour": self.evenly(label == 2)}
        for kind, mask in kinds.items():
            places = np.flatnonzero(mask)
            found[kind] = self.random.choice(places, PLACES) if len(places) else places
        return found

    def evenly(self, mask: np.ndarray) -> np.ndarray:
        """Flat indices, as many from a small lesion as from a large one; crumbs at the liver's edge are none."""
        parts, count = ndimage.label(mask)
        lesions = [np.flatnonzero(parts == part) for part in range(1, count + 1)]
        lesions = [lesion for lesion in lesions if len(lesion) >= MIN_LESION_VOXELS]
        drawn = [self.random.choice(lesion, PLACES // len(lesions)) for lesion in lesions]
        return np.concatenate(drawn) if drawn else np.empty(0, np.int64)

    def batch(self) -> tuple[Tensor, Tensor]:
        """`[b, 1, c, c, c]` normalised and disturbed, `[b, c, c, c]` labels."""
        images, labels = [], []
        for _ in range(self.size):
            hu, label = self.cube()
            images.append(blank_border(normalise(disturbed(hu, self.random), self.table), self.random))
            labels.append(label)
        return (torch.from_numpy(np.stack(images))[:, None],
                torch.from_numpy(np.stack(labels).astype(np.int64)))

    def cube(self) -> Case:
        """A cube of one case, centred near a voxel of a kind drawn by the shares."""
        rest = 1 - sum(SHARES.values())
        kind = self.random.choice([*SHARES, "anywhere"], p=[*SHARES.values(), rest])
        if kind == "tumour" and self.with_tumour:
            index = self.with_tumour[int(self.random.integers(len(self.with_tumour)))]
        else:
            index = int(self.random.integers(len(self.cases)))
        hu, label = self.cases[index]
        places = self.places[index].get(kind, ())
        place = self.random.choice(places) if len(places) else self.random.integers(hu.size)
        return self.cut(hu, label, np.unravel_index(int(place), hu.shape))

    def cut(self, hu: np.ndarray, label: np.ndarray, centre: tuple[int, ...]) -> Case:
        """`side` cubed round `centre` moved a little; padded with the mean HU where the case ends."""
        shift = self.random.integers(-SHIFT_VOXELS, SHIFT_VOXELS + 1, 3)
        starts = [int(np.clip(c + s - self.side // 2, 0, max(n - self.side, 0)))
                  for c, s, n in zip(centre, shift, hu.shape, strict=True)]
        window = tuple(slice(start, start + self.side) for start in starts)
        hu, label = hu[window].astype(np.float32), label[window]
        missing = [self.side - n for n in hu.shape]
        before = [int(self.random.integers(m + 1)) for m in missing]
        pads = [(b, m - b) for b, m in zip(before, missing, strict=True)]
        return np.pad(hu, pads, constant_values=self.table["mean"]), np.pad(label, pads)


def disturbed(hu: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Contrast, offset, gamma of soft tissue, blur, extra noise; HU in, HU out."""
    hu = hu * np.float32(random.uniform(0.85, 1.1)) + np.float32(random.uniform(-4, 4))
    if random.random() < 0.3:
        place = np.clip((hu + 100) / 350, 0, 1) ** np.float32(random.uniform(0.8, 1.25))
        hu = np.where((hu > -100) & (hu < 250), place * 350 - 100, hu)
    if random.random() < 0.2:
        hu = ndimage.gaussian_filter(hu, random.uniform(0.3, 0.9))
    if random.random() < 0.4:
        noise = random.standard_normal(hu.shape, dtype=np.float32)
        if random.random() < 0.5:
            noise = ndimage.gaussian_filter(noise, random.uniform(0.4, 0.8))
        hu = hu + noise * np.float32(random.uniform(2, 15) / noise.std())
    return hu


def blank_border(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Sometimes zeroes a margin at one side: the engine's padding."""
    if random.random() < 0.15:
        axis, width = int(random.integers(3)), int(random.integers(4, 24))
        view = np.moveaxis(image, axis, 0)
        at_end = random.random() < 0.5
        view[slice(-width, None) if at_end else slice(None, width)] = 0
    return image
