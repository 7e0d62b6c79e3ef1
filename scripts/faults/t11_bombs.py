"""T11: images that unpack, claim or contradict more than any scan: bombs, broken headers and gzip.

Every case has its expected end. Images that are legal although odd (a big-endian one, one that is
not packed although its name says so) must be read like the plain one: they show that a refusal of
the others is no accident. In between good studies must get their ordinary result.
"""

from __future__ import annotations

import gzip
import math
import struct
import time
from collections.abc import Callable
from pathlib import Path

import hostile
import process
import results
from hostile import changed, packed
from outcome import Context, Outcome
from rig import Rig
from studies import Maker, Study, phantom_images

ID = "T11"
TITLE = "bombs, broken headers and broken gzip streams as images"

GIB = 1 << 30
# How much the daemon, which never looks into an image, may grow over the whole test.
MOST_GROWTH_MIB = 5
PATIENCE = 120.0
WARM_UP = 10
# The long form runs a good study after every case, the short one after every so many.
SHORT_GOOD_EVERY = 12

# What becomes of the good study: its other phase is missing.
GOOD = "abstained:arterial_missing"

# A file's name and how to make it; the bytes themselves, or a function that writes the file.
Made = bytes | Callable[[Path], None]


def run(context: Context) -> Outcome:
    image = gzip.decompress(phantom_images(context.binary, context.folder)["portal.nii.gz"])
    cases = all_cases(image)
    maker, good = Maker("good"), packed(image)
    with Rig(context, {"mqtt.view": False}) as rig:
        rig.edge.start()
        rig.edge.wait_running()
        bench = Bench(context, rig, maker, good)
        # The first studies make the daemon's threads and buffers; it is measured after them.
        for _ in range(WARM_UP):
            bench.drop(None, "portal.nii.gz", b"no image")
        bench.good_study("before all")
        before = rig.edge.rss_mib()
        every = context.size(SHORT_GOOD_EVERY, 1)
        for number, (name, file_name, made, expected) in enumerate(cases):
            bench.case(name, file_name, made, expected)
            if number % every == 0:
                bench.good_study(name)
        bench.good_study("all")
        return bench.outcome(len(cases), before)


