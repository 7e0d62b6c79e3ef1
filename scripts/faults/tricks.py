"""The cases of T10: what a scanner side, or somebody with access to the inbox, can put there.

Each case says how it comes into being and how it must end: `status:reason`, or LEFT_ALONE. The
names of folders and files are like those of patients; what lies outside of the inbox holds a
canary, and neither may be seen anywhere it does not belong.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PATIENT = "DOE^JANE_19610412"
LEFT_ALONE = "left alone"
# A sound image that shows no air is read to its last byte and refused for what it shows: proof that
# it came whole, in a twentieth of the time that an analysis takes.
GOOD = "unreadable:implausible_hu"
# A scan, without the other phase.
SCAN = "abstained:arterial_missing"
EMPTY, LINK = "failed:empty_study", "failed:symlink_refused"
MISMATCH, INCOMPLETE = "failed:marker_mismatch", "failed:incomplete"
NAMES_INVALID, DATA_INVALID = "failed:study_invalid", "failed:clinical_invalid"
AMBIGUOUS, NOT_READ, CUT = "failed:ambiguous_role", "failed:internal", "unreadable:truncated"
# A clinical.json that cannot be used does not keep the images from being looked at.
DATA_SEEN = "abstained:clinical_invalid"
IMAGE, DATA, NAMES = "portal.nii.gz", "clinical.json", "study.json"


@dataclass
class Tools:
    """What the cases are made from."""

    image: bytes  # a sound image that ends as GOOD, packed
    scan: bytes  # a scan that ends as SCAN, packed
    outside: Path  # a folder that is none of the device's business
    settle: float
    made: int = 0

    def clinical(self) -> bytes:
        """Clinical data unlike any other; the subject is as it should never be."""
        self.made += 1
        subject = f"{PATIENT}-{self.made}"
        return json.dumps({"schema": 1, "subject": subject, "age_years": 60, "ecog": 0}).encode()


# Does something to a folder, or to a name in the inbox.
Step = Callable[[Path, Tools], object]


@dataclass(frozen=True)
class Case:
    """A folder prepared beside the inbox in `steps`, or an `act` that works in the inbox itself."""

    name: str
    expected: tuple[str, ...]
    steps: tuple[Step, ...] = ()
    act: Step | None = None
    folder: bytes = b""  # the name in the inbox; made from the case's name unless given
    marker: bool = True
    needs: str = ""  # what the machine must have: "root" or "capabilities"

    @property
    def dropped_as(self) -> bytes:
        return self.folder or f"{PATIENT} {self.name}".encode()

    def prepare(self, staging: Path, tools: Tools) -> None:
        """Makes the folder that is moved into the inbox."""
        staging.mkdir()
        (staging / "clinical.json").write_bytes(tools.clinical())
        for step in self.steps:
            step(staging, tools)
        if self.marker and not os.path.lexists(staging / ".done"):
            (staging / ".done").touch()


def case(name: str, expected: str, *steps: Step, **more) -> Case:
    """A case with one expected end that is prepared beside the inbox."""
    return Case(name, (expected,), steps, **more)


def moving(name: str, act: Step, *expected: str) -> Case:
    """A case that takes its time in the inbox."""
    return Case(name, expected, act=act)


def good(folder: Path, tools: Tools) -> None:
    """A good image."""
    (folder / "portal.nii.gz").write_bytes(tools.image)


def scan(folder: Path, tools: Tools) -> None:
    """A scan."""
    (folder / "portal.nii.gz").write_bytes(tools.scan)


def good_as(name: str) -> Step:
    """A good image under another name."""
    return lambda folder, tools: (folder / name).write_bytes(tools.image)


def written(name: str, content: bytes | str) -> Step:
    """A file, beside nothing else."""
    raw = content.encode() if isinstance(content, str) else content
    return lambda folder, _tools: (folder / name).write_bytes(raw)


def link(name: str, target: str) -> Step:
    """A symbolic link; `target` is a name outside, an absolute path, or anything."""

    def make(folder: Path, tools: Tools) -> None:
        path = folder / name
        path.unlink(missing_ok=True)
        path.symlink_to(target if "/" in target else tools.outside / target)

    return make


def pipe(name: str) -> Step:
    def make(folder: Path, _tools: Tools) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return make


def listening(name: str) -> Step:
    """A socket; its path may be longer than the kernel takes, so it is made from inside."""

    def make(folder: Path, _tools: Tools) -> None:
        with socket.socket(socket.AF_UNIX) as server:
            directory = os.open(folder, os.O_RDONLY)
            server.bind(f"/proc/self/fd/{directory}/{name}")
            os.close(directory)

    return make


def device(name: str) -> Step:
    """The device of endless zeros."""
    return lambda folder, _tools: os.mknod(folder / name, 0o644 | stat.S_IFCHR, os.makedev(1, 5))


def hard_link(name: str, target: str) -> Step:
    return lambda folder, tools: os.link(tools.outside / target, folder / name)


def directory(*names: str) -> Step:
    def make(folder: Path, _tools: Tools) -> None:
        for name in names:
            (folder / name).mkdir(parents=True)

    return make


def without_clinical(folder: Path, _tools: Tools) -> None:
    (folder / "clinical.json").unlink()


def promise(**said) -> Step:
    """A marker; `sha256` is a name and a digest, where "right" stands for the image's."""

    def make(folder: Path, tools: Tools) -> None:
        right = hashlib.sha256(tools.image).hexdigest()
        text = json.dumps(said).replace("right", right).replace("RIGHT", right.upper())
        (folder / ".done").write_text(text)

    return make


