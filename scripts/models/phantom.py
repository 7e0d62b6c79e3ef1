"""Synthetic two-phase abdomens: anatomy as implicit shapes, rendered on any grid.

World coordinates are millimetres `(z, y, x)`: z superior, y anterior, x towards the patient's right,
origin at body centre on the level of the right diaphragm dome. Arrays are `[z, y, x]`, HU in float32.
Labels: 0 background, 1 liver, 2 tumour. A `Scene` holds random parameters only; `render` paints it, so
the same patient can be drawn as a 4 mm overview, a 2 mm crop or a cubic liver box.

The physiology (HU by organ and phase, phenotype of the tumours) is a caricature made for training
demonstration models. `TRAIN_RANGES` and `EVAL_RANGES` differ, and so do the seed blocks.

Usage: `python phantom.py --seed 3 --ranges eval --picture out.png` draws one case.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

PHASES = ("arterial", "portal")
TRAIN_SEEDS = range(1_000_000, 2_000_000)
VALIDATION_SEEDS = range(2_000_000, 3_000_000)
EVAL_SEEDS = range(3_000_000, 4_000_000)

TRAIN_RANGES: dict[str, Any] = {
    "body_half_x_mm": (148, 198),
    "body_half_y_mm": (98, 138),
    "fat_ring_mm": (6, 32),
    "liver_ml": (900, 2100),
    "rotation_deg": (-10, 10),
    "warp_sd_mm": (2, 6),
    "noise_sd_hu": (5, 25),
    "kernel_mm": (0.6, 1.6),
    "slice_mm": (1, 8),
    "bias_hu": (-10, 10),
    "phase_shift_mm": (-2, 2),
    "non_contrast_share": 0.15,
    "tumours": (0, 5),
    "diameter_mm": (10, 130),
    "ambiguous_share": 0.12,
    "liver_portal_hu": (88, 130),
    "washout_hu": (-42, -8),
    "portal_rim_plain_hu": (8, 40),
    "portal_rim_aggressive_hu": (-34, -8),
    "blush_hu": (18, 58),
    "rim_hu": (20, 60),
    "varied": False,
}
EVAL_RANGES: dict[str, Any] = TRAIN_RANGES | {
    "body_half_x_mm": (152, 202),
    "body_half_y_mm": (102, 142),
    "fat_ring_mm": (8, 36),
    "liver_ml": (1000, 2200),
    "rotation_deg": (-12, 12),
    "warp_sd_mm": (2.5, 6.5),
    "noise_sd_hu": (7, 28),
    "kernel_mm": (0.5, 1.8),
    "bias_hu": (-12, 12),
    "diameter_mm": (12, 140),
    "liver_portal_hu": (85, 126),
    "washout_hu": (-38, -6),
    "portal_rim_plain_hu": (6, 36),
    "portal_rim_aggressive_hu": (-30, -6),
    "blush_hu": (16, 54),
    "rim_hu": (16, 54),
}

# What the segmentation networks see beside that: livers without tumour, fatty livers, vessels brighter than, as
# bright as or darker than liver, cysts (which are no tumour), fluid round the liver, finer textures.
VARIED: dict[str, Any] = {
    "varied": True,
    "healthy_share": 0.3,
    "fatty_share": 0.15,
    "cyst_share": 0.3,
    "ascites_share": 0.1,
    "noise_sd_hu": (4, 26),
    "slice_mm": (0.7, 8),
    "diameter_mm": (8, 120),
    "tumours": (1, 6),
    "non_contrast_share": 0.1,
    "liver_portal_hu": (72, 150),
    "washout_hu": (-60, -10),
}
SEGMENTATION_TRAIN = TRAIN_RANGES | VARIED
SEGMENTATION_EVAL = EVAL_RANGES | VARIED | {
    "noise_sd_hu": (6, 28),
    "slice_mm": (0.8, 8),
    "diameter_mm": (10, 130),
    "liver_portal_hu": (75, 145),
    "washout_hu": (-55, -12),
    "kernel_mm": (0.5, 1.8),
}

# HU (arterial low, high, portal low, high) by material.
ENHANCEMENT: dict[str, tuple[float, float, float, float]] = {
    "air": (-1000, -990, -1000, -990),
    "fat": (-112, -80, -112, -80),
    "muscle": (42, 65, 48, 70),
    "lung": (-900, -780, -900, -780),
    "cortex": (300, 800, 300, 800),
    "marrow": (90, 260, 90, 260),
    "aorta": (250, 400, 130, 190),
    "ivc": (60, 100, 120, 170),
    "portal_vein": (90, 140, 150, 210),
    "hepatic_vein": (55, 90, 130, 190),
    "liver": (55, 85, 90, 130),
    "gallbladder": (0, 20, 0, 20),
    "spleen": (95, 155, 100, 140),
    "kidney_cortex": (150, 220, 150, 200),
    "kidney_medulla": (60, 120, 120, 190),
    "stomach_wall": (40, 80, 50, 95),
    "fluid": (-5, 45, -5, 45),
    "gas": (-990, -850, -990, -850),
    "bowel_wall": (30, 80, 40, 100),
    "bowel_contrast": (100, 450, 100, 450),
    "heart": (80, 300, 85, 185),
    "pancreas": (70, 120, 70, 110),
    "soft": (10, 110, 10, 120),
    "table": (-700, 200, -700, 200),
}
NON_CONTRAST: dict[str, tuple[float, float]] = {
    name: (30, 48)
    for name in ("aorta", "ivc", "portal_vein", "hepatic_vein", "heart", "kidney_cortex",
                 "kidney_medulla", "pancreas", "stomach_wall", "bowel_wall")
} | {"liver": (32, 68), "spleen": (40, 55), "muscle": (38, 62), "soft": (10, 60)}
MATERIALS = tuple(ENHANCEMENT)


@dataclass(frozen=True)
class Grid:
    """Voxel centres: `origin_mm + index * spacing_mm`, all `(z, y, x)`."""

    origin_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]

    def axis(self, index: int) -> Tensor:
        """World coordinates along one axis, mm."""
        return self.origin_mm[index] + self.spacing_mm[index] * torch.arange(self.shape[index])

    @staticmethod
    def around(centre_mm: tuple[float, ...], spacing_mm: float, shape: tuple[int, ...]) -> Grid:
        """A grid of isotropic voxels centred on a point."""
        origin = tuple(c - spacing_mm * (n - 1) / 2 for c, n in zip(centre_mm, shape, strict=True))
        return Grid(origin, (spacing_mm,) * 3, tuple(shape))


@dataclass
class Ellipsoid:
    """Centre and half axes in mm `(z, y, x)`, turned by `turn_deg` about z and tilted about y; only
    what lies above `floor_y` exists."""

    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    turn_deg: float = 0.0
    tilt_deg: float = 0.0
    floor_y: float = -math.inf


@dataclass
class Tube:
    """A straight vessel from `start` to `end` (mm, `(z, y, x)`) of the given radius."""

    start: np.ndarray
    end: np.ndarray
    radius: float


@dataclass
class Tumour:
    """Shape and enhancement of one tumour; HU figures are relative to liver unless named absolute."""

    shape: Ellipsoid
    roughness: float
    rim_mm: float
    arterial_rim: float
    arterial_core: float
    portal_rim: float
    portal_core: float
    necrosis_radius: float
    necrosis_hu: float


@dataclass
class Scene:
    """Everything random about one patient and one examination."""

    seed: int
    ranges: dict[str, Any]
    body: Ellipsoid
    cavity: Ellipsoid
    dome_mm: tuple[float, float]
    liver: list[Ellipsoid]
    organs: list[tuple[str, Ellipsoid]]
    ribs: list[tuple[float, float]]
    tubes: list[tuple[str, Tube]]
    tumours: list[Tumour]
    hu: dict[str, tuple[float, float]]
    rotation_deg: float
    scale: float
    proliferative: bool
    necrosis_share: float
    acquisition: dict[str, float] = field(default_factory=dict)
    cysts: list[tuple[Ellipsoid, float]] = field(default_factory=list)
    ascites: float = 0.0


def uniform(random: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(random.uniform(min(limits), max(limits)))


def between(random: np.random.Generator, *limits: tuple[float, float]) -> tuple[float, ...]:
    return tuple(uniform(random, limit) for limit in limits)


def compose(seed: int, ranges: dict[str, Any], minimum_tumours: int = 0) -> Scene:
    """Draws one patient. Same seed and ranges, same patient."""
    random = np.random.default_rng(seed)
    half_x, half_y = between(random, ranges["body_half_x_mm"], ranges["body_half_y_mm"])
    wall = uniform(random, ranges["fat_ring_mm"])
    body = Ellipsoid((0, 0, 0), (1e4, half_y, half_x))
    inner_y, inner_x = half_y - wall - uniform(random, (10, 20)), half_x - wall - uniform(random, (10, 20))
    cavity = Ellipsoid((0, uniform(random, (-2, 6)), 0), (1e4, inner_y, inner_x))
    liver = draw_liver(random, inner_y, inner_x, uniform(random, ranges["liver_ml"]))
    spine_y = -inner_y + uniform(random, (18, 30))
    gas_level = uniform(np.random.default_rng([seed, 9]), (-0.1, 0.9))
    scene = Scene(
        seed=seed,
        ranges=ranges,
        body=body,
        cavity=cavity,
        dome_mm=between(random, (-4, 4), (-25, -5)),
        liver=liver,
        organs=draw_organs(random, inner_y, inner_x, spine_y, gas_level),
        ribs=[(uniform(random, (-4, 4)), uniform(random, (24, 32)))],
        tubes=draw_vessels(random, inner_y, spine_y, liver),
        tumours=[],
        hu=draw_enhancement(random, ranges),
        rotation_deg=uniform(random, ranges["rotation_deg"]),
        scale=uniform(random, (0.93, 1.07)),
        proliferative=bool(random.random() < 0.5),
        necrosis_share=0.0,
        acquisition=draw_acquisition(random, ranges),
    )
    low, high = ranges["tumours"]
    count = int(random.integers(max(low, minimum_tumours), high + 1))
    scene.tumours = [draw_tumour(random, scene) for _ in range(count)]
    if scene.tumours:
        scene.necrosis_share = float(np.mean([t.necrosis_radius**3 for t in scene.tumours]))
    if ranges["varied"]:
        vary(scene, np.random.default_rng([seed, 10]))
    return scene


def vary(scene: Scene, random: np.random.Generator) -> None:
    """Adds what the plain scenes leave out; draws nothing from their generator."""
    ranges = scene.ranges
    if random.random() < ranges["healthy_share"]:
        scene.tumours = []
    if random.random() < ranges["cyst_share"]:
        for _ in range(int(random.integers(1, 5))):
            radius = 2.5 * 8 ** random.random()
            shape = Ellipsoid(place_in_lobe(random, scene), tuple(radius * random.uniform(0.85, 1.15, 3)))
            scene.cysts.append((shape, uniform(random, (-4, 16))))
    if random.random() < ranges["ascites_share"]:
        scene.ascites = uniform(random, (0.04, 0.16))
    place = next(i for i, (material, _) in enumerate(scene.organs) if material == "heart")
    scene.organs[place + 1 : place + 1] = draw_chambers(random, scene.organs[place][1])
    # Without contrast medium everything stays near blood.
    if scene.hu["portal_vein"][0] == scene.hu["portal_vein"][1]:
        return
    liver = scene.hu["liver"][1]
    if random.random() < ranges["fatty_share"]:
        liver = uniform(random, (30, 80))
    relative = {"portal_vein": (5, 90), "hepatic_vein": (-15, 80), "ivc": (-10, 70), "spleen": (-15, 45)}
    levels = {name: liver + uniform(random, limits) for name, limits in relative.items()}
    for name, level in (levels | {"liver": liver}).items():
        scene.hu[name] = (scene.hu[name][0], level)
    for tumour in scene.tumours:
        if random.random() < 0.08:
            # Brighter than liver in the portal phase: no washout.
            tumour.portal_core, tumour.portal_rim = uniform(random, (18, 50)), uniform(random, (18, 50))
        elif random.random() < 0.4:
            # No rim of its own.
            tumour.portal_rim = tumour.portal_core


def draw_chambers(random: np.random.Generator, heart: Ellipsoid) -> list[tuple[str, Ellipsoid]]:
    """Blood inside the heart's wall, as bright as in the aorta or in the vein."""
    chambers = []
    for _ in range(int(random.integers(2, 5))):
        offset = random.normal(size=3)
        offset *= 0.45 / np.linalg.norm(offset)
        centre = tuple(np.array(heart.centre) + offset * np.array(heart.half))
        half = tuple(np.array(heart.half) * random.uniform(0.3, 0.5, 3))
        chambers.append((str(random.choice(["aorta", "ivc"])), Ellipsoid(centre, half, uniform(random, (-40, 40)))))
    return chambers


