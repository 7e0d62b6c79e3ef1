#!/usr/bin/env python3
"""Check the DICOM objects beside a result: segmentation.dcm, overview.dcm, measurements.dcm.

    scripts/check_dicom_output.py RESULT_FOLDER SOURCE_FOLDER

Everything is compared with something made another way: the segments with mask.nii.gz, voxel for voxel
in world space (once from the bits as pydicom reads them, once as highdicom puts them together), what
they refer to with the files of the source, the picture with overview.png, the numbers of the report
with result.json. dciodvfy, where it is installed, says whether the objects follow the standard; its
words count, its exit status does not tell. No name and no UID is printed. A result without a liver has
the picture alone; the source may lie in folders and hold other files.

Exit codes: 0 everything holds, 5 something does not, 66 a file is missing. Needs
scripts/requirements-dicom.txt.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import highdicom
import nibabel
import numpy
import pydicom
from PIL import Image

PICTURE = "overview.dcm"
FILES = ("segmentation.dcm", PICTURE, "measurements.dcm")
TOLERANCE_MM = 1e-3
NOT_HOLDING, NO_INPUT = 5, 66
# What all objects of a study share with its scan.
REMOVAL = ("PatientIdentityRemoved", "DeidentificationMethod")
IDENTITY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "SpecificCharacterSet",
    "QualityControlSubject",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
)
ABSTAINED = "The analysis abstained: "


class Account:
    """What was checked, and what does not hold."""

    def __init__(self):
        self.wrong = 0

    def check(self, holds, what):
        """One line for each thing looked at."""
        self.wrong += not holds
        print(f"{'ok   ' if holds else 'WRONG'} {what}")


class Study:
    """A result, the objects beside it, and the scan."""

    def __init__(self, result, source):
        self.folder = result
        view = json.loads((result / "result.json").read_text())
        self.view, self.sentences = view["result"], view["sentences"]
        others = any((result / name).exists() for name in FILES if name != PICTURE)
        names = FILES if others else (PICTURE,)
        self.objects = {name: pydicom.dcmread(result / name) for name in names}
        self.slices = source_slices(source)
        self.mask = nibabel.load(result / "mask.nii.gz")
        self.labels = numpy.asanyarray(self.mask.dataobj)

    @property
    def segmentation(self):
        """None beside a picture alone."""
        return self.objects.get("segmentation.dcm")

    def scan(self):
        """A file of the source series; a picture alone names none, and any CT stands for it."""
        if self.segmentation is None:
            found = (s for s in self.slices.values() if s.get("Modality") == "CT")
        else:
            series = self.segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID
            found = (s for s in self.slices.values() if s.get("SeriesInstanceUID") == series)
        return next(found, pydicom.Dataset())


def source_slices(folder):
    """The source's objects without their pixels, by instance; a DICOMDIR is none."""
    slices = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
        except pydicom.errors.InvalidDicomError:
            continue
        if "SOPInstanceUID" in dataset:
            slices[dataset.SOPInstanceUID] = dataset
    return slices


def check_standard(account, study):
    """dciodvfy knows every attribute of every module."""
    if shutil.which("dciodvfy") is None:
        print("NOT CHECKED HERE: the rules of the standard (dciodvfy of dicom3tools is not installed)")
        return
    for name in study.objects:
        run = subprocess.run(
            ["dciodvfy", study.folder / name], capture_output=True, text=True, check=False
        )
        said = (run.stderr + run.stdout).splitlines()
        errors = [line for line in said if line.startswith("Error")]
        # It names the kind of object it has looked at.
        looked = any(line.strip().isalnum() for line in said)
        account.check(looked and not errors, f"{name}: dciodvfy finds {len(errors)} errors")
        for line in errors:
            # What stands in angle brackets may be a value of the patient.
            print(f"      {line.split('<')[0].strip()}")


def removal_codes(dataset):
    """How the patient's identity was removed, in codes."""
    codes = dataset.get("DeidentificationMethodCodeSequence") or []
    words = ("CodeValue", "LongCodeValue", "URNCodeValue", "CodingSchemeDesignator", "CodeMeaning")
    items = [tuple(code.get(word) for word in words) for code in codes]
    # An item without a value, or without its meaning, is none (PS3.3 8.8).
    return [item for item in items if item[4] and (item[2] or (item[3] and (item[0] or item[1])))]


