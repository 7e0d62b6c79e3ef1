"""Real CT as raw material for training: HU and organ map at 2 mm, made once and kept in a folder.

    real_sources.py --real FOLDER --teachers FOLDER --out FOLDER

`--real` holds any of: `example_ct.nii.gz`, `example_seg_fast_force_split.nii.gz` and `example_seg.nii.gz`
(TotalSegmentator's reference files: a non-contrast CT with labels, and better labels of its top 30 slices)
and `tcga.nii.gz` (portal phase, no label; scripts/dicom_to_nifti.py makes it of the DICOM series).
`--teachers` holds the two networks of `teachers.py`, which label `tcga.nii.gz`. Nothing of this is ever
part of the repository.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nibabel
import numpy as np
import torch
from scipy import ndimage

import teachers

SPACING_MM = 2.0
# Classes of an organ map. Soft tissue without a label of its own is `other`.
ORGANS = ("other", "liver", "tumour", "spleen", "kidney", "stomach", "bowel", "gallbladder", "pancreas", "vessel",
          "portal_vein", "muscle", "bone", "lung", "heart")
# TotalSegmentator's class numbers (version 2).
TOTAL_CLASSES = {
    "spleen": [1], "kidney": [2, 3], "gallbladder": [4], "liver": [5], "stomach": [6, 15], "pancreas": [7, 8, 9],
    "lung": [10, 11, 12, 13, 14], "bowel": [18, 19, 20], "heart": [51], "vessel": [52, 63, 65, 66, 67, 68],
    "portal_vein": [64], "bone": [*range(25, 51), *range(91, 118)], "muscle": [*range(80, 90)],
}
TOTAL_TOP_SLICES = 30
TCGA_SLICES = 34
TUMOUR_BELOW_LIVER_HU = 9


def load_zyx(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Array `[z, y, x]` in RAS+ directions and its spacing `(z, y, x)` in mm."""
    image = nibabel.as_closest_canonical(nibabel.load(path))
    spacing = np.array(image.header.get_zooms()[:3][::-1], float)
    return np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0), spacing


def line_weights(count: int, spacing_mm: float, target_mm: float) -> np.ndarray:
    """`[new, old]` weights along one axis as the appliance takes them: linear between voxels, and the
    triangle widened to the new step where that is longer; new voxels tile the old range."""
    length = max(int(np.round(count * spacing_mm / target_mm)), 1)
    step = count / length
    places = (np.arange(length) + 0.5) * step - 0.5
    weights = np.maximum(1 - np.abs(places[:, None] - np.arange(count)[None]) / max(step, 1.0), 0)
    weights[places < 0, 0] += 1e-6
    weights[places > count - 1, -1] += 1e-6
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def resample(volume: np.ndarray, spacing_mm: np.ndarray, target_mm: float) -> np.ndarray:
    """`[z, y, x]` on cubic voxels of about `target_mm`."""
    for axis in range(3):
        weights = line_weights(volume.shape[axis], float(spacing_mm[axis]), target_mm)
        volume = np.moveaxis(np.tensordot(weights, volume.astype(np.float32), (1, axis)), 0, axis)
    return volume


def resample_labels(labels: np.ndarray, spacing_mm: np.ndarray, target_mm: float) -> np.ndarray:
    """The class with the largest share."""
    best, result = None, None
    for value in np.unique(labels):
        share = resample(labels == value, spacing_mm, target_mm)
        if best is None:
            best, result = share, np.full(share.shape, value, np.uint8)
        else:
            larger = share > best
            best[larger], result[larger] = share[larger], value
    return result


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected part."""
    parts, count = ndimage.label(mask)
    if count == 0:
        return mask
    return parts == 1 + int(np.argmax(ndimage.sum_labels(mask, parts, range(1, count + 1))))


def total_segmentator(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The non-contrast example with both label maps."""
    hu, spacing = load_zyx(folder / "example_ct.nii.gz")
    labels, _ = load_zyx(folder / "example_seg_fast_force_split.nii.gz")
    top, _ = load_zyx(folder / "example_seg.nii.gz")
    labels = labels.astype(np.uint8)
    labels[-TOTAL_TOP_SLICES:] = top.astype(np.uint8)
    organs = np.zeros(labels.shape, np.uint8)
    for name, numbers in TOTAL_CLASSES.items():
        organs[np.isin(labels, numbers)] = ORGANS.index(name)
    return resample(hu, spacing, SPACING_MM), resample_labels(organs, spacing, SPACING_MM)


