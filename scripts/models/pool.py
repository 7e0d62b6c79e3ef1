"""Training cases, drawn once and kept on disk, and the batches cut from them.

Drawing a case costs more than a training step on it, so cases are drawn beforehand (by this or by another
process) and every batch cuts and disturbs new cubes. Nothing is mirrored: the liver has a side.
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

from specifications import normalise

Case = tuple[np.ndarray, np.ndarray]
MakeCase = Callable[[int], Case]

# Which kind of voxel a cube is centred on (before it is shifted), as shares of the cubes; the rest anywhere.
SHARES = {"tumour": 0.35, "liver": 0.3, "neighbour": 0.15, "fluid": 0.1}
# Background that could pass for tumour: soft tissue near the liver, and there what is as dark as bile
# and the content of stomach and bowel.
NEIGHBOUR_MM, SOFT_HU, FLUID_HU = 24.0, (-20, 110), (-20, 48)
PLACES = 4000
MIN_LESION_VOXELS = 40
SHIFT_SHARE = 0.3


def draw_cases(make_case: MakeCase, names: dict[str, int], folder: Path, processes: int) -> list[Path]:
    """One file per name, made of its seed; those that exist already are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(folder / f"{name}.npz", seed) for name, seed in names.items()]
    missing = [entry for entry in wanted if not entry[0].exists()]
    if processes > 1 and missing:
        with multiprocessing.get_context("spawn").Pool(processes) as workers:
            workers.map(partial(draw_case, make_case), missing, chunksize=4)
    else:
        for entry in missing:
            draw_case(make_case, entry)
    return [path for path, _ in wanted]


def draw_case(make_case: MakeCase, entry: tuple[Path, int]) -> None:
    """HU as int16 and labels as uint8."""
    path, seed = entry
    torch.set_num_threads(1)
    hu, label = make_case(seed)
    draft = path.with_suffix(".part")
    with draft.open("wb") as file:
        np.savez(file, hu=np.clip(np.rint(hu), -1024, 3071).astype(np.int16), label=label.astype(np.uint8))
    draft.replace(path)


