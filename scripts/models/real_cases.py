"""Training cases made of real CT: anatomy bent, contrast medium given or taken, lesions painted into real liver.

`Sources` reads what `real_sources.py` made. A case is `(hu, label)` at 2 mm as in `phantom`: `[z, y, x]`, HU and 0
background, 1 liver, 2 tumour. The organ map tells which HU to move: a scan without contrast medium becomes one of
the portal phase (with vessels drawn into its liver), a portal one gets another contrast. A labelled mass is kept, or
filled with liver before other lesions are painted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from phantom import blur, uniform
from real_sources import ORGANS, SPACING_MM

MARGIN_VOXELS = 14
# HU that contrast medium adds until the portal phase to an organ without any; ranges after Foley's textbook
# phases as in `phantom.ENHANCEMENT`.
ENHANCEMENT: dict[str, tuple[float, float]] = {
    "liver": (25, 85), "tumour": (25, 60), "spleen": (40, 95), "kidney": (90, 170), "stomach": (0, 35),
    "bowel": (0, 45), "gallbladder": (0, 4), "pancreas": (30, 70), "vessel": (70, 150), "portal_vein": (80, 150),
    "muscle": (3, 20), "bone": (0, 60), "lung": (0, 10), "heart": (60, 140), "other": (0, 25),
}
# The same for one that has it already: another dose, another second.
CHANGE: dict[str, tuple[float, float]] = {
    "liver": (-30, 35), "tumour": (-30, 30), "spleen": (-35, 35), "kidney": (-60, 30), "stomach": (-40, 20),
    "bowel": (-40, 30), "gallbladder": (0, 0), "pancreas": (-30, 30), "vessel": (-60, 60), "portal_vein": (-40, 60),
    "muscle": (-8, 8), "bone": (-30, 30), "lung": (0, 0), "heart": (-80, 20), "other": (-8, 8),
}
PLAIN_SHARE, KEPT_MASS_SHARE, HEALTHY_SHARE, CYST_SHARE, FATTY_SHARE = 0.12, 0.5, 0.35, 0.25, 0.12


@dataclass
class Source:
    """One scan at 2 mm."""

    name: str
    hu: np.ndarray
    organs: np.ndarray
    enhanced: bool


def load(folder: Path, names: list[str]) -> list[Source]:
    """The sources of these names that are there."""
    found = []
    for name in names:
        if (folder / f"{name}.npz").exists():
            with np.load(folder / f"{name}.npz") as stored:
                found.append(Source(name, stored["hu"].astype(np.float32), stored["organs"], name != "total"))
    return found


def smooth_noise(random: np.random.Generator, shape: tuple[int, ...], voxels: float) -> np.ndarray:
    """Smooth random field of unit deviation with details of about `voxels`."""
    coarse = tuple(max(4, math.ceil(n / voxels) + 3) for n in shape)
    lattice = torch.from_numpy(random.standard_normal(coarse).astype(np.float32))[None, None]
    # A lattice longer than the volume, so that the field does not depend on where its knots lie.
    field = F.interpolate(lattice, scale_factor=voxels, mode="trilinear", align_corners=False)[0, 0]
    starts = [int(random.integers(0, max(1, have - want + 1))) for have, want in zip(field.shape, shape, strict=True)]
    field = field[tuple(slice(s, s + n) for s, n in zip(starts, shape, strict=True))].numpy()
    if field.shape != tuple(shape):
        field = np.pad(field, [(0, n - m) for n, m in zip(shape, field.shape, strict=True)], mode="edge")
    return field / max(float(field.std()), 1e-6)


def bent(source: Source, random: np.random.Generator, whole: bool) -> tuple[np.ndarray, np.ndarray]:
    """The scan, `whole` or the liver's surroundings, after a random affine and elastic change: HU, organs."""
    liver = np.isin(source.organs, (ORGANS.index("liver"), ORGANS.index("tumour")))
    places = np.argwhere(liver)
    low, high = places.min(0) - MARGIN_VOXELS, places.max(0) + 1 + MARGIN_VOXELS
    if whole:
        low, high = np.zeros(3), np.array(source.hu.shape)
    centre, size = (low + high) / 2, (high - low).astype(float)
    scale = np.exp(random.uniform(-0.16, 0.16)) * np.exp(random.normal(0, 0.07, 3))
    shape = tuple(int(n) for n in np.ceil(size * scale))
    angles = np.radians(random.uniform((-8, -8, -14), (8, 8, 14)))
    matrix = np.eye(3)
    for (a, b), angle in zip(((0, 1), (0, 2), (1, 2)), angles, strict=True):
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = math.cos(angle)
        turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    matrix = matrix / scale[None]
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in shape]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1) @ torch.from_numpy(matrix.T.astype(np.float32))
    amount = random.uniform(1.0, 4.5)
    for axis in range(3):
        grid[..., axis] += torch.from_numpy(smooth_noise(random, shape, random.uniform(18, 40))) * amount
    extent = torch.tensor(source.hu.shape, dtype=torch.float32)
    grid = (grid + torch.from_numpy(centre.astype(np.float32)) + 0.5) / extent * 2 - 1
    grid = grid.flip(-1)[None]

    def read(volume: np.ndarray, mode: str) -> np.ndarray:
        image = torch.from_numpy(volume.astype(np.float32))[None, None]
        return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=False)[0, 0].numpy()

    return read(source.hu, "bilinear"), np.rint(read(source.organs, "nearest")).astype(np.uint8)