def named(**phases) -> Step:
    """A study.json."""
    return written("study.json", json.dumps({"schema": 1, **phases}))


def mode(name: str, bits: int) -> Step:
    return lambda folder, _tools: (folder / name).chmod(bits)


def still_cases() -> list[Case]:
    """Cases that are moved in whole and then left alone."""
    return [*marker_cases(), *kind_cases(), *name_cases(), *content_cases()]


def marker_cases() -> list[Case]:
    """What a marker may say, be and get wrong."""
    zeros = "0" * 64
    return [
        case("marker empty", SCAN, scan),
        case("marker with the digest", GOOD, good, promise(files=2, sha256={IMAGE: "right"})),
        case("marker with it in capitals", GOOD, good, promise(sha256={IMAGE: "RIGHT"})),
        case("marker promises too many", INCOMPLETE, good, promise(files=3)),
        case("marker promises too few", MISMATCH, good, promise(files=1)),
        case("marker with a wrong digest", MISMATCH, good, promise(sha256={IMAGE: zeros})),
        case("marker of a missing file", INCOMPLETE, good, promise(sha256={"art.nii": zeros})),
        case("marker with a path", MISMATCH, good, promise(sha256={"../../x": zeros})),
        case("marker says aborted", INCOMPLETE, good, written(".done", '{"aborted": true}')),
        case("marker says open", INCOMPLETE, good, written(".done", '{"open": true}')),
        case("marker says not open", MISMATCH, good, written(".done", '{"open": false}')),
        case("marker is no JSON", MISMATCH, good, written(".done", "{")),
        case("marker of a mebibyte", MISMATCH, good, written(".done", b" " * (1 << 20))),
        case("marker deeply nested", MISMATCH, good, written(".done", "[" * 60_000)),
        case("marker is a link", MISMATCH, good, link(".done", "marker")),
        case("marker is a pipe", MISMATCH, good, pipe(".done")),
        case("marker is a folder", MISMATCH, good, directory(".done")),
        case("marker alone", EMPTY, without_clinical),
        case("nothing at all", EMPTY, without_clinical, marker=False),
        case("no marker", GOOD, good, marker=False),
    ]  # fmt: skip


def kind_cases() -> list[Case]:
    """What is no plain file, and what only looks like one."""
    deep = "/".join(["deeper"] * 60)
    return [
        case("image is a link to the outside", LINK, link(IMAGE, "image.nii.gz")),
        case("image is a link to shadow", LINK, link(IMAGE, "/etc/shadow")),
        case("image is a link to nowhere", LINK, link(IMAGE, "/nowhere")),
        case("image is a link to itself", LINK, link(IMAGE, "./portal.nii.gz")),
        case("image is a link to the key", LINK, link(IMAGE, "../../../keys/device.pk8")),
        case("data are a link", LINK, good, link(DATA, DATA)),
        case("names are a link", LINK, good, link(NAMES, NAMES)),
        case("another file is a link", LINK, good, link("notes.txt", "secret")),
        case("a hidden file is a link", GOOD, good, link(".notes", "secret")),
        case("image is a pipe", LINK, pipe(IMAGE)),
        case("data are a pipe", LINK, good, pipe(DATA)),
        case("names are a pipe", LINK, good, pipe(NAMES)),
        case("image is a socket", LINK, listening(IMAGE)),
        case("image is a device", LINK, device(IMAGE), needs="root"),
        case("data are a device", LINK, good, without_clinical, device(DATA), needs="root"),
        case("image is a hard link", GOOD, hard_link(IMAGE, "image.nii.gz")),
        case("image is a folder", EMPTY, directory(IMAGE)),
        case("nothing but folders", EMPTY, without_clinical, directory(IMAGE)),
        case("image in a folder inside", EMPTY, directory("x"), good_as("x/portal.nii.gz")),
        case("sixty folders inside", "failed:too_many_files", good, directory(deep)),
    ]  # fmt: skip


