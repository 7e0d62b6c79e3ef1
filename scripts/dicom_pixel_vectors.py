#!/usr/bin/env python3
"""Make tests/vectors/dicom_pixels.json: small images of odd sizes, depths and signs, each encoded by
encoders that are not ours (DCMTK, OpenJPEG, pydicom), as whole DICOM files.

    scripts/dicom_pixel_vectors.py tests/vectors/dicom_pixels.json

Needs DCMTK's dcmcjpeg and dcmcjpls, and pydicom, numpy, pylibjpeg and pylibjpeg-openjpeg; it is run
by hand, when the vectors change.
"""

import argparse
import base64
import json
import subprocess
import tempfile
from pathlib import Path

import numpy
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

# Rows, columns, bits stored, signed. OpenJPEG cuts into five levels, which needs 32 pixels.
IMAGES = (
    (17, 23, 8, False),
    (33, 47, 10, False),
    (35, 33, 12, True),
    (16, 131, 13, True),
    (34, 41, 16, False),
    (41, 37, 16, True),
)
TOOLS = {
    "JPEG lossless, predictor 1": ["dcmcjpeg", "+e1"],
    "JPEG lossless, predictor 4": ["dcmcjpeg", "+el", "+sv", "4"],
    "JPEG lossless, predictor 7": ["dcmcjpeg", "+el", "+sv", "7"],
    "JPEG lossless in fragments": ["dcmcjpeg", "+e1", "+fs", "1"],
    "JPEG-LS": ["dcmcjpls"],
    "JPEG-LS in fragments": ["dcmcjpls", "+fs", "1"],
}
LIBRARIES = {"RLE": (RLELossless, "pydicom"), "JPEG 2000": (JPEG2000Lossless, "pylibjpeg")}


def image(rows, columns, bits, signed, rng):
    """Flat, smooth and noisy parts, and both ends of the range."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    y, x = numpy.mgrid[0:rows, 0:columns]
    values = low + (x * 3 + y * 2) * (high - low) // (3 * columns + 2 * rows)
    noise = rng.integers(low, high + 1, (rows, columns))
    values = numpy.where(y % 8 < 2, noise, values)
    values[rows // 2 : rows // 2 + 5, columns // 4 : columns // 2] = low
    values[3, 3:6], values[4, 2] = high, low
    return values


def dataset_of(values, bits, signed):
    """A CT slice whose HU lie within -1024..3071."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    slope = round(4095 / (high - low), 6)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4"
    dataset.Modality, dataset.PatientName, dataset.PatientID = "CT", "Nobody", "none"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2", "1.2.3"
    # Wide enough for any place that a test writes over it.
    dataset.ImagePositionPatient = ["-10", "-12", "000000.0"]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = ["0.7", "0.8"]
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.PixelRepresentation = int(signed)
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, round(-1024 - low * slope, 4)
    dataset.PixelData = values.astype("<i2" if signed else "<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def encodings(dataset, folder):
    """The file uncompressed, then as each encoder that takes it makes it."""
    plain = folder / "plain"
    dataset.save_as(plain, enforce_file_format=True)
    yield "uncompressed", plain.read_bytes()
    for name, command in TOOLS.items():
        subprocess.run([*command, plain, folder / "packed"], check=True)
        yield name, (folder / "packed").read_bytes()
    for name, (syntax, plugin) in LIBRARIES.items():
        # pydicom's RLE of eight bits in sixteen is half an image, and OpenJPEG needs 32 pixels.
        if min(dataset.Rows, dataset.Columns) < 32 or dataset.BitsStored == 8:
            continue
        copy = dataset_of(dataset.pixel_array, dataset.BitsStored, bool(dataset.PixelRepresentation))
        copy.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
        copy.save_as(folder / "copy", enforce_file_format=True)
        yield name, (folder / "copy").read_bytes()


def main():
    """Command line: the file to write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("output", type=Path, help="file to write")
    output = parser.parse_args().output
    rng = numpy.random.default_rng(1)
    images = []
    for rows, columns, bits, signed in IMAGES:
        dataset = dataset_of(image(rows, columns, bits, signed, rng), bits, signed)
        with tempfile.TemporaryDirectory() as folder:
            files = {
                name: base64.b64encode(data).decode()
                for name, data in encodings(dataset, Path(folder))
            }
        name = f"{rows} x {columns}, {bits} bits, {'signed' if signed else 'unsigned'}"
        images.append({"name": name, "files": files})
    output.write_text(json.dumps(images, indent=1) + "\n")


if __name__ == "__main__":
    main()