def check_identity(account, study):
    """The objects belong to the scan's patient and study, and are objects of their own."""
    scan = study.scan()
    in_use = set(study.slices) | {s.get("SeriesInstanceUID") for s in study.slices.values()}
    own = []
    for name, dataset in study.objects.items():
        # The picture may show a name, whatever was done to the scan.
        copied = [word for word in IDENTITY if name != PICTURE or word not in REMOVAL]
        same = all(str(dataset.get(word, "")) == str(scan.get(word, "")) for word in copied)
        if name == PICTURE:
            same = same and dataset.PatientIdentityRemoved == "NO"
        same = same and removal_codes(dataset) == ([] if name == PICTURE else removal_codes(scan))
        account.check(same, f"{name}: patient and study are those of the scan")
        own += [dataset.SOPInstanceUID, dataset.SeriesInstanceUID]
        account.check(
            "hcc-edge" in dataset.SeriesDescription and 9001 <= dataset.SeriesNumber <= 9003,
            f"{name}: the series says who made it",
        )
    account.check(
        len(set(own)) == len(own) and not in_use & set(own), "UIDs are their own, and derived ones"
    )
    account.check(all(uid.startswith("2.25.") for uid in own), "UIDs have the form 2.25.<number>")


def voxels_of(study, affine, indices):
    """Voxels of the mask at the places that `affine` (LPS) gives to `indices`, and how far off they are."""
    places = numpy.column_stack([indices, numpy.ones(len(indices))]) @ affine.T
    places[:, :2] *= -1
    found = places @ numpy.linalg.inv(study.mask.affine).T
    voxels = numpy.rint(found[:, :3]).astype(int)
    return voxels, float(numpy.abs(found[:, :3] - voxels).max(initial=0.0))


def frame_affine(shared, frame, spacing_mm):
    """Voxel (row, column, 0) of a frame to LPS millimetres."""
    orientation = numpy.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    rows_mm, columns_mm = shared.PixelMeasuresSequence[0].PixelSpacing
    affine = numpy.eye(4)
    affine[:3, 0] = orientation[3:] * rows_mm
    affine[:3, 1] = orientation[:3] * columns_mm
    affine[:3, 2] = numpy.cross(orientation[:3], orientation[3:]) * spacing_mm
    affine[:3, 3] = numpy.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
    return affine


def segments_by_bits(study):
    """Each segment on the mask's grid, from the packed bits; and the largest distance to a voxel."""
    dataset = study.segmentation
    shared = dataset.SharedFunctionalGroupsSequence[0]
    count = dataset.Rows * dataset.Columns
    bits = numpy.unpackbits(numpy.frombuffer(dataset.PixelData, numpy.uint8), bitorder="little")
    segments = {s.SegmentNumber: numpy.zeros(study.labels.shape, bool) for s in dataset.SegmentSequence}
    worst = 0.0
    for n, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        picture = bits[n * count : (n + 1) * count].reshape(dataset.Rows, dataset.Columns)
        indices = numpy.argwhere(picture)
        indices = numpy.column_stack([indices, numpy.zeros(len(indices), int)])
        voxels, off = voxels_of(study, frame_affine(shared, frame, 1.0), indices)
        number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        segments[number][tuple(voxels.T)] = True
        worst = max(worst, off)
    return segments, worst


def segments_by_highdicom(study):
    """The same from the volumes that highdicom puts together."""
    segmentation = highdicom.seg.segread(study.folder / "segmentation.dcm")
    segments = {}
    for number in segmentation.segment_numbers:
        volume = segmentation.get_volume(segment_numbers=[number], combine_segments=False)
        voxels, _ = voxels_of(study, volume.affine, numpy.argwhere(volume.array[..., 0]))
        segments[int(number)] = numpy.zeros(study.labels.shape, bool)
        segments[int(number)][tuple(voxels.T)] = True
    return segments


def check_segments(account, study):
    """Liver, tumour and lesions are those of the mask."""
    segments, worst = segments_by_bits(study)
    account.check(worst < TOLERANCE_MM, f"segments lie on voxels of the mask ({worst:.6f} voxels off)")
    names = {s.SegmentNumber: s.SegmentLabel for s in study.segmentation.SegmentSequence}
    liver, tumour = study.labels > 0, study.labels == 2
    expected = {"Liver": liver, "Liver tumour": tumour}
    for number, label in names.items():
        voxels = segments[number]
        if label in expected:
            same = numpy.array_equal(voxels, expected[label])
            account.check(same, f"{label}: {int(voxels.sum())} voxels, each as in mask.nii.gz")
    again = segments_by_highdicom(study)
    account.check(
        again.keys() == segments.keys()
        and all(numpy.array_equal(again[n], segments[n]) for n in segments),
        f"highdicom puts the same {len(segments)} segments together",
    )
    check_lesions(account, study, [segments[n] for n, label in names.items() if label not in expected])