def name_cases() -> list[Case]:
    """Names that break terminals, paths, topics and texts."""
    long = PATIENT.encode() + b"x" * (255 - len(PATIENT))
    return [
        case("newline", EMPTY, folder=f"{PATIENT}\nERROR all is lost".encode()),
        case("escapes", EMPTY, folder=f"{PATIENT}\x1b[2J\x1b]0;owned\x07".encode()),
        case("255 bytes", EMPTY, folder=long),
        case("not UTF-8", EMPTY, folder=PATIENT.encode() + b"\xff\xfe\xc0\xaf"),
        case("a topic", EMPTY, folder=f"{PATIENT}+#$SYS".encode()),
        case("an option", EMPTY, folder=f"--config={PATIENT}".encode()),
        case("a command", EMPTY, folder=f"$(reboot);`reboot` {PATIENT}".encode()),
        case("JSON", EMPTY, folder=f'{PATIENT}","status":"ok"}}'.encode()),
        case("markup", GOOD, good, folder=f"<script>alert(1)<!-- {PATIENT}".encode()),
        case("right to left", EMPTY, folder=f"{PATIENT}\u202egpj.exe".encode()),
        case("a file like a patient", GOOD, good, written(f"{PATIENT}.nii.gz", b"x")),
        case("a file with a newline", GOOD, good, written(f"{PATIENT}\n.txt", b"x")),
        case("a file with escapes", GOOD, good, written(f"{PATIENT}\x1b[2J", b"x")),
        case("a file not UTF-8", GOOD, good, written(os.fsdecode(b"\xff\xfe"), b"x")),
        case("an image of 255 bytes", GOOD, good_as("portal-" + "x" * 241 + ".nii.gz")),
        case("a backslash path", GOOD, good, written("..\\..\\x", b"x")),
        case("two images", AMBIGUOUS, good, written("pv.nii.gz", b"x")),
        case("two images by case", AMBIGUOUS, good, written("PORTAL.NII.GZ", b"x")),
        case("two data by case", AMBIGUOUS, good, written("CLINICAL.JSON", b"{}")),
        case("hidden folder", LEFT_ALONE, good, folder=f".{PATIENT}".encode()),
        case("folder under way", LEFT_ALONE, good, folder=f"{PATIENT}.PART".encode()),
        case("folder of an editor", LEFT_ALONE, good, folder=f"{PATIENT}~".encode()),
    ]  # fmt: skip


def content_cases() -> list[Case]:
    """Contents of the small files, and files that cannot be read."""
    nested = "[" * 30_000
    twice, patient = '{"schema": 1, "ecog": 0, "ecog": 1}', f"{PATIENT}.nii.gz"
    return [
        case("image empty", CUT, written(IMAGE, b"")),
        case("data empty", DATA_SEEN, scan, written(DATA, b"")),
        case("data huge", DATA_INVALID, good, written(DATA, b" " * (1 << 20))),
        case("data nested", DATA_SEEN, scan, written(DATA, nested)),
        case("data not UTF-8", DATA_SEEN, scan, written(DATA, b'{"subject":"\xff"}')),
        case("data with a key twice", DATA_SEEN, scan, written(DATA, twice)),
        case("names a file above", NAMES_INVALID, good, named(portal="../image.nii.gz")),
        case("names an absolute file", NAMES_INVALID, good, named(portal="/etc/shadow")),
        case("names the folder above", NAMES_INVALID, good, named(portal="..")),
        case("names a missing file", NAMES_INVALID, good, named(portal="b.nii")),
        case("names one file twice", NAMES_INVALID, good, named(portal=IMAGE, arterial=IMAGE)),
        case("names no image", NAMES_INVALID, good, named(portal=DATA)),
        case("names with a NUL", NAMES_INVALID, good, named(portal="a\0.nii")),
        case("names are no JSON", NAMES_INVALID, good, written(NAMES, "{")),
        case("names nested", NAMES_INVALID, good, written(NAMES, nested)),
        case("names huge", NAMES_INVALID, good, written(NAMES, b" " * (1 << 20))),
        case("names a patient", GOOD, good_as(patient), named(portal=patient)),
        case("image that may not be read", NOT_READ, good, mode(IMAGE, 0), needs="capabilities"),
        case("data that may not be read", NOT_READ, good, mode(DATA, 0), needs="capabilities"),
    ]  # fmt: skip


# --- Cases that take their time in the inbox ----------------------------------------------------