class Bench:
    """Runs one case after the other and keeps the figures."""

    def __init__(self, context: Context, rig: Rig, maker: Maker, good: bytes):
        self.context, self.rig, self.maker, self.good = context, rig, maker, good
        # `limits.worker_memory_mib`; a file beyond `limits.max_image_mib` need not be held at all.
        self.cap = 4 * GIB
        self.caps = {"2 GiB sparse": GIB}
        self.outcome_ = Outcome()
        self.slowest = (0.0, "none")
        self.largest = (0, "none")
        self.most_rss = 0.0

    def case(self, name: str, file_name: str, made: Made, expected: tuple[str, ...]) -> None:
        """Drops one hostile study, then a good one."""
        started = time.monotonic()
        finished = self.drop(f"case {name}", file_name, made)
        took = time.monotonic() - started
        self.slowest = max(self.slowest, (took, name))
        if finished is None:
            self.outcome_.lost += 1
            self.outcome_.require(False, f"{name}: no result after {PATIENCE} s")
            return
        self.judge(name, finished, expected)
        rss = self.rig.edge.rss_mib()
        self.most_rss = max(self.most_rss, rss)
        self.context.progress(f"{name}: {finished.end}, {took:.1f} s, daemon {rss:.1f} MiB")

    def judge(self, name: str, finished: results.Finished, expected: tuple[str, ...]) -> None:
        """Whether it ended as it should, within the worker's memory."""
        if finished.end not in expected:
            self.outcome_.wrong += 1
            wanted = " or ".join(expected)
            self.outcome_.require(False, f"{name}: {finished.end}, expected {wanted}")
        peak = finished.run["peak_rss_bytes"] or 0
        self.largest = max(self.largest, (peak, name))
        most = self.caps.get(name, self.cap)
        self.outcome_.require(
            peak < most, f"{name}: the worker held {peak >> 20} MiB, at most {most >> 20} are right"
        )

    def good_study(self, after: str) -> None:
        """An ordinary study gets its ordinary result."""
        finished = self.drop(None, "portal.nii.gz", self.good)
        end = finished.end if finished else "no result"
        self.outcome_.require(end == GOOD, f"the good study after {after}: {end}, expected {GOOD}")

    def drop(self, name: str | None, file_name: str, made: Made) -> results.Finished | None:
        """Drops a study of this one image and waits for its result."""
        ordinary = self.maker.with_images({})
        content = made if isinstance(made, bytes) else b""
        study = Study(name or ordinary.name, ordinary.files | {file_name: content})
        if isinstance(made, bytes):
            self.rig.edge.drop(study)
        else:
            self.drop_written(study, file_name, made)
        self.outcome_.injected += 1
        finished = results.wait_for(self.rig.edge, study.name, PATIENCE)
        self.outcome_.delivered += finished is not None
        if finished is not None:
            (finished.place / "input" / file_name).unlink(missing_ok=True)
        return finished

    def drop_written(self, study: Study, file_name: str, write: Callable[[Path], None]) -> None:
        """A study with a file that is too large to be held in memory."""
        staging = self.rig.edge.folder / "staging-large"
        staging.mkdir()
        for name, content in study.files.items():
            (staging / name).write_bytes(content)
        write(staging / file_name)
        staging.rename(self.rig.edge.inbox / study.name)

    def outcome(self, cases: int, rss_before: float) -> Outcome:
        """The figures; every result on disk must also have come to the judge."""
        out, rig = self.outcome_, self.rig
        out.accepted = len(rig.edge.claims())
        signed = {results.read(rig.edge, place).sha256 for place in rig.edge.places()}

        def all_came() -> bool:
            with rig.judge.lock:
                return signed <= {arrival.sha256 for arrival in rig.judge.arrivals}

        out.require(process.wait_until(all_came, PATIENCE), "results on disk that never came")
        out.require(rig.edge.is_alive(), f"the daemon ended:\n{rig.edge.log_tail()}")
        growth = self.most_rss - rss_before
        out.require(growth < MOST_GROWTH_MIB, f"the daemon grew by {growth:.1f} MiB")
        out.extras |= {
            "cases": cases,
            "slowest_s": f"{self.slowest[0]:.1f}",
            "slowest": self.slowest[1].replace(" ", "_"),
            "worker_peak_mib": self.largest[0] >> 20,
            "daemon_growth_mib": f"{growth:.1f}",
        }
        return out


def all_cases(image: bytes) -> list[tuple[str, str, Made, tuple[str, ...]]]:
    """Name, file name, content, expected ends."""
    groups = [bombs(image), gzip_cases(image), kinds(image), header_cases(image), legal(image)]
    out = []
    for group in groups:
        for name, (file_name, made, *ends) in group.items():
            expected = tuple(end if ":" in end else f"unreadable:{end}" for end in ends)
            out.append((name, file_name, made, expected))
    return out


