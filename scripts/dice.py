#!/usr/bin/env python3
"""Dice of the liver in a mask of ours against one label of a reference segmentation.

    scripts/dice.py done/<job>/mask.nii.gz REFERENCE.nii.gz LABEL

In the mask, 1 is liver and 2 tumour; both count as liver. LABEL is the liver's number in the reference
(TotalSegmentator: 5). Both must lie on the same grid: equal shape and directions. Where only their
origins differ, voxels are compared by index and the distance is told. Needs nibabel
(scripts/requirements-convert.txt). Exit codes: 0 compared, 3 no comparison is possible (the reason is on
stderr), 66 a file is missing.
"""

import argparse
import json
import sys
from pathlib import Path

import nibabel
import numpy

OUR_LIVER = (1, 2)
TOLERANCE_MM = 1e-3


class NotComparable(Exception):
    """The two files do not describe the same voxels."""


def origin_distance_mm(mask, reference):
    """Distance of the first voxels in millimetres; refuses grids of another shape or direction."""
    if mask.shape != reference.shape:
        raise NotComparable(f"the mask has {mask.shape} voxels, the reference {reference.shape}")
    if not numpy.allclose(mask.affine[:3, :3], reference.affine[:3, :3], atol=TOLERANCE_MM):
        raise NotComparable("the axes have other directions or spacings")
    return float(numpy.linalg.norm(mask.affine[:3, 3] - reference.affine[:3, 3]))


def dice(ours, theirs):
    """2 |A and B| / (|A| + |B|) of two boolean arrays."""
    total = int(ours.sum()) + int(theirs.sum())
    if total == 0:
        raise NotComparable("neither the mask nor the reference has a liver")
    return 2 * int((ours & theirs).sum()) / total


def compare(mask_path, reference_path, label):
    """The figures, and what is to be known about them."""
    mask, reference = nibabel.load(mask_path), nibabel.load(reference_path)
    apart_mm = origin_distance_mm(mask, reference)
    ours = numpy.isin(numpy.asanyarray(mask.dataobj), OUR_LIVER)
    theirs = numpy.asanyarray(reference.dataobj) == label
    voxel_ml = abs(numpy.linalg.det(mask.affine[:3, :3])) / 1000
    return {
        "dice": round(dice(ours, theirs), 4),
        "liver_ml": round(int(ours.sum()) * voxel_ml, 1),
        "reference_ml": round(int(theirs.sum()) * voxel_ml, 1),
        "origins_apart_mm": round(apart_mm, 3),
    }


def main():
    """Command line: mask, reference, label."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("mask", type=Path, help="mask.nii.gz of a result")
    parser.add_argument("reference", type=Path, help="reference segmentation on the same grid")
    parser.add_argument("label", type=int, help="number of the liver in the reference")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args()
    try:
        figures = compare(arguments.mask, arguments.reference, arguments.label)
    except NotComparable as reason:
        print(f"{arguments.mask}: {reason}", file=sys.stderr)
        return 3
    except FileNotFoundError as reason:
        print(reason, file=sys.stderr)
        return 66
    if figures["origins_apart_mm"] > TOLERANCE_MM:
        print(
            f"the affines disagree: the origins are {figures['origins_apart_mm']} mm apart; "
            "compared voxel by voxel",
            file=sys.stderr,
        )
    if arguments.json:
        print(json.dumps(figures))
    else:
        print("dice {dice:.4f}, liver {liver_ml} ml, reference {reference_ml} ml".format(**figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