class Pool:
    """Cases in memory by the first letter of their file (their kind), and where in each the interesting
    voxels are."""

    def __init__(self, table: dict[str, Any], shares: dict[str, float], seed: int):
        self.random = np.random.default_rng(seed)
        self.table, self.shares = table, shares
        self.cases: dict[str, Case] = {}
        self.places: dict[str, dict[str, np.ndarray]] = {}

    def add(self, folder: Path) -> None:
        """Takes the files that are new in the folder; kinds that have no share are left out."""
        for file in sorted(folder.glob("*.npz")):
            if file.stem[0] in self.shares and file.stem not in self.cases:
                with np.load(file) as stored:
                    self.cases[file.stem] = (stored["hu"], stored["label"])
        self.names = {kind: [n for n in self.cases if n[0] == kind] for kind in self.shares}
        self.with_tumour = {kind: [n for n in names if self.cases[n][1].max() == 2]
                            for kind, names in self.names.items()}

    def places_of(self, name: str, kind: str) -> np.ndarray:
        """Flat indices of a case's voxels of one kind; looked for when the case is first used."""
        if name not in self.places:
            self.places[name] = self.interesting(*self.cases[name])
        return self.places[name].get(kind, np.empty(0, np.int32))

    def interesting(self, hu: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
        """Flat indices, at most `PLACES` of each kind; background is looked at in every second voxel."""
        half = tuple(slice(None, None, 2) for _ in range(3))
        thin, organ = hu[half].astype(np.float32), label[half] > 0
        reach = int(NEIGHBOUR_MM / self.table["spacing_mm"][0] / 2)
        near = ndimage.uniform_filter(organ.astype(np.float32), 2 * reach + 1) > 1e-4
        smooth = ndimage.uniform_filter(thin, 3)
        beside = near & ~organ
        soft = beside & (smooth > SOFT_HU[0]) & (smooth < SOFT_HU[1])
        # The erosion leaves bodies of fluid and takes the blurred edges of everything else away.
        fluid = ndimage.binary_erosion(beside & (smooth > FLUID_HU[0]) & (smooth < FLUID_HU[1]))
        found = {"tumour": self.evenly(label == 2), "liver": self.some(np.flatnonzero(label == 1))}
        for kind, mask in (("neighbour", soft), ("fluid", fluid)):
            z, y, x = (2 * axis for axis in np.nonzero(mask))
            found[kind] = self.some(np.ravel_multi_index((z, y, x), hu.shape))
        return found

    def some(self, places: np.ndarray) -> np.ndarray:
        """At most `PLACES` of them."""
        return self.random.choice(places, PLACES).astype(np.int32) if len(places) else places.astype(np.int32)

    def evenly(self, mask: np.ndarray) -> np.ndarray:
        """Flat indices, as many from a small lesion as from a large one; crumbs at the liver's edge are none."""
        parts, count = ndimage.label(mask)
        places = np.flatnonzero(mask)
        part = parts.ravel()[places]
        lesions = [places[part == number] for number in range(1, count + 1)]
        lesions = [lesion for lesion in lesions if len(lesion) >= MIN_LESION_VOXELS]
        drawn = [self.random.choice(lesion, PLACES // len(lesions)) for lesion in lesions]
        return np.concatenate(drawn).astype(np.int32) if drawn else np.empty(0, np.int32)

    def batch(self, size: int, side: int) -> tuple[Tensor, Tensor]:
        """`[b, 1, c, c, c]` normalised and disturbed, `[b, c, c, c]` labels."""
        images, labels = [], []
        for _ in range(size):
            hu, label = self.cube(side)
            images.append(blank_border(normalise(disturbed(hu, self.random), self.table), self.random))
            labels.append(label)
        return (torch.from_numpy(np.stack(images))[:, None],
                torch.from_numpy(np.stack(labels).astype(np.int64)))

    def cube(self, side: int) -> Case:
        """A cube of one case, centred near a voxel of a kind drawn by the shares."""
        kinds = [kind for kind in self.shares if self.names[kind]]
        weights = np.array([self.shares[kind] for kind in kinds])
        kind = str(self.random.choice(kinds, p=weights / weights.sum()))
        place_kind = self.random.choice([*SHARES, "anywhere"], p=[*SHARES.values(), 1 - sum(SHARES.values())])
        names = self.with_tumour[kind] if place_kind == "tumour" and self.with_tumour[kind] else self.names[kind]
        name = names[int(self.random.integers(len(names)))]
        hu, label = self.cases[name]
        places = self.places_of(name, str(place_kind))
        place = self.random.choice(places) if len(places) else self.random.integers(hu.size)
        return self.cut(hu, label, np.unravel_index(int(place), hu.shape), side)

    def cut(self, hu: np.ndarray, label: np.ndarray, centre: tuple[int, ...], side: int) -> Case:
        """`side` cubed round `centre` moved a little; padded with the mean HU where the case ends."""
        reach = int(SHIFT_SHARE * side)
        shift = self.random.integers(-reach, reach + 1, 3)
        starts = [int(np.clip(c + s - side // 2, 0, max(n - side, 0)))
                  for c, s, n in zip(centre, shift, hu.shape, strict=True)]
        window = tuple(slice(start, start + side) for start in starts)
        hu, label = hu[window].astype(np.float32), label[window]
        missing = [side - n for n in hu.shape]
        before = [int(self.random.integers(m + 1)) for m in missing]
        pads = [(b, m - b) for b, m in zip(before, missing, strict=True)]
        return np.pad(hu, pads, constant_values=self.table["mean"]), np.pad(label, pads)


def disturbed(hu: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Contrast, offset, gamma of soft tissue, blur, extra noise; HU in, HU out."""
    hu = hu * np.float32(random.uniform(0.88, 1.12)) + np.float32(random.uniform(-8, 8))
    if random.random() < 0.2:
        place = np.clip((hu + 100) / 350, 0, 1) ** np.float32(random.uniform(0.8, 1.25))
        hu = np.where((hu > -100) & (hu < 250), place * 350 - 100, hu)
    if random.random() < 0.15:
        hu = ndimage.gaussian_filter(hu, random.uniform(0.3, 0.9))
    if random.random() < 0.3:
        noise = random.standard_normal(hu.shape, dtype=np.float32)
        if random.random() < 0.4:
            noise = ndimage.gaussian_filter(noise, random.uniform(0.4, 0.8))
        hu = hu + noise * np.float32(random.uniform(2, 14) / noise.std())
    return hu


def blank_border(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Sometimes zeroes a margin at one side: the engine's padding."""
    if random.random() < 0.1:
        axis, width = int(random.integers(3)), int(random.integers(4, 24))
        view = np.moveaxis(image, axis, 0)
        at_end = random.random() < 0.5
        view[slice(-width, None) if at_end else slice(None, width)] = 0
    return image