def place_in_lobe(random: np.random.Generator, scene: Scene) -> tuple[float, ...]:
    """A point somewhere in a lobe."""
    lobe = scene.liver[int(random.choice(3, p=[0.6, 0.25, 0.15]))]
    direction = random.normal(size=3)
    direction *= random.random() ** (1 / 3) * 0.85 / np.linalg.norm(direction)
    return tuple(np.array(lobe.centre) + direction * np.array(lobe.half))


def draw_liver(
    random: np.random.Generator, inner_y: float, inner_x: float, volume_ml: float
) -> list[Ellipsoid]:
    """Right lobe, left lobe and a bridge, sized so that their union is roughly `volume_ml`."""
    size = (volume_ml / 1400) ** (1 / 3)
    right_half = np.array(between(random, (78, 105), (66, 88), (58, 76))) * size
    right = Ellipsoid(
        (-right_half[0] * uniform(random, (0.78, 0.95)), uniform(random, (-14, 8)),
         inner_x - right_half[2] * uniform(random, (0.85, 1.0))),
        tuple(right_half),
        uniform(random, (-20, 20)),
        uniform(random, (-18, 18)),
    )
    left_half = np.array(between(random, (28, 48), (26, 42), (60, 95))) * size
    left = Ellipsoid(
        (right.centre[0] * uniform(random, (0.45, 0.8)), inner_y * uniform(random, (0.3, 0.55)),
         uniform(random, (-10, 35))),
        tuple(left_half),
        uniform(random, (-15, 25)),
        uniform(random, (-15, 20)),
    )
    bridge = Ellipsoid(
        tuple((np.array(right.centre) + np.array(left.centre)) / 2),
        tuple(np.array(between(random, (35, 55), (40, 55), (40, 60))) * size),
        uniform(random, (-20, 20)),
    )
    return [right, left, bridge]