def moving_cases() -> list[Case]:
    """Writers that are slow, die, come too early, and things that are no folders."""
    return [
        moving("slow writer", slow_writer, GOOD),
        moving("slow writer with a temporary name", slow_writer_with_temporary_name, GOOD),
        moving("writer that dies", writer_that_dies, CUT),
        moving("writer that dies with a temporary name", writer_that_dies_early, EMPTY),
        moving("writer that pauses too long", writer_that_pauses, CUT, INCOMPLETE, GOOD),
        moving("marker before the files", marker_first, EMPTY, CUT, INCOMPLETE, GOOD),
        moving("marker with a number before the files", marker_with_number_first, GOOD),
        moving("renamed away and back", away_and_back, GOOD),
        moving("renamed within the inbox", renamed_within, LEFT_ALONE),
        moving("removed while it waits", removed, LEFT_ALONE),
        moving("a plain file", lambda path, _tools: path.write_bytes(b"x"), LEFT_ALONE),
        moving("a pipe", lambda path, _tools: os.mkfifo(path), LEFT_ALONE),
        moving("a link to a study", lambda path, tools: path.symlink_to(tools.outside), LEFT_ALONE),
        moving("a link to nowhere", lambda path, _tools: path.symlink_to("/nowhere"), LEFT_ALONE),
        moving("a link to the inbox", lambda path, _tools: path.symlink_to("."), LEFT_ALONE),
    ]  # fmt: skip


def begin(path: Path, tools: Tools) -> Path:
    path.mkdir()
    (path / "clinical.json").write_bytes(tools.clinical())
    return path / "portal.nii.gz"


def in_pieces(file: Path, data: bytes, pieces: int, pause: float) -> None:
    """Writes a file piece by piece."""
    with file.open("wb", buffering=0) as out:
        for piece in range(pieces):
            if piece:
                time.sleep(pause)
            out.write(data[len(data) * piece // pieces : len(data) * (piece + 1) // pieces])


def slow_writer(path: Path, tools: Tools) -> None:
    """Several settling times long, but never quiet for one."""
    in_pieces(begin(path, tools), tools.image, 12, tools.settle / 4)


def slow_writer_with_temporary_name(path: Path, tools: Tools) -> None:
    image = begin(path, tools)
    part = image.with_name("portal.nii.gz.part")
    in_pieces(part, tools.image, 12, tools.settle / 4)
    part.rename(image)


def writer_that_dies(path: Path, tools: Tools) -> None:
    begin(path, tools).write_bytes(tools.image[: len(tools.image) // 2])


def writer_that_dies_early(path: Path, tools: Tools) -> None:
    path.mkdir()
    (path / "portal.nii.gz.part").write_bytes(tools.image[: len(tools.image) // 2])


def writer_that_pauses(path: Path, tools: Tools) -> None:
    """Quiet for longer than the settling time in the middle of the image: taken, and found cut off.
    The writer's descriptor leads to the claimed file, so the rest still arrives, and when the study
    had to wait for others it is whole after all."""
    in_pieces(begin(path, tools), tools.image, 2, 3 * tools.settle)


def marker_first(path: Path, tools: Tools) -> None:
    """A marker that promises nothing before there is anything to promise: how much is there when
    the folder is taken depends on how busy the device is."""
    path.mkdir()
    (path / ".done").touch()
    time.sleep(2 * tools.settle)
    try:
        (path / "clinical.json").write_bytes(tools.clinical())
        time.sleep(tools.settle)
        (path / "portal.nii.gz").write_bytes(tools.image)
    except FileNotFoundError:
        pass  # The folder was claimed, as its marker said.


def marker_with_number_first(path: Path, tools: Tools) -> None:
    path.mkdir()
    (path / ".done").write_text('{"files": 2}')
    time.sleep(2 * tools.settle)
    (path / "clinical.json").write_bytes(tools.clinical())
    time.sleep(2 * tools.settle)
    part = path / "portal.nii.gz.part"
    part.write_bytes(tools.image)
    part.rename(path / "portal.nii.gz")


def away_and_back(path: Path, tools: Tools) -> None:
    """Away again and again before it can have settled; then it stays."""
    begin(path, tools).write_bytes(tools.image)
    away = tools.outside.parent / f"away-{path.name}"
    for _ in range(6):
        time.sleep(tools.settle / 3)
        try:
            path.rename(away)
        except FileNotFoundError:
            return  # We slept for longer than we wanted, and it had settled.
        time.sleep(tools.settle / 3)
        away.rename(path)


def renamed_within(path: Path, tools: Tools) -> None:
    """Under the new name it is a study like any other."""
    begin(path, tools).write_bytes(tools.image)
    time.sleep(tools.settle / 2)
    path.rename(path.with_name(f"{path.name} renamed"))


def removed(path: Path, tools: Tools) -> None:
    begin(path, tools).write_bytes(tools.image)
    time.sleep(tools.settle / 2)
    shutil.rmtree(path)