def check_lesions(account, study, lesions):
    """One segment per lesion of the result, apart from each other, of the volume it states."""
    total = sum((lesion.astype(int) for lesion in lesions), numpy.zeros(study.labels.shape, int))
    account.check(int(total.max(initial=0)) <= 1, "no voxel is of two lesions")
    account.check(bool((study.labels[total > 0] == 2).all()), "every voxel of a lesion is tumour")
    voxel_mm3 = abs(numpy.linalg.det(study.mask.affine[:3, :3]))
    found = [int(lesion.sum()) * voxel_mm3 for lesion in lesions]
    stated = [lesion["volume_mm3"] for lesion in study.view["lesions"]["list"]]
    # The affine of the mask is in single precision.
    same = len(found) == len(stated) and numpy.allclose(found, stated, rtol=1e-5, atol=0.6)
    account.check(same, f"{len(found)} lesions have the volumes of result.json")


def place_of(scan, reference):
    """Position and orientation of the slice that is referred to: a file, or a frame of one."""
    if "ReferencedFrameNumber" not in reference:
        return scan.ImagePositionPatient, scan.ImageOrientationPatient
    frame = scan.PerFrameFunctionalGroupsSequence[int(reference.ReferencedFrameNumber) - 1]
    shared = scan.SharedFunctionalGroupsSequence[0]
    holder = frame if "PlaneOrientationSequence" in frame else shared
    return (
        frame.PlanePositionSequence[0].ImagePositionPatient,
        holder.PlaneOrientationSequence[0].ImageOrientationPatient,
    )


def refers_to_its_place(study, frame, orientation):
    """Whether a frame's source image lies where the frame lies."""
    dataset = study.segmentation
    reference = frame.DerivationImageSequence[0].SourceImageSequence[0]
    scan = study.slices.get(reference.ReferencedSOPInstanceUID)
    if scan is None or reference.ReferencedSOPClassUID != scan.SOPClassUID:
        return False
    position, directions = place_of(scan, reference)
    own = frame.PlanePositionSequence[0].ImagePositionPatient
    return (
        numpy.allclose(own, position, atol=TOLERANCE_MM)
        and numpy.allclose(orientation, directions, atol=1e-6)
        and dataset.FrameOfReferenceUID == scan.get("FrameOfReferenceUID")
        and (dataset.Rows, dataset.Columns) == (scan.Rows, scan.Columns)
    )


def check_references(account, study):
    """Every frame refers to a slice of the source at its own place, in its coordinate system."""
    dataset = study.segmentation
    plane = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    placed = sum(
        refers_to_its_place(study, frame, plane.ImageOrientationPatient)
        for frame in dataset.PerFrameFunctionalGroupsSequence
    )
    frames = len(dataset.PerFrameFunctionalGroupsSequence)
    account.check(
        placed == frames == int(dataset.NumberOfFrames),
        f"{placed} of {frames} frames refer to the slice of the scan at their place",
    )
    series = dataset.ReferencedSeriesSequence[0]
    listed = {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence}
    files = study.slices.items()
    whole = {uid for uid, s in files if s.get("SeriesInstanceUID") == series.SeriesInstanceUID}
    account.check(listed == whole, f"the {len(listed)} objects listed are the source series")


def check_picture(account, study):
    """The capture shows the overview."""
    dataset = study.objects["overview.dcm"]
    with Image.open(study.folder / "overview.png") as picture:
        same = numpy.array_equal(dataset.pixel_array, numpy.asarray(picture.convert("RGB")))
    account.check(same, f"{dataset.Columns} x {dataset.Rows} pixels are those of overview.png")
    account.check(
        (dataset.BurnedInAnnotation, dataset.ConversionType) == ("YES", "WSD"),
        "the picture says that text is burnt in",
    )


def check_alone(account, study):
    """The picture stands alone only where there is nothing else to show."""
    liver = int((study.labels > 0).sum())
    account.check(liver == 0, f"the picture is alone, {liver} voxels of liver are in mask.nii.gz")


def stated_measurements(study):
    """What result.json says, by the label of the segment."""
    lesions = study.view["lesions"]
    stated = {"Liver": {"Volume": lesions["liver_mm3"]}}
    if lesions["tumour_mm3"] > 0:
        stated["Liver tumour"] = {"Volume": lesions["tumour_mm3"]}
    for n, lesion in enumerate(lesions["list"], 1):
        sizes = {"Long Axis": lesion["diameter_um"] / 1000, "Volume": lesion["volume_mm3"]}
        stated[f"Liver lesion {n}"] = sizes
    return stated