def draw_organs(
    random: np.random.Generator, inner_y: float, inner_x: float, spine_y: float, gas_level: float
) -> list[tuple[str, Ellipsoid]]:
    """Everything but liver and vessels, in painting order. Gas fills the stomach above `gas_level`,
    -1 (bottom) to 1."""
    organs: list[tuple[str, Ellipsoid]] = []

    def add(material: str, *limits: tuple[float, float], turn: float = 0.0, tilt: float = 0.0):
        drawn = between(random, *limits)
        organs.append((material, Ellipsoid(drawn[:3], drawn[3:], turn, tilt)))

    left = -inner_x
    for side in (-1, 1):
        x = side * uniform(random, (34, 46))
        add("muscle", (-280, -240), (spine_y - 4, spine_y + 8), (x, x), (120, 140), (16, 24), (16, 24))
        add("muscle", (-420, -360), (-60, -30), (side * 100, side * 80), (90, 130), (60, 80), (30, 45),
            turn=side * uniform(random, (20, 50)))
        add("cortex", (-420, -350), (-40, -10), (side * 105, side * 90), (80, 110), (50, 70), (7, 12),
            turn=side * uniform(random, (20, 50)))
        organs.append(("marrow", Ellipsoid(organs[-1][1].centre, tuple(0.85 * h for h in organs[-1][1].half),
                                           organs[-1][1].turn_deg)))
    for _ in range(int(random.integers(25, 60))):
        draw_bowel(random, organs, inner_y, inner_x)
    add("fluid", (-450, -390), (20, 50), (-15, 15), (35, 55), (30, 50), (35, 60))
    add("heart", (25, 50), (10, 45), (-35, 5), (35, 65), (40, 65), (45, 70), turn=uniform(random, (-30, 30)))
    add("pancreas", (-110, -80), (spine_y + 45, spine_y + 65), (-30, 20), (10, 18), (9, 16), (45, 70))
    spleen_turn = uniform(random, (-40, 10))
    add("spleen", (-85, -35), (-50, -15), (left + 22, left + 42), (40, 65), (35, 55), (20, 34), turn=spleen_turn)
    add("stomach_wall", (-90, -40), (0, 45), (left + 45, left + 85), (45, 70), (35, 55), (35, 55),
        turn=uniform(random, (-30, 30)))
    organs.append((str(random.choice(["fluid", "fluid", "soft", "bowel_contrast", "gas"])), shrunk(organs[-1][1], 0.9)))
    inside = organs[-1][1]
    organs.append(("gas", replace(inside, floor_y=inside.centre[1] + gas_level * inside.half[1])))
    for side, height in ((-1, (-150, -110)), (1, (-165, -125))):
        x = side * uniform(random, (52, 68))
        add("kidney_cortex", height, (spine_y + 5, spine_y + 30), (x, x), (48, 62), (24, 32), (24, 32),
            turn=side * 30.0)
        organs.append(("kidney_medulla", shrunk(organs[-1][1], uniform(random, (0.55, 0.75)))))
    return organs


