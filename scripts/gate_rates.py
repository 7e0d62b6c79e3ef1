#!/usr/bin/env python3
"""How often the gate refuses good studies, and how often it catches bad ones, on phantoms.

    scripts/gate_rates.py PROGRAM [--good N] [--bad N] [--preset demo] [--details FILE]

Good studies are phantoms of seeds 1 to N as `hcc-edge phantom` draws them, and some whose arterial image
lies 12 mm off. Bad ones are made of phantoms of seeds from 1001 on, each kind N times. Every study goes
through `hcc-edge process`. A good study that is scored passes; a bad one is caught when it is not scored,
and caught for its reason when one of the reasons expected of its kind is among those given. Prints a table
in Markdown; `--details` gets a line of JSON for every study. Needs nibabel
(scripts/requirements-convert.txt).
"""

import argparse
import collections
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy

FIRST_BAD_SEED = 1001
SHIFT_MM = 12.0
MISREGISTERED_MM = 40.0
GATE_VALUES = ("phase_similarity", "phase_shift_mm", "tumour_outside_fraction", "air_fraction")


class Study:
    """Both phases and the truth's labels, `[i, j, k]`, on one grid."""

    def __init__(self, folder):
        load = lambda name: nibabel.load(folder / name)
        self.images = {name: load(f"study/{name}.nii.gz") for name in ("arterial", "portal")}
        self.voxels = {
            name: numpy.asanyarray(image.dataobj).astype(numpy.int16)
            for name, image in self.images.items()
        }
        self.labels = numpy.asanyarray(load("truth/labels.nii.gz").dataobj)
        self.clinical = (folder / "study/clinical.json").read_bytes()
        self.affine = self.images["portal"].affine.copy()
        self.spacing = numpy.linalg.norm(self.affine[:3, :3], axis=0)

    def write(self, folder, voxels=None, affines=None):
        """Writes a study folder; voxels and affines by phase replace the phantom's."""
        folder.mkdir()
        for name, values in (voxels or self.voxels).items():
            affine = (affines or {}).get(name, self.affine)
            image = nibabel.Nifti1Image(values, affine)
            image.header.set_xyzt_units("mm")
            image.set_sform(affine, 1)
            image.set_qform(affine, 1)
            nibabel.save(image, folder / f"{name}.nii.gz")
        (folder / "clinical.json").write_bytes(self.clinical)

    def each(self, change):
        """Both phases through a function of voxels."""
        return {name: change(values) for name, values in self.voxels.items()}


def good(study, _):
    return {}


def moved(study, _):
    """The arterial image's grid 12 mm higher: the same bytes of voxels."""
    affine = study.affine.copy()
    affine[2, 3] += SHIFT_MM
    return {"affines": {"arterial": affine}}


