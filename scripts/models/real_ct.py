"""What the networks find in real CT, against labels and teachers; the files are never committed.

Reads `example_ct.nii.gz` (non-contrast, 3 mm) with `example_seg_fast_force_split.nii.gz`, `example_ct_sm.nii.gz` with
`example_seg.nii.gz` (its top 30 slices; label 5 is the liver, drawn by another network), `dcmqi.nii.gz` with
`dcmqi_seg.nii.gz` (three slices, liver drawn by hand; padded by repeating them) from one folder, and what
`real_sources.py` made of the portal-phase examination (`tcga.npz`: liver and mass by the teachers).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from scipy import ndimage

from real_sources import ORGANS, load_zyx, resample
from segmentation import BOX_MARGIN_MM, LOCALISER, TUMOUR, box_coverage, dice, predict

FILES = {
    "example_ct": ("example_ct.nii.gz", "example_seg_fast_force_split.nii.gz", 5),
    "example_ct_sm": ("example_ct_sm.nii.gz", "example_seg.nii.gz", 5),
    "dcmqi": ("dcmqi.nii.gz", "dcmqi_seg.nii.gz", 1),
}
FEWEST_SLICES_MM = 60.0


def scans(options: Any, target_mm: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name to (HU, label 0, 1, 2) at `target_mm`; says what is missing."""
    found = {}
    for name, (image_file, label_file, value) in FILES.items():
        folder = options.real_ct
        if folder is None or not (folder / image_file).exists() or not (folder / label_file).exists():
            print(f"real CT {name}: not measured, {image_file} or {label_file} is missing")
            continue
        hu, spacing = load_zyx(folder / image_file)
        liver = (load_zyx(folder / label_file)[0] == value).astype(np.float32)
        missing = max(int((FEWEST_SLICES_MM - hu.shape[0] * spacing[0]) / spacing[0] / 2), 0)
        hu, liver = (np.pad(v, ((missing, missing), (0, 0), (0, 0)), mode="edge") for v in (hu, liver))
        found[name] = (resample(hu, spacing, target_mm), (resample(liver, spacing, target_mm) > 0.5).astype(np.uint8))
    if (options.sources / "tcga.npz").exists():
        with np.load(options.sources / "tcga.npz") as stored:
            hu, organs = stored["hu"].astype(np.float32), stored["organs"]
        label = np.isin(organs, (ORGANS.index("liver"), ORGANS.index("tumour"))).astype(np.uint8)
        label += organs == ORGANS.index("tumour")
        two = np.full(3, 2.0)
        found["tcga"] = (hu, label) if target_mm == 2.0 else (
            resample(hu, two, target_mm), (resample(label > 0, two, target_mm) > 0.5).astype(np.uint8))
    return found


def localiser_figures(network: ort.InferenceSession, options: Any) -> dict[str, float]:
    """Liver Dice at 4 mm, and the share of the liver inside the box that is found."""
    result = {}
    for name, (hu, label) in scans(options, 4.0).items():
        found = predict(network, hu, LOCALISER) == 1
        result[f"{name}_liver"] = round(dice(found, label > 0), 4)
        result[f"{name}_in_box"] = round(box_coverage(found, label > 0), 4)
    return result


def tumour_figures(network: ort.InferenceSession, options: Any) -> dict[str, float]:
    """Liver (with tumour) Dice at 2 mm inside the labelled liver's box with its margin; the Dice of the mass, or
    where no tumour is labelled the volume wrongly called so, in ml."""
    result = {}
    for name, (hu, label) in scans(options, 2.0).items():
        places = np.argwhere(label > 0)
        margin = int(np.ceil(BOX_MARGIN_MM / 2.0))
        low, high = np.maximum(places.min(0) - margin, 0), places.max(0) + 1 + margin
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        found, wanted = largest_liver(predict(network, hu[box], TUMOUR)), label[box]
        result[f"{name}_liver"] = round(dice(found > 0, wanted > 0), 4)
        if (wanted == 2).any():
            result[f"{name}_tumour"] = round(dice(found == 2, wanted == 2), 4)
        result[f"{name}_tumour_ml"] = round(float((found == 2).sum()) * 0.008, 1)
    return result


def largest_liver(found: np.ndarray) -> np.ndarray:
    """Clears everything but the largest piece of liver and tumour together, as the appliance does."""
    parts, count = ndimage.label(found > 0)
    if count < 2:
        return found
    return np.where(parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:])), found, 0)
