"""Studies to drop: small enough for thousands, each unique, so that a result names its study.

A study is known by the SHA-256 of its files: the result's `input_digest` holds them.
"""

import hashlib
import json
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Study:
    """A folder to be dropped."""

    name: str
    files: dict[str, bytes]

    @property
    def digests(self) -> frozenset[str]:
        """SHA-256 of every file that a result speaks of (dot files are none)."""
        contents = (data for name, data in self.files.items() if not name.startswith("."))
        return frozenset(hashlib.sha256(data).hexdigest() for data in contents)


class Maker:
    """Makes studies that differ in `clinical.json`; `label` keeps the makers of one test apart."""

    def __init__(self, label: str = "s"):
        self.label = label
        self.made = 0

    def _clinical(self, **fields) -> tuple[str, bytes]:
        self.made += 1
        name = f"{self.label}-{self.made:06d}"
        return name, json.dumps({"schema": 1, "subject": name, **fields}).encode()

    def empty(self) -> Study:
        """No image: answered without a worker (`failed: empty_study`), in some 15 ms."""
        name, clinical = self._clinical()
        return Study(name, {"clinical.json": clinical, ".done": b""})

    def no_nifti(self) -> Study:
        """An image that is none: needs a worker (`unreadable: not_nifti`), in some 33 ms."""
        name, clinical = self._clinical()
        files = {"clinical.json": clinical, "portal.nii.gz": b"no image\n", ".done": b""}
        return Study(name, files)

    def with_images(self, images: dict[str, bytes]) -> Study:
        """These images, with a clinical.json of its own."""
        name, clinical = self._clinical(age_years=60, ecog=0)
        return Study(name, {"clinical.json": clinical, **images, ".done": b""})

    def mixed(self, rng: random.Random, images: dict[str, bytes] | None = None) -> Study:
        """One in ten needs a worker; with `images`, one in a hundred is analysed to the end."""
        roll = rng.random()
        if images and roll < 0.01:
            return self.with_images(images)
        return self.no_nifti() if roll < 0.1 else self.empty()


def phantom_images(binary: Path, folder: Path, seed: int = 1, both: bool = False) -> dict:
    """The images of a small synthetic study; the portal venous phase alone unless `both`."""
    made = folder / f"phantom-{seed}-{'both' if both else 'portal'}"
    if not made.exists():
        command = [binary, "phantom", "--preset", "small", "--seed", str(seed)]
        command += [] if both else ["--single-phase"]
        subprocess.run([*command, made], check=True, stdout=subprocess.DEVNULL, timeout=120)
    study = made / "study"
    return {path.name: path.read_bytes() for path in sorted(study.glob("*.nii.gz"))}