def recoloured(hu: np.ndarray, organs: np.ndarray, enhanced: bool, random: np.random.Generator) -> np.ndarray:
    """Each organ's HU moved to another contrast, its own texture made stronger or weaker."""
    table = CHANGE if enhanced else ENHANCEMENT
    amount = 1.0 if enhanced or random.random() > PLAIN_SHARE else 0.0
    shift = np.zeros(len(ORGANS), np.float32)
    for index, name in enumerate(ORGANS):
        shift[index] = amount * uniform(random, table[name])
    if random.random() < FATTY_SHARE:
        shift[ORGANS.index("liver")] -= uniform(random, (20, 60))
    # A mass keeps its distance to the liver, more or less.
    shift[ORGANS.index("tumour")] = shift[ORGANS.index("liver")] + uniform(random, (-12, 6))
    soft = np.clip((hu + 60) / 60, 0, 1) * np.clip((350 - hu) / 150, 0, 1)
    moved = ndimage.gaussian_filter(shift[organs], 0.7) * soft
    liver = organs == ORGANS.index("liver")
    if liver.any():
        mean = float(np.median(hu[liver]))
        hu = np.where(liver, mean + (hu - mean) * np.float32(random.uniform(0.6, 1.15)), hu)
    return hu + moved


def tubes(shape: tuple[int, ...], liver: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """`[z, y, x]` 1 in portal and 2 in hepatic veins: two random trees of straight tubes inside the liver."""
    out = np.zeros(shape, np.uint8)
    places = np.argwhere(liver)
    low, high = places.min(0), places.max(0)

    def draw(start: np.ndarray, end: np.ndarray, radius: float, value: int) -> None:
        a, b = np.floor(np.minimum(start, end) - radius - 1), np.ceil(np.maximum(start, end) + radius + 2)
        box = tuple(slice(int(max(p, 0)), int(max(min(q, n), 0))) for p, q, n in zip(a, b, shape, strict=True))
        offset = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij"), -1) - start
        along = end - start
        place = np.clip((offset @ along) / max(float(along @ along), 1e-6), 0, 1)
        distance = np.linalg.norm(offset - place[..., None] * along, axis=-1)
        out[box][(distance < radius) & liver[box]] = value

    roots = [low + (high - low) * np.array([0.35, 0.35, 0.45]), low + (high - low) * np.array([0.95, 0.3, 0.35])]
    for value, root in enumerate(roots, start=1):
        for _ in range(int(random.integers(2, 4))):
            branch = places[random.integers(len(places))]
            fork = root + (branch - root) * random.uniform(0.4, 0.8)
            draw(root, fork, random.uniform(1.2, 3.2), value)
            for _ in range(int(random.integers(2, 7))):
                twig = places[random.integers(len(places))]
                draw(fork, fork + (twig - fork) * random.uniform(0.3, 0.9), random.uniform(0.5, 1.5), value)
    return out


def blob(shape: tuple[int, ...], centre: np.ndarray, radius: float, random: np.random.Generator, roughness: float
         ) -> tuple[tuple[slice, ...], np.ndarray]:
    """A box and in it the normalised radius (1 on the surface) of a rough ellipsoid."""
    half = radius * random.uniform(0.75, 1.3, 3)
    reach = half.max() * 1.6 + 2
    box = tuple(slice(int(max(c - reach, 0)), int(min(c + reach + 1, n))) for c, n in zip(centre, shape, strict=True))
    offset = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij"), -1) - centre
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    distance = np.linalg.norm((offset @ turn) / half, axis=-1)
    return box, distance + roughness * smooth_noise(random, distance.shape, max(radius * 0.5, 2.0))


def paint_lesions(hu: np.ndarray, liver: np.ndarray, tumour: np.ndarray, random: np.random.Generator) -> None:
    """Tumours (into both) and cysts (into the HU only) in liver; the arrays are changed."""
    places = np.argwhere(liver)
    level = float(np.median(hu[liver]))
    if random.random() < CYST_SHARE:
        for _ in range(int(random.integers(1, 4))):
            box, radius = blob(hu.shape, places[random.integers(len(places))], 1.2 * 8 ** random.random(), random, 0.04)
            inside = (radius < 1) & liver[box] & ~tumour[box]
            hu[box][inside] = random.uniform(-4, 16)
    if random.random() < HEALTHY_SHARE:
        return
    several = random.random() < 0.25
    for _ in range(int(random.integers(3, 9)) if several else int(random.integers(1, 4))):
        # Half axes in voxels of 2 mm: 8 to 110 mm across.
        size = 2.0 * (3.5 if several else 14.0) ** random.random()
        paint_tumour(hu, liver, tumour, places[random.integers(len(places))], size, level, random)


def paint_tumour(hu: np.ndarray, liver: np.ndarray, tumour: np.ndarray, centre: np.ndarray, size: float, level: float,
                 random: np.random.Generator) -> None:
    """One tumour: darker than liver mostly, perhaps with a rim and a necrotic or mottled inside."""
    box, radius = blob(hu.shape, centre, size, random, random.uniform(0.04, 0.28))
    inside = (radius < 1) & liver[box]
    # As often 9 to 20 HU darker as 20 to 65.
    contrast = -9.0 * 7.2 ** random.random() if random.random() > 0.08 else uniform(random, (18, 50))
    contrast = max(contrast, 15 - level) if contrast < 0 else contrast
    value = level + contrast + smooth_noise(random, radius.shape, random.uniform(1.5, 4)) * random.uniform(1, 9)
    if random.random() < 0.35:
        thick = random.uniform(0.08, 0.3)
        value = np.where(radius > 1 - thick, level + random.choice([-1, 0.3, 1]) * random.uniform(8, 35), value)
    if random.random() < 0.4 and size > 5:
        core = radius + 0.25 * smooth_noise(random, radius.shape, max(size * 0.4, 2)) < random.uniform(0.3, 0.75)
        value = np.where(core, random.uniform(8, 45), value)
    # The liver's own texture goes on inside.
    soft = random.uniform(0.3, 0.9)
    share = np.clip((1 - radius) * size / random.uniform(0.6, 2.5), 0, 1)[inside]
    texture = (hu[box] - ndimage.gaussian_filter(hu[box], 2.0))[inside]
    hu[box][inside] = hu[box][inside] * (1 - share) + share * (value[inside] + soft * texture)
    tumour[box] |= inside


def filled(hu: np.ndarray, mass: np.ndarray, liver: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The mass replaced by liver: its level, and texture as strong as the liver's."""
    level = float(np.median(hu[liver]))
    texture = hu - ndimage.gaussian_filter(hu, 2.0)
    deviation = float(texture[ndimage.binary_erosion(liver, iterations=3)].std())
    grain = ndimage.gaussian_filter(random.standard_normal(hu.shape, dtype=np.float32), (1.5, 0.6, 0.6))
    grain *= deviation / float(grain.std())
    share = ndimage.gaussian_filter(ndimage.binary_dilation(mass, iterations=1).astype(np.float32), 0.8)
    slow = smooth_noise(random, hu.shape, 14) * 4
    return hu * (1 - share) + share * (level + slow + grain)


def acquired(hu: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Blur by kernel and slice thickness, noise as fine as the blur leaves it, an offset."""
    volume = torch.from_numpy(hu.astype(np.float32))
    noise = torch.from_numpy(random.standard_normal(hu.shape).astype(np.float32))
    kernel, slice_mm = uniform(random, (0.2, 1.4)), uniform(random, (0.7, 7))
    for axis, deviation in enumerate((max(slice_mm / 2.8, kernel), kernel, kernel)):
        volume = blur(volume, axis, deviation / SPACING_MM) if random.random() < 0.5 else volume
        noise = blur(noise, axis, 0.6 * deviation / SPACING_MM)
    level = uniform(random, (0, 20)) if random.random() < 0.7 else 0.0
    return (volume + noise * (level / float(noise.std())) + uniform(random, (-6, 6))).numpy()


def box_case(sources: list[Source], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """HU float32 and label uint8 at 2 mm: the liver's box with a margin."""
    random = np.random.default_rng([seed, 77])
    source = sources[int(random.integers(len(sources)))]
    hu, organs = bent(source, random, whole=False)
    return painted(hu, organs, source.enhanced, random)


def overview_case(sources: list[Source], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """HU float16 and liver label at 4 mm: the whole scan or a part of it that still shows liver."""
    random = np.random.default_rng([seed, 78])
    source = sources[int(random.integers(len(sources)))]
    hu, label = painted(*bent(source, random, whole=True), source.enhanced, random)
    hu = torch.nn.functional.avg_pool3d(torch.from_numpy(hu)[None, None], 2)[0, 0].numpy()
    liver = label[: 2 * hu.shape[0] : 2, : 2 * hu.shape[1] : 2, : 2 * hu.shape[2] : 2] > 0
    rows = np.flatnonzero(liver.any((1, 2)))
    if random.random() < 0.4:
        cut = int(random.integers(rows[0], rows[-1]))
        keep = slice(cut, None) if random.random() < 0.5 else slice(None, cut + 1)
        hu, liver = hu[keep], liver[keep]
    return hu.astype(np.float16), liver.astype(np.uint8)


def painted(hu: np.ndarray, organs: np.ndarray, enhanced: bool, random: np.random.Generator
            ) -> tuple[np.ndarray, np.ndarray]:
    """Another contrast, vessels, lesions and another scanner for a bent scan."""
    mass = organs == ORGANS.index("tumour")
    organ = mass | (organs == ORGANS.index("liver"))
    kept = bool(mass.any()) and random.random() < KEPT_MASS_SHARE
    if mass.any() and not kept:
        hu = filled(hu, mass, organ & ~mass, random)
        organs = np.where(mass, ORGANS.index("liver"), organs)
    hu = recoloured(hu, organs, enhanced, random)
    if not enhanced:
        vessels = tubes(hu.shape, organ, random)
        level = float(np.median(hu[organ]))
        for value, limits in ((1, (5, 80)), (2, (-12, 70))):
            hu[vessels == value] = level + uniform(random, limits)
    tumour = mass.copy() if kept else np.zeros_like(mass)
    paint_lesions(hu, organ & ~mass if kept else organ, tumour, random)
    return acquired(hu, random), organ.astype(np.uint8) + tumour.astype(np.uint8)