def non_contrast(study, _):
    """Everything that contrast medium brightens, as blood and organs are without it."""
    plain = lambda hu: numpy.where((hu > 50) & (hu < 300), 50 + (hu - 50) // 10, hu)
    return {"voxels": study.each(lambda hu: plain(hu).astype(numpy.int16))}


def swapped(study, _):
    return {"voxels": {"arterial": study.voxels["portal"], "portal": study.voxels["arterial"]}}


def identical(study, _):
    return {"voxels": {"arterial": study.voxels["portal"], "portal": study.voxels["portal"]}}


def misregistered(study, _):
    """The patient of the arterial phase 40 mm higher on the same grid."""
    step = round(MISREGISTERED_MM / study.spacing[2])
    padded = numpy.pad(study.voxels["arterial"], ((0, 0), (0, 0), (step, 0)), mode="edge")
    return {"voxels": {**study.voxels, "arterial": padded[:, :, :-step]}}


def other_patient(study, other):
    return {"voxels": {**study.voxels, "arterial": other.voxels["arterial"]}}


def halved(study, _):
    return {"voxels": study.each(lambda hu: (hu // 2).astype(numpy.int16))}


def offset(study, _):
    return {"voxels": study.each(lambda hu: (hu + 1024).astype(numpy.int16))}


def unsigned(study, _):
    return {"voxels": study.each(lambda hu: hu.view(numpy.uint16))}


def kept(study, axis, keep):
    """Both phases cut along an axis; the affine follows."""
    index = [slice(None)] * 3
    index[axis] = keep
    affine = study.affine.copy()
    affine[:3, 3] += affine[:3, axis] * (keep.start or 0)
    voxels = study.each(lambda hu: numpy.ascontiguousarray(hu[tuple(index)]))
    return {"voxels": voxels, "affines": {name: affine for name in voxels}}


def place(study, axis, part):
    """The first plane along an axis with so much of the liver before it."""
    others = tuple(n for n in range(3) if n != axis)
    before = numpy.cumsum((study.labels > 0).sum(axis=others))
    return int(numpy.searchsorted(before, part * before[-1]))


def cut_above(study, _):
    return kept(study, 2, slice(0, place(study, 2, 0.5)))


def cut_below(study, _):
    return kept(study, 2, slice(place(study, 2, 0.5), None))


def cut_at_the_side(study, _):
    # In LPS order the first voxels lie at the patient's right, where the liver is: a quarter of it goes.
    return kept(study, 0, slice(place(study, 0, 0.25), None))


def chest(study, _):
    """The highest slices, lung and no liver, again and again."""
    free = numpy.flatnonzero((study.labels > 0).any(axis=(0, 1))).max() + 2
    depth = study.labels.shape[2]

    def repeated(hu):
        slices = hu[:, :, free:] if free < depth - 1 else hu[:, :, -2:]
        there_and_back = numpy.concatenate([slices, slices[:, :, ::-1]], axis=2)
        times = -(-depth // there_and_back.shape[2])
        return numpy.ascontiguousarray(numpy.tile(there_and_back, (1, 1, times))[:, :, :depth])

    return {"voxels": study.each(repeated)}


def legs(study, _):
    """Two thighs: skin, fat, muscle, femur, a vessel that is brighter in the arterial phase."""
    shape = study.labels.shape
    random = numpy.random.default_rng(int(study.labels.sum()))
    x, y = numpy.meshgrid(
        (numpy.arange(shape[0]) - shape[0] / 2) * study.spacing[0],
        (numpy.arange(shape[1]) - shape[1] / 2) * study.spacing[1],
        indexing="ij",
    )

    def drawn(vessel_hu):
        plane = numpy.full(shape[:2], -1000.0)
        for side in (-80, 80):
            from_centre = numpy.hypot(x - side, y)
            for radius, hu in ((72, 20), (69, -100), (58, 55), (15, 1100), (8, 50)):
                plane[from_centre < radius] = hu
            plane[numpy.hypot(x - side * 0.7, y - 25) < 6] = vessel_hu
        noise = random.normal(0, 11, shape)
        return numpy.round(plane[:, :, None] + noise).clip(-1024, 3071).astype(numpy.int16)

    return {"voxels": {"arterial": drawn(300), "portal": drawn(150)}}


Kind = collections.namedtuple("Kind", "name make expected")
GOOD = [
    Kind("phantom as drawn", good, ()),
    Kind("arterial image 12 mm off", moved, ()),
]
BAD = [
    Kind("no contrast medium", non_contrast, ("not_contrast_enhanced",)),
    Kind("phases swapped", swapped, ("phases_swapped",)),
    Kind("one phase twice", identical, ("phase_unclear",)),
    Kind("arterial phase 40 mm off", misregistered, ("phases_not_aligned",)),
    Kind("arterial phase of another patient", other_patient, ("phases_not_aligned",)),
    Kind("HU × 0.5", halved, ("implausible_hu",)),
    Kind("HU + 1024", offset, ("implausible_hu",)),
    Kind("HU read as unsigned", unsigned, ("implausible_hu",)),
    Kind("cut above", cut_above, ("liver_cut_off",)),
    Kind("cut below", cut_below, ("liver_cut_off",)),
    Kind("cut at the side", cut_at_the_side, ("liver_cut_off",)),
    Kind("chest", chest, ("no_liver",)),
    Kind("legs", legs, ("no_liver",)),
]


def processed(program, folder, out):
    """The result of a study, in the form of the JSON view."""
    command = [program, "process", str(folder), "--out", str(out), "--json"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode not in (0, 3, 4):
        raise SystemExit(f"hcc-edge process ended with {run.returncode}: {run.stderr}")
    return json.loads(run.stdout)["result"]


def phantom(program, seed, preset, folder):
    command = [program, "phantom", str(folder), "--seed", str(seed), "--preset", preset]
    subprocess.run(command, capture_output=True, check=True)
    return Study(folder)


def line_of(kind, seed, result):
    gate = {value["code"]: value["value_e3"] / 1e3 for value in result["gate"]}
    distances = result["pmn"]["distances_e6"] if result["pmn"] else []
    return {
        "kind": kind.name,
        "seed": seed,
        "status": result["status"],
        "reasons": [reason["code"] for reason in result["reasons"]],
        "nearest": min(distances) / 1e6 if distances else None,
        **{name: gate.get(name) for name in GATE_VALUES},
    }


def rows(lines, kinds):
    """The table, a row for each kind."""
    for kind in kinds:
        own = [line for line in lines if line["kind"] == kind.name]
        refused = [line for line in own if line["status"] != "ok"]
        given = collections.Counter(code for line in own for code in line["reasons"])
        for_its_reason = sum(any(code in kind.expected for code in line["reasons"]) for line in own)
        named = ", ".join(f"`{code}` {count}" for code, count in given.most_common())
        second = str(for_its_reason) if kind.expected else "–"
        yield f"| {kind.name} | {len(own)} | {len(refused)} | {second} | {named or '–'} |"


def measure(arguments, lines, note):
    """Makes and processes every study."""
    last = None
    seeds = range(1, arguments.good + 1), range(FIRST_BAD_SEED, FIRST_BAD_SEED + arguments.bad)
    for kinds, numbers in zip((GOOD, BAD), seeds):
        for seed in numbers:
            with tempfile.TemporaryDirectory() as folder:
                folder = Path(folder)
                study = phantom(arguments.program, seed, arguments.preset, folder / "phantom")
                # The phantoms as drawn are what is wanted most of; of the rest as many as of bad ones.
                wanted = kinds if seed <= arguments.bad or kinds is BAD else kinds[:1]
                for n, kind in enumerate(wanted):
                    study.write(folder / f"in{n}", **kind.make(study, last or study))
                    result = processed(arguments.program, folder / f"in{n}", folder / f"out{n}")
                    lines.append(line_of(kind, seed, result))
                    note(lines[-1])
                last = study


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("program", help="hcc-edge")
    parser.add_argument("--good", type=int, default=60, help="good studies as drawn")
    parser.add_argument("--bad", type=int, default=20, help="bad studies of each kind")
    parser.add_argument("--preset", default="demo", help="size of the phantoms")
    parser.add_argument("--details", type=Path, help="file for a line of JSON for every study")
    arguments = parser.parse_args()
    lines = []
    details = arguments.details.open("w") if arguments.details else None

    def note(line):
        if details:
            print(json.dumps(line), file=details, flush=True)

    measure(arguments, lines, note)
    print("| study | number | not scored | for its reason | reasons given |\n|---|---|---|---|---|")
    for row in rows(lines, GOOD + BAD):
        print(row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
