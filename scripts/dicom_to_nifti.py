#!/usr/bin/env python3
"""Convert a folder of one CT series in DICOM to one NIfTI-1 file.

It shares no code with the program, whose DICOM reader is tested against it:

    scripts/dicom_to_nifti.py SERIES_FOLDER STUDY_FOLDER/portal.nii.gz

Values are whole HU, not clipped; padding is air. Slices are sorted by their position along the normal
of ImageOrientationPatient, never by InstanceNumber or SliceThickness; unequal spacing, missing or
duplicate positions are refused.
Needs pydicom, numpy and nibabel (scripts/requirements-convert.txt). Exit codes: 0 converted, 3 the
series is refused (the reason is on stderr), 66 the folder has no CT.
"""

import argparse
import sys
from pathlib import Path

import nibabel
import numpy
import pydicom

SPACING_TOLERANCE_MM = 0.2
AIR_HU = -1024
INT16 = numpy.iinfo(numpy.int16)
CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"


class SeriesRefused(Exception):
    """The files are no series that can become one volume."""


def read_slices(folder):
    """Every CT slice below `folder`, grouped by SeriesInstanceUID; the largest group wins."""
    series = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            dataset = pydicom.dcmread(path)
        except pydicom.errors.InvalidDicomError:
            continue
        if dataset.get("SOPClassUID") == CT_IMAGE_STORAGE:
            series.setdefault(dataset.get("SeriesInstanceUID"), []).append(dataset)
    return max(series.values(), key=len, default=[])


def numbers(dataset, keyword):
    """A multi-valued decimal attribute as floats."""
    value = dataset.get(keyword)
    if value is None:
        raise SeriesRefused(f"a slice has no {keyword}")
    return numpy.array([float(v) for v in value])


def sort_along_normal(slices):
    """Slices in order of their position along the normal, and those positions in millimetres."""
    orientation = numbers(slices[0], "ImageOrientationPatient")
    normal = numpy.cross(orientation[:3], orientation[3:])
    for dataset in slices:
        if not numpy.allclose(numbers(dataset, "ImageOrientationPatient"), orientation, atol=1e-4):
            raise SeriesRefused("the slices have different orientations")
    along = numpy.array([numbers(d, "ImagePositionPatient") @ normal for d in slices])
    order = numpy.argsort(along)
    return [slices[i] for i in order], along[order]


def equal_spacing(along):
    """The mean distance between slices in millimetres; refuses gaps and duplicates."""
    if len(along) < 2:
        raise SeriesRefused("one slice is no volume")
    steps = numpy.diff(along)
    usual = float(numpy.median(steps))
    worst = int(numpy.argmax(numpy.abs(steps - usual)))
    if usual <= 0 or abs(steps[worst] - usual) > SPACING_TOLERANCE_MM:
        raise SeriesRefused(
            f"slices are not equally spaced: {steps[worst]:.2f} mm after slice {worst}, "
            f"{usual:.2f} mm elsewhere"
        )
    return float(along[-1] - along[0]) / len(steps)


def affine_of(slices, spacing):
    """Voxel (column, row, slice) to RAS+ millimetres; DICOM is LPS, hence the two signs."""
    orientation = numbers(slices[0], "ImageOrientationPatient")
    row_mm, column_mm = numbers(slices[0], "PixelSpacing")
    affine = numpy.eye(4)
    affine[:3, 0] = orientation[:3] * column_mm
    affine[:3, 1] = orientation[3:] * row_mm
    affine[:3, 2] = numpy.cross(orientation[:3], orientation[3:]) * spacing
    affine[:3, 3] = numbers(slices[0], "ImagePositionPatient")
    return numpy.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def hounsfield(dataset):
    """One slice in HU, `[row, column]`, with padding as air."""
    stored = dataset.pixel_array.astype(numpy.float64)
    values = stored * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))
    padding = dataset.get("PixelPaddingValue")
    if padding is not None:
        values[stored == int(padding)] = AIR_HU
    # Halves away from zero.
    whole = numpy.trunc(values + numpy.copysign(0.5, values))
    return numpy.clip(whole, INT16.min, INT16.max).astype(numpy.int16)


def convert(folder, output):
    """Writes `output` and returns its shape `(columns, rows, slices)`."""
    slices = read_slices(folder)
    if not slices:
        raise FileNotFoundError(f"no CT slices below {folder}")
    slices, along = sort_along_normal(slices)
    spacing = equal_spacing(along)
    volume = numpy.stack([hounsfield(d).T for d in slices], axis=2)
    image = nibabel.Nifti1Image(volume, affine_of(slices, spacing))
    image.header.set_xyzt_units("mm")
    output.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, output)
    return volume.shape


def main():
    """Command line: series folder, output file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("series", type=Path, help="folder of DICOM files, searched recursively")
    parser.add_argument("output", type=Path, help="file to write, .nii or .nii.gz")
    arguments = parser.parse_args()
    try:
        shape = convert(arguments.series, arguments.output)
    except SeriesRefused as reason:
        print(f"{arguments.series}: {reason}", file=sys.stderr)
        return 3
    except FileNotFoundError as reason:
        print(reason, file=sys.stderr)
        return 66
    print(f"{arguments.output}: {shape[0]} x {shape[1]} x {shape[2]} voxels")
    return 0


if __name__ == "__main__":
    sys.exit(main())