def draw_bowel(
    random: np.random.Generator, organs: list[tuple[str, Ellipsoid]], inner_y: float, inner_x: float
) -> None:
    """One loop somewhere below the liver: wall and content."""
    angle, radius = uniform(random, (0, 2 * math.pi)), math.sqrt(random.random()) * 0.8
    centre = (uniform(random, (-420, -110)), radius * math.sin(angle) * inner_y * 0.7 + 12,
              radius * math.cos(angle) * inner_x)
    half = between(random, (8, 30), (8, 28), (10, 40))
    turns = between(random, (-90, 90), (-60, 60))
    content = str(random.choice(["gas", "fluid", "soft", "bowel_contrast", "bowel_wall"]))
    organs.append(("bowel_wall", Ellipsoid(centre, half, *turns)))
    organs.append((content, shrunk(organs[-1][1], 0.82)))


def shrunk(shape: Ellipsoid, factor: float) -> Ellipsoid:
    return Ellipsoid(shape.centre, tuple(h * factor for h in shape.half), shape.turn_deg, shape.tilt_deg)


def draw_vessels(
    random: np.random.Generator, inner_y: float, spine_y: float, liver: list[Ellipsoid]
) -> list[tuple[str, Tube]]:
    """Aorta, IVC, a portal tree and three hepatic veins."""
    tubes: list[tuple[str, Tube]] = []

    def add(material: str, start, end, radius: float):
        tubes.append((material, Tube(np.array(start, float), np.array(end, float), radius)))

    aorta_y, aorta_x = spine_y + uniform(random, (26, 34)), uniform(random, (-22, -8))
    add("aorta", (120, aorta_y, aorta_x), (-270, aorta_y + 4, aorta_x + 6), uniform(random, (9, 14)))
    cava_y, cava_x = spine_y + uniform(random, (26, 40)), uniform(random, (16, 30))
    add("ivc", (10, cava_y + 6, cava_x), (-280, cava_y - 6, cava_x - 4), uniform(random, (9, 15)))
    right, left, bridge = (np.array(part.centre) for part in liver)
    hilum = bridge + np.array(between(random, (-35, -15), (-30, -10), (-15, 5)))
    add("portal_vein", hilum + np.array([-55, 0, -45]), hilum, uniform(random, (6, 9)))
    for target in (right, left):
        fork = hilum + 0.55 * (target - hilum)
        add("portal_vein", hilum, fork, uniform(random, (4, 7)))
        for _ in range(5):
            twig = target + random.normal(0, 34, 3)
            add("portal_vein", fork, twig, uniform(random, (1.5, 3.5)))
    top = np.array([-8, cava_y + 10, cava_x])
    for target in (right, left, bridge):
        add("hepatic_vein", top, target + random.normal(0, 18, 3), uniform(random, (2.5, 5)))
    return tubes