def tcga(path: Path, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The portal-phase examination's upper slices; liver by both teachers, the mass by what is darker."""
    hu, spacing = load_zyx(path)
    hu = hu[-TCGA_SLICES:]
    obelisk = teachers.organs(teachers.Weights(folder / "obeliskhybrid_tcia_fold1.npz"), hu)
    kiunet = teachers.liver_and_tumour(teachers.Weights(folder / "kiunet_lits_3class.npz"), hu, tuple(spacing))
    obelisk, hu = np.stack([resample(p, spacing, SPACING_MM) for p in obelisk]), resample(hu, spacing, SPACING_MM)
    kiunet = np.stack([resample(p, spacing, SPACING_MM) for p in kiunet])
    found = obelisk.argmax(0)
    organs = np.zeros(hu.shape, np.uint8)
    names = {"spleen": "spleen", "pancreas": "pancreas", "left kidney": "kidney", "oesophagus": "stomach",
             "stomach": "stomach", "duodenum": "bowel"}
    for index, name in enumerate(teachers.OBELISK_ORGANS):
        if name in names:
            organs[found == index] = ORGANS.index(names[name])
    either = (obelisk[teachers.OBELISK_ORGANS.index("liver")] + kiunet[1] + kiunet[2]) / 2
    soft = (hu > -20) & (hu < 190)
    liver = largest(ndimage.binary_opening((either > 0.5) & soft & (organs == 0), iterations=2))
    liver = ndimage.binary_dilation(liver, iterations=2) & soft & (either > 0.4) & (organs == 0)
    liver = largest(ndimage.binary_closing(liver, iterations=3))
    liver = np.stack([ndimage.binary_fill_holes(plane) for plane in liver])
    smooth = ndimage.gaussian_filter(np.where(liver, hu, np.median(hu[liver])), 2.0)
    # The mode of the liver's histogram is liver; the mass is the largest part that is darker.
    counts, edges = np.histogram(smooth[ndimage.binary_erosion(liver, iterations=4)], 200, (20, 180))
    level = edges[int(np.argmax(ndimage.gaussian_filter1d(counts.astype(float), 3)))]
    dark = (smooth < level - TUMOUR_BELOW_LIVER_HU) & ndimage.binary_erosion(liver, iterations=2)
    mass = ndimage.binary_closing(largest(ndimage.binary_opening(dark, iterations=2)), iterations=4)
    mass = np.stack([ndimage.binary_fill_holes(plane) for plane in mass]) & liver
    organs[liver], organs[mass] = ORGANS.index("liver"), ORGANS.index("tumour")
    print(f"tcga: liver {level:.0f} HU, {liver.sum() * 0.008:.0f} ml with a mass of {mass.sum() * 0.008:.0f} ml")
    return hu, organs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--teachers", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(2)
    options.out.mkdir(parents=True, exist_ok=True)
    made = {}
    if (options.real / "example_ct.nii.gz").exists():
        made["total"] = total_segmentator(options.real)
    if (options.real / "tcga.nii.gz").exists():
        made["tcga"] = tcga(options.real / "tcga.nii.gz", options.teachers)
    for name, (hu, organs) in made.items():
        np.savez_compressed(options.out / f"{name}.npz", hu=np.clip(hu, -1024, 3071).astype(np.int16), organs=organs)
        counts = {organ: int((organs == i).sum() * SPACING_MM**3 / 1000) for i, organ in enumerate(ORGANS)}
        print(name, hu.shape, counts, "ml")


if __name__ == "__main__":
    main()