def check_report(account, study):
    """The report's groups have the result's numbers and point at their segments."""
    report = highdicom.sr.srread(study.folder / "measurements.dcm")
    units = {"Volume": "mm3", "Long Axis": "mm"}
    found, pointing = {}, 0
    names = {s.SegmentNumber: s.SegmentLabel for s in study.segmentation.SegmentSequence}
    groups = report.content.get_volumetric_roi_measurement_groups()
    for group in groups:
        numbers = group.get_measurements()
        measured = {m.name.meaning: m.value for m in numbers}
        in_units = all(units.get(m.name.meaning) == m.unit.value for m in numbers)
        found[group.tracking_identifier] = measured if in_units else None
        target = referenced_segment(group)
        pointing += (
            target.ReferencedSOPInstanceUID == study.segmentation.SOPInstanceUID
            and names.get(target.ReferencedSegmentNumber) == group.tracking_identifier
        )
    stated = stated_measurements(study)
    account.check(found == stated, f"{len(found)} groups have the numbers of result.json")
    account.check(pointing == len(groups), f"{pointing} groups point at the segment they measure")
    check_flags(account, study, report)


def referenced_segment(group):
    """The reference in a TID 1411 group's item "Referenced Segment"."""
    items = group[0].ContentSequence
    of_name = [i for i in items if i.ConceptNameCodeSequence[0].CodeValue == "121191"]
    return of_name[0].ReferencedSOPSequence[0]


def check_words(account, study):
    """What each object is, for those who read it."""
    for name, dataset in study.objects.items():
        comments = [
            item.TextValue
            for item in dataset.get("ContentSequence", [])
            if item.ConceptNameCodeSequence[0].CodeValue == "121106"
        ]
        said = comments if dataset.Modality == "SR" else dataset.get("ImageComments", "").splitlines()
        check_remarks(account, study, name, said)
    described = [(name, dataset.SeriesDescription) for name, dataset in study.objects.items()]
    if study.segmentation is not None:
        described.append(("segmentation.dcm", study.segmentation.get("ContentDescription", "")))
    words = {
        "abstained": study.view["status"] != "ok",
        "unverified": True,
        "demonstration": study.view["intended_use"] == "demonstration",
    }
    for name, description in described:
        holds = all((word in description) == expected for word, expected in words.items())
        account.check(holds and len(description) <= 64, f"{name}: a description says what it is")


def check_flags(account, study, report):
    """How far the report goes, and that nobody has verified it."""
    complete = "COMPLETE" if study.view["status"] == "ok" else "PARTIAL"
    account.check(
        (report.CompletionFlag, report.VerificationFlag) == (complete, "UNVERIFIED"),
        f"the report is {complete.lower()} and unverified",
    )


def check_remarks(account, study, name, said):
    """What an object is and why there is no score, in the words of the result."""
    whole = " ".join(said)
    account.check("Preliminary" in whole, f"{name}: says that it is preliminary")
    if study.view["intended_use"] == "demonstration":
        account.check("DEMONSTRATION" in whole, f"{name}: says that it is a demonstration")
    reasons = [line.removeprefix(ABSTAINED) for line in said if line.startswith(ABSTAINED)]
    # In the result a reason may be followed by its details.
    stated = study.sentences[: len(study.view["reasons"])]
    same = len(reasons) == len(stated) and all(map(str.startswith, stated, reasons))
    account.check(same, f"{name}: says {len(reasons)} reasons why the analysis abstained")
    zone = study.objects[name].get("TimezoneOffsetFromUTC")
    account.check(("in UTC" in whole) == (not zone), f"{name}: the time zone of its times is said")


def main():
    """Check one result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("result", type=Path, help="folder with the result and its objects")
    parser.add_argument("source", type=Path, help="folder with the DICOM files of the study")
    arguments = parser.parse_args()
    try:
        study = Study(arguments.result, arguments.source)
    except FileNotFoundError as error:
        print(f"{Path(error.filename).name} is missing", file=sys.stderr)
        return NO_INPUT
    account = Account()
    of_all = (check_standard, check_identity, check_words, check_picture)
    of_a_liver = (check_segments, check_references, check_report)
    for check in of_all + (of_a_liver if study.segmentation is not None else (check_alone,)):
        check(account, study)
    print("everything holds" if account.wrong == 0 else f"{account.wrong} do not hold")
    return NOT_HOLDING if account.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
