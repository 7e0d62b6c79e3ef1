"""Liver Dice on real labelled CT (TotalSegmentator's reference files; never committed).

Expects a folder with `example_ct.nii.gz` + `example_seg_fast_force_split.nii.gz` and
`example_ct_sm.nii.gz` + `example_seg.nii.gz`: non-contrast CT at 3 mm; label 5 is the liver. The labels
are another network's output, not manual.
"""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import onnxruntime as ort
from scipy import ndimage

from segmentation import BOX_MARGIN_MM, LOCALISER, TUMOUR, dice, predict

LIVER_LABEL = 5
FILES = {
    "example_ct": ("example_ct.nii.gz", "example_seg_fast_force_split.nii.gz"),
    "example_ct_sm": ("example_ct_sm.nii.gz", "example_seg.nii.gz"),
}


def load_zyx(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Array `[z, y, x]` in RAS+ directions and its spacing `(z, y, x)` in mm."""
    image = nibabel.as_closest_canonical(nibabel.load(path))
    spacing = np.array(image.header.get_zooms()[:3][::-1], float)
    return np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0), spacing


def cases(folder: Path | None) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Name to (HU, liver mask, spacing) for the files that are there; says what is missing."""
    found = {}
    for name, (image_file, label_file) in FILES.items():
        if folder is None or not (folder / image_file).exists() or not (folder / label_file).exists():
            print(f"real CT {name}: not measured, {image_file} or {label_file} is missing")
            continue
        hu, spacing = load_zyx(folder / image_file)
        label, _ = load_zyx(folder / label_file)
        found[name] = (hu, label == LIVER_LABEL, spacing)
    return found


def localiser_dice(network: ort.InferenceSession, folder: Path | None) -> dict[str, float]:
    """Liver Dice at 4 mm."""
    result = {}
    for name, (hu, liver, spacing) in cases(folder).items():
        found = predict(network, ndimage.zoom(hu, spacing / 4.0, order=1), LOCALISER) == 1
        wanted = ndimage.zoom(liver.astype(np.float32), spacing / 4.0, order=1) > 0.5
        result[name] = round(dice(found, wanted), 4)
    return result


def tumour_network_dice(network: ort.InferenceSession, folder: Path | None) -> dict[str, float]:
    """Liver (with tumour) Dice at 2 mm inside the labelled liver's box with its margin, and the volume
    wrongly called tumour in ml: these livers have no labelled tumour."""
    result = {}
    for name, (hu, liver, spacing) in cases(folder).items():
        places = np.argwhere(liver)
        margin = np.ceil(BOX_MARGIN_MM / spacing).astype(int)
        low, high = np.maximum(places.min(0) - margin, 0), places.max(0) + 1 + margin
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        found = predict(network, ndimage.zoom(hu[box], spacing / 2.0, order=1), TUMOUR)
        wanted = ndimage.zoom(liver[box].astype(np.float32), spacing / 2.0, order=1) > 0.5
        result[name] = round(dice(found > 0, wanted), 4)
        result[f"{name}_tumour_ml"] = round(float((found == 2).sum()) * 0.008, 1)
    return result
