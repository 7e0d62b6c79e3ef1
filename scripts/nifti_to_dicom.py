#!/usr/bin/env python3
"""Write a NIfTI-1 CT as one series of DICOM files, for tests of the DICOM reader.

    scripts/nifti_to_dicom.py portal.nii.gz FOLDER/portal --description "Portal venous" --study 7

It shares no code with the program. Faults can be built in: files in another order, a slice missing
or there twice, a tilted gantry. Series with the same `--study` share its UIDs and its frame of
reference. Needs pydicom, numpy and nibabel (scripts/requirements-convert.txt).
"""

import argparse
import random
from pathlib import Path

import nibabel
import numpy
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)
from pydicom.valuerep import format_number_as_ds

SYNTAXES = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "big": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
}
INTERCEPT = -1024
BITS_STORED = 12
# NIfTI is RAS+, DICOM is LPS+.
TO_LPS = numpy.diag([-1.0, -1.0, 1.0, 1.0])


def uid(*words):
    """The same UID for the same words."""
    return generate_uid(entropy_srcs=[str(word) for word in words])


def decimals(values):
    """Decimal strings of at most 16 characters."""
    return [format_number_as_ds(float(value)) for value in values]


def places(affine, count, tilt_degrees):
    """LPS position of each slice's first pixel; a tilt moves each along the columns."""
    step = affine[:3, 2]
    slant = numpy.tan(numpy.radians(tilt_degrees)) * numpy.linalg.norm(step)
    down = affine[:3, 1] / numpy.linalg.norm(affine[:3, 1])
    return [affine[:3, 3] + n * (step + slant * down) for n in range(count)]


def header(arguments, affine, rows, columns):
    """What all slices of the series share."""
    row_mm, column_mm = (numpy.linalg.norm(affine[:3, axis]) for axis in (1, 0))
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Modality = "CT"
    dataset.StudyDate = dataset.AcquisitionDate = "20240229"
    dataset.AcquisitionTime = arguments.time
    dataset.PatientName, dataset.PatientID = "Phantom^None", "none"
    dataset.StudyInstanceUID = uid(arguments.study)
    dataset.SeriesInstanceUID = uid(arguments.study, arguments.description, arguments.time)
    dataset.FrameOfReferenceUID = uid(arguments.study, "frame of reference")
    dataset.SeriesDescription = arguments.description
    if arguments.agent:
        dataset.ContrastBolusAgent = arguments.agent
    if arguments.bolus_time:
        dataset.ContrastBolusStartTime = arguments.bolus_time
    directions = [affine[:3, 0] / column_mm, affine[:3, 1] / row_mm]
    dataset.ImageOrientationPatient = decimals(numpy.concatenate(directions))
    dataset.PixelSpacing = decimals([row_mm, column_mm])
    dataset.Rows, dataset.Columns = rows, columns
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, BITS_STORED, BITS_STORED - 1
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = INTERCEPT, 1, "HU"
    return dataset


def with_pixels(dataset, stored, syntax):
    """`dataset` with the pixels of one slice, `[row, column]`, in a transfer syntax."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.PixelData = stored.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    if syntax == RLELossless:
        dataset.compress(syntax, encoding_plugin="pydicom", generate_instance_uid=False)
        return dataset
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = stored.astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def order_of(arguments, count):
    """The slices to write, in the order of their files."""
    order = list(range(count))
    if arguments.missing is not None:
        order.remove(arguments.missing)
    if arguments.twice is not None:
        order.append(arguments.twice)
    if arguments.order == "descending":
        order.reverse()
    elif arguments.order == "shuffled":
        random.Random(arguments.study).shuffle(order)
    return order


def convert(arguments):
    """Writes the series and returns how many files it has."""
    image = nibabel.load(arguments.image)
    hu = numpy.rint(image.get_fdata()).clip(INTERCEPT, INTERCEPT + 2**BITS_STORED - 1)
    stored = (hu - INTERCEPT).astype(numpy.uint16)
    affine = TO_LPS @ image.affine
    columns, rows, count = stored.shape
    at = places(affine, count, arguments.tilt)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    order = order_of(arguments, count)
    for number, n in enumerate(order):
        dataset = header(arguments, affine, rows, columns)
        dataset.SOPInstanceUID = uid(dataset.SeriesInstanceUID, number)
        dataset.InstanceNumber = number + 1
        dataset.ImagePositionPatient = decimals(at[n])
        with_pixels(dataset, stored[:, :, n].T, SYNTAXES[arguments.syntax])
        # Names without a suffix, as archives write them.
        name = f"{arguments.prefix}{number:05d}"
        dataset.save_as(arguments.folder / name, enforce_file_format=True)
    return len(order)


def main():
    """Command line: image, folder, what the series says of itself, faults."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("image", type=Path, help=".nii or .nii.gz, three dimensions, HU")
    parser.add_argument("folder", type=Path, help="folder for the files")
    parser.add_argument("--prefix", default="I", help="start of the files' names")
    parser.add_argument("--description", default="", help="SeriesDescription")
    parser.add_argument("--study", default="1", help="a word that names the study")
    parser.add_argument("--time", default="120000", help="AcquisitionTime")
    parser.add_argument("--agent", help="ContrastBolusAgent")
    parser.add_argument("--bolus-time", help="ContrastBolusStartTime")
    parser.add_argument("--syntax", choices=SYNTAXES, default="explicit", help="transfer syntax")
    orders = ("ascending", "descending", "shuffled")
    parser.add_argument("--order", choices=orders, default="ascending", help="order of the files")
    parser.add_argument("--missing", type=int, metavar="N", help="leave slice N out, from 0")
    parser.add_argument("--twice", type=int, metavar="N", help="write slice N twice")
    parser.add_argument("--tilt", type=float, default=0.0, metavar="DEGREES", help="gantry tilt")
    arguments = parser.parse_args()
    print(f"{arguments.folder}: {convert(arguments)} files")


if __name__ == "__main__":
    main()