def draw_enhancement(random: np.random.Generator, ranges: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """HU of every material in the arterial and portal phase."""
    table = {}
    for name, (a_low, a_high, p_low, p_high) in ENHANCEMENT.items():
        place = random.random()
        arterial, portal = a_low + place * (a_high - a_low), p_low + place * (p_high - p_low)
        if a_low != p_low:
            portal = uniform(random, (p_low, p_high))
        table[name] = (arterial, portal)
    table["liver"] = (table["liver"][0], uniform(random, ranges["liver_portal_hu"]))
    if random.random() < ranges["non_contrast_share"]:
        for name, limits in NON_CONTRAST.items():
            table[name] = (uniform(random, limits),) * 2
    return table


def draw_acquisition(random: np.random.Generator, ranges: dict[str, Any]) -> dict[str, float]:
    """Noise, blur and misregistration of the examination."""
    shift = between(random, *[ranges["phase_shift_mm"]] * 3)
    return {
        "noise_sd_hu": uniform(random, ranges["noise_sd_hu"]),
        "kernel_mm": uniform(random, ranges["kernel_mm"]),
        "slice_mm": uniform(random, ranges["slice_mm"]),
        "bias_hu": uniform(random, ranges["bias_hu"]),
        "warp_sd_mm": uniform(random, ranges["warp_sd_mm"]),
        "table": float(random.random() < 0.5),
        "shift_z": shift[0],
        "shift_y": shift[1],
        "shift_x": shift[2],
    }


def draw_tumour(random: np.random.Generator, scene: Scene) -> Tumour:
    """A tumour inside a lobe. Phenotype ranges overlap, and some tumours are drawn without a class."""
    ranges = scene.ranges
    lobe = scene.liver[int(random.choice(3, p=[0.6, 0.25, 0.15]))]
    direction = random.normal(size=3)
    direction *= random.random() ** (1 / 3) * 0.8 / np.linalg.norm(direction)
    centre = tuple(np.array(lobe.centre) + direction * np.array(lobe.half))
    low, high = ranges["diameter_mm"]
    diameter = low * (high / low) ** random.random()
    half = tuple(diameter / 2 * random.uniform(0.8, 1.2, 3))
    shape = Ellipsoid(centre, half, *between(random, (-90, 90), (-45, 45)))
    # 0 is a textbook non-proliferative tumour, 1 a textbook proliferative one.
    place = float(np.clip(random.normal(0.78 if scene.proliferative else 0.22, 0.2), 0, 1))
    if random.random() < ranges["ambiguous_share"]:
        place = float(random.random())

    def mix(plain: float, aggressive: float) -> float:
        return plain + place * (aggressive - plain)

    washout = uniform(random, ranges["washout_hu"])
    blush, rim = uniform(random, ranges["blush_hu"]), uniform(random, ranges["rim_hu"])
    portal_rims = between(random, ranges["portal_rim_plain_hu"], ranges["portal_rim_aggressive_hu"])
    return Tumour(
        shape=shape,
        roughness=mix(uniform(random, (0.03, 0.12)), uniform(random, (0.1, 0.3))),
        rim_mm=min(mix(uniform(random, (1, 3)), uniform(random, (3, 10))), diameter / 4),
        arterial_rim=mix(blush, rim),
        arterial_core=mix(blush, uniform(random, (-50, -10))),
        # A bright capsule or a rim that washes out: one between them would be invisible and no network's fault.
        portal_rim=portal_rims[place > 0.5],
        portal_core=mix(washout, uniform(random, (-50, -12))),
        necrosis_radius=mix(uniform(random, (0, 0.35)), uniform(random, (0.2, 0.75))),
        necrosis_hu=uniform(random, (25, 45)),
    )


def spline_weights(coordinates: Tensor, spacing_mm: float) -> Tensor:
    """`[n, knots]` cubic B-spline weights of a lattice over -700..700 mm."""
    knots = torch.arange(-700.0, 700.0 + spacing_mm, spacing_mm)
    distance = ((coordinates.float()[:, None] - knots[None]) / spacing_mm).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp(min=0) ** 3 / 6
    return torch.where(distance < 1, near, far)


def smooth_field(grid: Grid, random: np.random.Generator, spacing_mm: float, sd: float) -> Tensor:
    """`[z, y, x]` smooth random field, fixed in the world by the generator's state."""
    weights = [spline_weights(grid.axis(i), spacing_mm) for i in range(3)]
    knots = [w.shape[1] for w in weights]
    lattice = torch.from_numpy(random.standard_normal(knots).astype(np.float32))
    out = torch.einsum("abc,xc->abx", lattice, weights[2])
    out = torch.einsum("abx,yb->ayx", out, weights[1])
    # A cubic B-spline averages the lattice; 0.33 is the sd that is left of unit noise in 3-D.
    return torch.einsum("ayx,za->zyx", out, weights[0]) * (sd / 0.33)


class Canvas:
    """A grid with its warped coordinates; paints shapes into a material map."""

    def __init__(self, scene: Scene, grid: Grid, shift_mm: tuple[float, float, float] = (0, 0, 0)):
        self.grid = grid
        random = np.random.default_rng([scene.seed, 1])
        sd = scene.acquisition["warp_sd_mm"]
        angle = math.radians(scene.rotation_deg)
        cosine, sine = math.cos(angle), math.sin(angle)
        z, y, x = (grid.axis(i) + shift_mm[i] for i in range(3))
        z, y, x = z[:, None, None] / scene.scale, y[None, :, None] / scene.scale, x[None, None] / scene.scale
        turned = (z, cosine * y - sine * x, sine * y + cosine * x)
        self.q = [axis + smooth_field(grid, random, 55.0, sd) for axis in turned]
        self.material = torch.zeros(grid.shape, dtype=torch.uint8)
        self.inverse = (cosine, sine, scene.scale, 3.5 * sd + 4)

    def box(self, centre: np.ndarray, radius: float) -> tuple[slice, ...]:
        """Index ranges that hold every voxel which the warp may bring within `radius` of `centre`."""
        cosine, sine, scale, margin = self.inverse
        z, y, x = centre
        place = (z * scale, (cosine * y + sine * x) * scale, (cosine * x - sine * y) * scale)
        reach = (radius + margin) * scale
        ranges = []
        for p, origin, step, count in zip(place, self.grid.origin_mm, self.grid.spacing_mm, self.grid.shape,
                                          strict=True):
            low, high = math.floor((p - reach - origin) / step), math.ceil((p + reach - origin) / step) + 1
            ranges.append(slice(min(max(low, 0), count), max(min(high, count), 0)))
        return tuple(ranges)

    def ellipsoid(self, shape: Ellipsoid, box: tuple[slice, ...] | None = None) -> tuple[tuple, Tensor]:
        """The box and, inside it, the normalised radius (1 on the surface)."""
        if box is None:
            box = self.box(np.array(shape.centre), max(shape.half) * 1.3)
        z, y, x = (axis[box] - c for axis, c in zip(self.q, shape.centre, strict=True))
        turn, tilt = math.radians(shape.turn_deg), math.radians(shape.tilt_deg)
        y, x = math.cos(turn) * y - math.sin(turn) * x, math.sin(turn) * y + math.cos(turn) * x
        z, x = math.cos(tilt) * z - math.sin(tilt) * x, math.sin(tilt) * z + math.cos(tilt) * x
        squared = (z / shape.half[0]) ** 2 + (y / shape.half[1]) ** 2 + (x / shape.half[2]) ** 2
        return box, torch.where(self.q[1][box] > shape.floor_y, squared.sqrt(), math.inf)

    def tube(self, tube: Tube) -> tuple[tuple, Tensor]:
        """The box and, inside it, the distance to the tube's axis in radii."""
        middle, along = (tube.start + tube.end) / 2, tube.end - tube.start
        length = float(np.linalg.norm(along))
        box = self.box(middle, length / 2 + tube.radius)
        offset = [axis[box] - s for axis, s in zip(self.q, tube.start, strict=True)]
        place = sum(o * a for o, a in zip(offset, along, strict=True)) / max(length**2, 1e-6)
        place = place.clamp(0, 1)
        squared = sum((o - place * a) ** 2 for o, a in zip(offset, along, strict=True))
        return box, squared.sqrt() / tube.radius

    def paint(self, material: str, box: tuple[slice, ...], inside: Tensor) -> None:
        view = self.material[box]
        view[inside] = MATERIALS.index(material)


def paint_trunk(canvas: Canvas, scene: Scene) -> Tensor:
    """Fat, wall, lungs, bones; returns the cavity's normalised radius."""
    whole = tuple(slice(0, n) for n in canvas.grid.shape)
    z, y, x = canvas.q
    _, skin = canvas.ellipsoid(scene.body, whole)
    _, inner = canvas.ellipsoid(scene.cavity, whole)
    wall = uniform(np.random.default_rng([scene.seed, 2]), (8, 18)) / scene.cavity.half[1]
    canvas.paint("fat", whole, skin < 1)
    canvas.paint("muscle", whole, (inner < 1 + wall) & (skin < 0.985))
    canvas.paint("fat", whole, inner < 1)
    phase, pitch = scene.ribs[0]
    slant = torch.remainder(z + phase - 0.35 * y, pitch) / pitch
    cage = (inner > 1.01) & (inner < 1 + 0.75 * wall) & (z > -170 - 0.5 * y)
    canvas.paint("cortex", whole, cage & (slant < 0.4) & (y < 0.8 * scene.cavity.half[1]))
    right, left = scene.dome_mm
    half = scene.cavity.half[2]
    top = torch.where(x > 0, torch.full_like(x, right), torch.full_like(x, left))
    fall = 55 * ((x.abs() / half - 0.5) ** 2 * 2 + (y / scene.cavity.half[1]) ** 2)
    above = z > top - fall
    canvas.paint("lung", whole, above & (inner < 0.99) & (x.abs() > 12))
    canvas.paint("soft", whole, above & (inner < 0.99) & (x.abs() <= 12))
    return torch.where(above, torch.full_like(inner, 9.0), inner)


def paint_spine(canvas: Canvas, scene: Scene) -> None:
    """Vertebral bodies with discs, posterior elements and back muscles."""
    whole = tuple(slice(0, n) for n in canvas.grid.shape)
    z, y, x = canvas.q
    y = y + scene.cavity.half[1] - 22
    back = ((x.abs() - 32) / 26) ** 2 + ((y + 12) / 22) ** 2
    canvas.paint("muscle", whole, back < 1)
    radius = torch.sqrt((x / 21) ** 2 + (y / 17) ** 2)
    canvas.paint("cortex", whole, radius < 1)
    canvas.paint("marrow", whole, radius < 0.88)
    canvas.paint("soft", whole, (radius < 1) & (torch.remainder(z, 34) < 7))
    canvas.paint("soft", whole, (x / 9) ** 2 + ((y + 25) / 8) ** 2 < 1)
    canvas.paint("cortex", whole, (x.abs() < 4) & (y < -32) & (y > -58) & (torch.remainder(z, 34) > 10))


def liver_mask(canvas: Canvas, scene: Scene, inner: Tensor, surface: float = 1.0) -> Tensor:
    """Union of the lobes with a rough surface, held inside the cavity and under the diaphragm; `surface`
    above 1 swells the lobes."""
    mask = torch.zeros(canvas.grid.shape, dtype=torch.bool)
    rough = smooth_field(canvas.grid, np.random.default_rng([scene.seed, 3]), 28.0, 0.06)
    for lobe in scene.liver:
        box, radius = canvas.ellipsoid(lobe)
        mask[box] |= (radius + rough[box] < surface) & (inner[box] < 0.985)
    return mask


def paint_materials(canvas: Canvas, scene: Scene) -> Tensor:
    """Paints everything but tumours; returns the liver mask."""
    inner = paint_trunk(canvas, scene)
    for material, shape in scene.organs:
        box, radius = canvas.ellipsoid(shape)
        allowed = inner[box] < 1 if material not in ("heart", "marrow", "cortex", "muscle") else radius < 9
        canvas.paint(material, box, (radius < 1) & allowed)
    paint_spine(canvas, scene)
    if scene.ascites:
        around = liver_mask(canvas, scene, inner, 1 + scene.ascites)
        canvas.material[around] = MATERIALS.index("fluid")
    liver = liver_mask(canvas, scene, inner)
    bone = canvas.material == MATERIALS.index("cortex")
    gland = [o for m, o in scene.organs if m == "kidney_cortex"]
    for kidney in gland:
        box, radius = canvas.ellipsoid(kidney)
        liver[box] &= radius > 1.02
    column = (canvas.q[2] / 46) ** 2 + ((canvas.q[1] + scene.cavity.half[1] - 15) / 46) ** 2
    liver &= ~bone & (column > 1)
    canvas.material[liver] = MATERIALS.index("liver")
    random = np.random.default_rng([scene.seed, 4])
    bridge = scene.liver[2]
    sac = Ellipsoid((scene.liver[0].centre[0] - uniform(random, (25, 60)), uniform(random, (15, 50)),
                     uniform(random, (30, 65))), between(random, (18, 34), (10, 18), (10, 18)))
    box, radius = canvas.ellipsoid(sac)
    wall = uniform(random, (0, 3)) / min(sac.half)
    canvas.paint("stomach_wall", box, (radius < 1) & (inner[box] < 1))
    canvas.paint("gallbladder", box, (radius < 1 - wall) & (inner[box] < 1))
    liver[box] &= radius >= 1
    for material, tube in scene.tubes:
        box, radius = canvas.tube(tube)
        hepatic = material in ("portal_vein", "hepatic_vein")
        inside = radius < 1
        if hepatic and tube.radius < 5.5:
            inside = inside & liver[box]
        canvas.paint(material, box, inside)
        if not hepatic:
            liver[box] &= ~inside
    return liver


def paint_texture(scene: Scene, grid: Grid, liver: Tensor, hu: list[Tensor]) -> None:
    """Liver is not even: a fine and a coarse mottling, and a slow change across the organ."""
    random = np.random.default_rng([scene.seed, 11])
    for spacing_mm, limits in ((5.0, (0, 7)), (22.0, (0, 6)), (90.0, (0, 6))):
        field_hu = smooth_field(grid, random, spacing_mm, uniform(random, limits))
        for volume in hu:
            volume[liver] += field_hu[liver]


def paint_cysts(canvas: Canvas, scene: Scene, liver: Tensor, hu: list[Tensor]) -> None:
    """Water in the liver, sharply bounded; its label stays liver."""
    for shape, level in scene.cysts:
        box, radius = canvas.ellipsoid(shape)
        if radius.numel():
            inside = (radius < 1) & liver[box]
            for volume in hu:
                volume[box][inside] = level


def paint_tumours(canvas: Canvas, scene: Scene, liver: Tensor, hu: list[Tensor]) -> Tensor:
    """Draws the tumours into the phases' HU maps; returns the tumour mask."""
    mask = torch.zeros(canvas.grid.shape, dtype=torch.bool)
    base = scene.hu["liver"]
    for index, tumour in enumerate(scene.tumours):
        box, radius = canvas.ellipsoid(tumour.shape)
        if radius.numel() == 0:
            continue
        size = float(np.mean(tumour.shape.half))
        rough = smooth_field(canvas.grid, np.random.default_rng([scene.seed, 5, index]), max(size * 0.6, 8.0),
                             tumour.roughness)
        radius = radius + rough[box]
        inside = (radius < 1) & liver[box]
        rim = radius > 1 - tumour.rim_mm / size
        core = radius < tumour.necrosis_radius
        levels = ((tumour.arterial_rim, tumour.arterial_core), (tumour.portal_rim, tumour.portal_core))
        for phase, (at_rim, at_core) in enumerate(levels):
            value = torch.where(rim, base[phase] + at_rim, base[phase] + at_core)
            value = torch.where(core, torch.full_like(value, tumour.necrosis_hu), value)
            value = value + 0.5 * rough[box] / max(tumour.roughness, 1e-3) * 8
            view = hu[phase][box]
            view[inside] = value[inside]
        mask[box] |= inside
    return mask


def blur(volume: Tensor, axis: int, sd_voxels: float) -> Tensor:
    """Gaussian along one axis, edges repeated."""
    if sd_voxels < 0.2:
        return volume
    reach = max(1, math.ceil(2.5 * sd_voxels))
    offsets = range(-reach, reach + 1)
    weights = np.exp(-0.5 * (np.array(offsets) / sd_voxels) ** 2)
    size = volume.shape[axis]
    out = torch.zeros_like(volume)
    for offset, weight in zip(offsets, weights / weights.sum(), strict=True):
        place = (torch.arange(size) + offset).clamp(0, size - 1)
        out.add_(volume.index_select(axis, place), alpha=float(weight))
    return out


def acquire(scene: Scene, grid: Grid, hu: Tensor, random: np.random.Generator) -> Tensor:
    """Blur by kernel and slice, correlated noise, bias."""
    settings = scene.acquisition
    in_plane = settings["kernel_mm"]
    along = max(settings["slice_mm"] / 2.8, in_plane)
    noise = torch.from_numpy(random.standard_normal(grid.shape).astype(np.float32))
    for axis, sd_mm in enumerate((along, in_plane, in_plane)):
        sd = sd_mm / grid.spacing_mm[axis]
        hu, noise = blur(hu, axis, sd), blur(noise, axis, 0.6 * sd)
    # A coarse voxel averages noise that the scanner's own voxel has.
    level = settings["noise_sd_hu"] * min(1.0, (2.0 / float(np.mean(grid.spacing_mm))) ** 0.75)
    return hu + noise * (level / noise.std().clamp(min=1e-3)) + settings["bias_hu"]


def render(scene: Scene, grid: Grid, phases: tuple[str, ...] = PHASES) -> tuple[Tensor, Tensor]:
    """HU `[phases, z, y, x]` float32 and labels `[z, y, x]` uint8 (on the portal position)."""
    canvas = Canvas(scene, grid)
    liver = paint_materials(canvas, scene)
    texture = smooth_field(grid, np.random.default_rng([scene.seed, 6]), 14.0, 5.0)
    if scene.acquisition["table"]:
        under = -scene.body.half[1] - 22
        slab = (grid.axis(1) < under + 8) & (grid.axis(1) > under)
        canvas.material[:, slab, :] = MATERIALS.index("table")
    hu = []
    for phase in range(len(PHASES)):
        levels = torch.tensor([scene.hu[name][phase] for name in MATERIALS])
        values = levels[canvas.material.long()]
        hu.append(values + torch.where(values > -300, texture, texture * 0))
    if scene.ranges["varied"]:
        paint_texture(scene, grid, liver, hu)
        paint_cysts(canvas, scene, liver, hu)
    tumour = paint_tumours(canvas, scene, liver, hu)
    label = liver.to(torch.uint8) + tumour.to(torch.uint8)
    images = []
    for phase in phases:
        index = PHASES.index(phase)
        volume = hu[index]
        if phase == "arterial":
            volume = displaced(volume, grid, scene)
        random = np.random.default_rng([scene.seed, 7, index])
        images.append(acquire(scene, grid, volume, random))
    return torch.stack(images), label


def displaced(volume: Tensor, grid: Grid, scene: Scene) -> Tensor:
    """The volume moved by the scene's misregistration, to the nearest voxel."""
    moves = [scene.acquisition[f"shift_{axis}"] / step for axis, step in zip("zyx", grid.spacing_mm, strict=True)]
    for axis, move in enumerate(moves):
        size = volume.shape[axis]
        volume = volume.index_select(axis, (torch.arange(size) + round(move)).clamp(0, size - 1))
    return volume


def overview_grid(scene: Scene, spacing_mm: float, random: np.random.Generator) -> Grid:
    """A whole-body field of view that starts and ends anywhere around the liver."""
    top, bottom = uniform(random, (-15, 90)), uniform(random, (-460, -150))
    if random.random() < 0.25:
        top = uniform(random, (-80, 0))
    if random.random() < 0.1:
        bottom = top - uniform(random, (50, 120))
    half_x = scene.body.half[2] * uniform(random, (0.96, 1.25))
    half_y = scene.body.half[1] * uniform(random, (0.98, 1.4))
    centre = ((top + bottom) / 2, uniform(random, (-14, 14)), uniform(random, (-14, 14)))
    shape = tuple(int(extent / spacing_mm) for extent in (top - bottom, 2 * half_y, 2 * half_x))
    return Grid.around(centre, spacing_mm, shape)


def organ_box(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper world corner (mm) of liver and tumour, from a 6 mm drawing."""
    grid = Grid.around((-90.0, 0.0, 20.0), 6.0, (48, 44, 60))
    canvas = Canvas(scene, grid)
    found = torch.nonzero(paint_materials(canvas, scene))
    if len(found) == 0:
        raise ValueError(f"phantom {scene.seed} has no liver")
    origin = np.array(grid.origin_mm)
    return origin + 6.0 * found.amin(0).numpy(), origin + 6.0 * found.amax(0).numpy()


def picture(seed: int, ranges: dict[str, Any], path: str) -> None:
    """Saves coronal and axial views of both phases with the label's outline."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    scene = compose(seed, ranges, minimum_tumours=1)
    grid = overview_grid(scene, 3.0, np.random.default_rng(seed))
    images, label = render(scene, grid)
    level = int(label.sum((1, 2)).argmax())
    row = int(label.sum((0, 2)).argmax())
    figure, axes = plt.subplots(2, 2, figsize=(11, 8))
    for column, phase in enumerate(PHASES):
        # x grows to the patient's right; radiologists see it on the left of the picture.
        for axis, view, mask in ((axes[0, column], images[column, level], label[level]),
                                 (axes[1, column], images[column, :, row], label[:, row])):
            axis.imshow(view.numpy(), cmap="gray", vmin=-120, vmax=240, origin="lower", aspect="equal")
            axis.contour(mask.numpy(), levels=[0.5, 1.5], colors=["lime", "red"], linewidths=0.7)
            axis.invert_xaxis()
            axis.set_title(phase)
    figure.tight_layout()
    figure.savefig(path, dpi=70)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ranges", choices=["train", "eval"], default="train")
    parser.add_argument("--picture", required=True)
    options = parser.parse_args()
    picture(options.seed, TRAIN_RANGES if options.ranges == "train" else EVAL_RANGES, options.picture)


if __name__ == "__main__":
    main()
