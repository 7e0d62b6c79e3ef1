"""Model packages to tamper with: copies of those in the repository, signed anew where a test wants
a package that verifies, and one study that tells by its result which weights computed it.

    shelf = Shelf(binary, folder)            a writable copy of models/
    with shelf.changed() as files: ...       whatever is done to it is undone afterwards
    shelf.sign("pmn")                        with the demonstration key
    Bench(binary, folder).analyse(shelf)     Verdict: status, reasons, packages, what was computed
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import edge
from signing import verify
from studies import Maker, phantom_images

REPOSITORY = Path(__file__).resolve().parents[2] / "models"
MANIFEST, SIGNATURE, MODEL = "manifest.toml", "manifest.cose", "model.onnx"
# A result with one of these was computed.
ANSWERS = ("ok", "abstained", "unreadable")
PATIENCE = 120.0


class Shelf:
    """A folder of packages, `<name>/<version>`, one version of each."""

    def __init__(self, binary: Path, folder: Path, source: Path = REPOSITORY):
        self.binary, self.folder, self.source = binary, folder, source
        shutil.copytree(source, folder)

    def package(self, name: str) -> Path:
        """The folder of a package's one version."""
        (found,) = (self.folder / name).iterdir()
        return found

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if path.is_dir())

    def files(self, name: str) -> list[Path]:
        return sorted(path for path in self.package(name).rglob("*") if path.is_file())

    def digests(self) -> set[str]:
        """SHA-256 of every manifest: what a result calls its packages."""
        manifests = self.folder.glob(f"*/*/{MANIFEST}")
        return {hashlib.sha256(path.read_bytes()).hexdigest() for path in manifests}

    @contextlib.contextmanager
    def changed(self) -> Iterator[None]:
        """Whatever is done to the packages meanwhile is undone."""
        try:
            yield
        finally:
            shutil.rmtree(self.folder)
            shutil.copytree(self.source, self.folder)

    def sign(self, name: str, key: Path | None = None) -> None:
        """Signs a package as it lies there, with the demonstration key unless another is named."""
        key = key or self.folder / "demonstration.pk8"
        signed = edge.run(self.binary, "models", "sign", "--key", key, self.package(name))
        if signed.returncode != 0:
            raise RuntimeError(signed.stderr.decode())

    def raise_version(self, name: str, line: str = "") -> str:
        """Makes a package the next version, whose manifest has one more line; signs it."""
        folder = self.package(name)
        major, minor, patch = folder.name.split(".")
        version = f"{major}.{minor}.{int(patch) + 1}"
        manifest = folder / MANIFEST
        text = manifest.read_text().replace(f'"{folder.name}"', f'"{version}"', 1)
        more = line.format(version=version) + "\nlicence"
        manifest.write_text(text.replace("licence", more, 1))
        folder.rename(folder.parent / version)
        self.sign(name)
        return version


@dataclass(frozen=True)
class Verdict:
    """How one analysis ended."""

    status: str
    reasons: tuple[str, ...]
    models: frozenset[str]  # digests of the manifests it names
    computed: str  # SHA-256 over everything that the networks' weights change

    @property
    def inferred(self) -> bool:
        return self.status in ANSWERS

    @property
    def refused(self) -> bool:
        return self.status == "failed" and "model_refused" in self.reasons


NO_RESULT = Verdict("none", (), frozenset(), "")


class Bench:
    """One phantom study, analysed again and again by `hcc-edge process`."""

    def __init__(self, binary: Path, folder: Path):
        self.binary, self.folder, self.runs = binary, folder, 0
        self.maker, self.images = Maker("t21"), phantom_images(binary, folder, both=True)
        self.study = folder / "study"
        self.study.mkdir()
        self.renew()

    def renew(self) -> None:
        """Another study of the same images."""
        for name, content in self.maker.with_images(self.images).files.items():
            if not name.startswith("."):
                (self.study / name).write_bytes(content)

    def start(self, models: Path | None, *more) -> tuple[subprocess.Popen, Path]:
        """Begins an analysis; its process, and the folder for its result."""
        self.runs += 1
        out = self.folder / f"out-{self.runs}"
        command = [self.binary, "process", self.study, "--out", out, *more]
        command += [] if models is None else ["--models", models]
        with (self.folder / "process.log").open("ab") as log:
            child = subprocess.Popen(
                command,
                env=edge.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        return child, out

    def end(self, child: subprocess.Popen, out: Path) -> Verdict:
        """Waits for it; what it left is judged and removed."""
        child.wait(timeout=PATIENCE)
        ended = (out / "result.cose").exists()
        verdict = judge(out) if ended else NO_RESULT
        shutil.rmtree(out, ignore_errors=True)
        return verdict

    def analyse(self, shelf: Shelf) -> Verdict:
        return self.end(*self.start(shelf.folder))


def judge(place: Path) -> Verdict:
    """Reads the result in a folder, with the independent verifier and the trust store beside it."""
    trust = verify.read_trust((place / "trust.toml").read_text())
    result = verify.verify("result", (place / "result.cose").read_bytes(), trust)
    digest = hashlib.sha256()
    for name in ("pmn", "lesions"):
        digest.update(repr(result.get(name)).encode())
    mask = place / "mask.nii.gz"
    digest.update(mask.read_bytes() if mask.exists() else b"no mask")
    return Verdict(
        result["status"],
        tuple(reason["code"] for reason in result["reasons"]),
        frozenset(hexadecimal(model["manifest_digest"]) for model in result["models"]),
        digest.hexdigest(),
    )


def hexadecimal(digest: bytes | str) -> str:
    return digest.hex() if isinstance(digest, bytes) else digest