def bombs(image: bytes) -> dict:
    """Files that are far larger than they look, or look far larger than they are."""
    head = image[:352]
    big = changed(head, dim1=1024, dim2=512, dim3=512)
    huge = changed(head, dim1=32767, dim2=32767, dim3=32767)
    return {
        "2 GiB of zeros behind a scan": (
            "portal.nii.gz", hostile.gzip_of_zeros(image, 2 * GIB), "corrupt"),
        "2 GiB of zeros": ("portal.nii.gz", hostile.gzip_of_zeros(b"", 2 * GIB), "not_nifti"),
        "half a GiB of voxels, all zero": (
            "portal.nii.gz", hostile.gzip_of_zeros(big, 352 + GIB // 2), "implausible_hu"),
        "half a GiB promised, little there": ("portal.nii.gz", packed(big + image), "truncated"),
        "32767 voxels each way": ("portal.nii.gz", packed(huge), "too_large"),
        "1024 voxels each way": (
            "portal.nii", changed(head, dim1=1024, dim2=1024, dim3=1024), "too_large"),
        "1 TB sparse": (
            "portal.nii", lambda path: hostile.sparse(path, image, 1 << 40), "failed:too_large"),
        "2 GiB sparse": (
            "portal.nii", lambda path: hostile.sparse(path, image, 2 * GIB), "too_large",
            "failed:too_large"),
        "256 MiB of zeros behind a scan, not packed": (
            "portal.nii", lambda path: hostile.sparse(path, image, GIB // 4), "corrupt"),
        "bytes behind the member": ("portal.nii.gz", packed(image) + bytes(1 << 20), "corrupt"),
        "one byte too many": ("portal.nii", image + b"\0", "corrupt"),
    }  # fmt: skip


def gzip_cases(image: bytes) -> dict:
    """Streams that are no single sound gzip member."""
    good = packed(image)
    wrong_crc = good[:-8] + bytes([good[-8] ^ 1]) + good[-7:]
    wrong_size = good[:-1] + bytes([good[-1] ^ 1])
    half = len(image) // 2
    long_name = b"\x1f\x8b\x08\x08" + good[4:10] + b"a" * (8 << 20) + b"\0" + good[10:]
    cases = {
        "nested gzip": (packed(good), "not_nifti"),
        "two members": (packed(image[:half]) + packed(image[half:]), "truncated", "corrupt"),
        "an empty second member": (good + packed(b""), "corrupt"),
        "cut in half": (good[: len(good) // 2], "truncated"),
        "trailer cut off": (good[:-8], "truncated"),
        "last byte cut off": (good[:-1], "truncated"),
        "wrong CRC": (wrong_crc, "corrupt"),
        "wrong ISIZE": (wrong_size, "corrupt"),
        "gzip head alone": (good[:10], "truncated"),
        "two bytes of gzip": (good[:2], "truncated", "corrupt", "not_nifti"),
        "unknown method": (good[:2] + b"\x07" + good[3:], "corrupt"),
        "reserved flags": (good[:3] + b"\xe0" + good[4:], "corrupt"),
        "a name of 8 MiB": (long_name, "corrupt"),
        "an invalid block": (good[:10] + b"\x07" + good[11:], "corrupt"),
    }
    return {name: ("portal.nii.gz", *case) for name, case in cases.items()}


def kinds(image: bytes) -> dict:
    """Files of another kind."""
    nifti_2 = struct.pack("<i", 540) + b"n+2\0\r\n\x1a\n" + bytes(528)
    pair = image[:344] + b"ni1\0" + image[348:352]
    return {
        "empty": ("portal.nii.gz", b"", "truncated", "not_nifti"),
        "three bytes": ("portal.nii", b"abc", "truncated", "not_nifti"),
        "text": ("portal.nii", b"see attachment\n" * 40, "not_nifti"),
        "NIfTI-2": ("portal.nii", nifti_2, "not_nifti"),
        "DICOM": ("portal.nii", bytes(128) + b"DICM" + bytes(400), "not_nifti"),
        "ANALYZE": ("portal.nii", image[:344] + bytes(4) + image[348:], "not_nifti"),
        "header of a pair": ("portal.nii", pair, "not_nifti"),
        "a pair": ("portal.hdr", pair, "failed:empty_study"),
        "header cut off": ("portal.nii", image[:200], "truncated"),
        "voxels cut off": ("portal.nii", image[:-2], "truncated"),
        "no voxels": ("portal.nii", image[:352], "truncated"),
    }


def header_cases(image: bytes) -> dict:
    """Headers that contradict the standard, themselves or the world."""
    inf, nan = math.inf, math.nan
    fields: dict[str, tuple[dict, str]] = {
        "negative dims": ({"dim1": -96}, "bad_header"),
        "a dim of zero": ({"dim2": 0}, "bad_header"),
        "dim[0] of 7": ({"dim0": 7}, "not_three_dimensional"),
        "dim[0] of 8": ({"dim0": 8}, "bad_header"),
        "dim[0] of -3": ({"dim0": -3}, "bad_header"),
        "two dimensions": ({"dim0": 2}, "not_three_dimensional"),
        "a series": ({"dim0": 4, "dim4": 9}, "not_three_dimensional"),
        "15 slices": ({"dim3": 15}, "too_few_slices"),
        "1025 voxels": ({"dim1": 1025}, "too_large"),
        "vox_offset NaN": ({"vox_offset": nan}, "bad_header"),
        "vox_offset infinite": ({"vox_offset": inf}, "bad_header"),
        "vox_offset negative": ({"vox_offset": -352.0}, "bad_header"),
        "vox_offset of zero": ({"vox_offset": 0.0}, "bad_header"),
        "vox_offset not whole": ({"vox_offset": 352.5}, "bad_header"),
        "vox_offset of 1e30": ({"vox_offset": 1e30}, "bad_header"),
        "slope NaN": ({"scl_slope": nan}, "bad_header"),
        "slope infinite": ({"scl_slope": -inf}, "bad_header"),
        "intercept NaN": ({"scl_inter": nan}, "bad_header"),
        "slope of 1e30": ({"scl_slope": 1e30}, "implausible_hu"),
        "bitpix of 8": ({"bitpix": 8}, "bad_header"),
        "datatype float32 with bitpix of 16": ({"datatype": 16}, "bad_header"),
        "datatype float32 of half the data": ({"datatype": 16, "bitpix": 32}, "truncated"),
        "datatype float64": ({"datatype": 64, "bitpix": 64}, "wrong_datatype"),
        "datatype int64": ({"datatype": 1024, "bitpix": 64}, "wrong_datatype"),
        "datatype of one bit": ({"datatype": 1, "bitpix": 1}, "wrong_datatype"),
        "datatype of zero": ({"datatype": 0}, "wrong_datatype"),
        "colour": ({"datatype": 128, "bitpix": 24}, "colour"),
        "spacing of zero": ({"pixdim1": 0.0, "srow_x0": 0.0}, "bad_spacing"),
        "spacing of 50 mm": ({"pixdim3": 50.0, "srow_z2": 50.0}, "bad_spacing"),
        # An affine that leads further than 100 m away is refused before its lengths are looked at.
        "spacing of 1e9": ({"pixdim3": 1e9, "srow_z2": 1e9}, "bad_header"),
        "spacing NaN": ({"pixdim2": nan, "srow_y1": nan}, "bad_header"),
        "spacing NaN in pixdim alone": ({"pixdim2": nan}, "bad_spacing"),
        "spacing contradicts the affine": ({"pixdim3": 1.0}, "bad_spacing"),
        "metres": ({"xyzt_units": 1}, "bad_spacing"),
        "neither sform nor qform": ({"sform_code": 0, "qform_code": 0}, "no_orientation"),
        "an unknown sform": ({"sform_code": 99}, "bad_header"),
        "no unit quaternion": ({"sform_code": 0, "quatern_b": 5.0}, "bad_header"),
        "patient a light year away": ({"srow_x3": 9.4e18}, "bad_header"),
    }
    out = {
        name: ("portal.nii", changed(image, **values), code)
        for name, (values, code) in fields.items()
    }
    # Two columns of the affine are the same direction; lengths and spacings agree.
    singular = bytearray(changed(image, srow_y1=0.0))
    struct.pack_into("<f", singular, 284, 3.3)
    out["singular affine"] = ("portal.nii", bytes(singular), "bad_header")
    count = (len(image) - 352) // 2
    all_nan = hostile.as_float(image, dict.fromkeys(range(count), nan))
    out["all NaN"] = ("portal.nii.gz", packed(all_nan), "not_finite")
    one = hostile.as_float(image, {count // 2: inf})
    out["one infinite voxel"] = ("portal.nii.gz", packed(one), "not_finite")
    positive = hostile.voxels(image, lambda hu: hu + 1024)
    out["no air"] = ("portal.nii.gz", packed(positive), "implausible_hu")
    return out


def legal(image: bytes) -> dict:
    """Odd, but the standard allows them: read like any other."""
    # One extension that claims to be zero bytes long; readers that walk along loop for ever.
    extended = changed(image[:348], vox_offset=416.0) + b"\1\0\0\0" + bytes(64) + image[352:]
    named = b"\x1f\x8b\x08\x08" + packed(image)[4:10] + b"portal.nii\0" + packed(image)[10:]
    return {
        "extension of no length": ("portal.nii", extended, GOOD),
        "extension promised, none there": (
            "portal.nii", image[:348] + b"\1\0\0\0" + image[352:], GOOD),
        "not packed although named so": ("portal.nii.gz", image, GOOD),
        "packed although not named so": ("portal.nii", packed(image), GOOD),
        "packed with a name": ("portal.nii.gz", named, GOOD),
        "big-endian": ("portal.nii", hostile.big_endian(image), GOOD),
        "slope of zero": ("portal.nii", changed(image, scl_slope=0.0), GOOD),
        "one volume of four dimensions": ("portal.nii", changed(image, dim0=4), GOOD),
    }  # fmt: skip
