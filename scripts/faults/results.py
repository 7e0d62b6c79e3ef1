"""Results as the device left them on disk, by the dropped folder's name, each verified with the
independent verifier; for tests whose studies cannot be told by the digests of their files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import process
from edge import Edge
from signing import verify


@dataclass(frozen=True)
class Finished:
    """One finished study: its folder, its verified result, what the run cost."""

    place: Path
    result: dict
    run: dict
    sha256: str

    @property
    def status(self) -> str:
        return self.result["status"]

    @property
    def codes(self) -> list[str]:
        return [reason["code"] for reason in self.result["reasons"]]

    @property
    def end(self) -> str:
        """Status and first reason in one word, such as `failed:empty_study`."""
        return ":".join([self.status, *self.codes[:1]])


def read(edge: Edge, place: Path) -> Finished:
    """The result in a folder of `done/` or `failed/`; verify.Refused when it does not verify."""
    data = (place / "result.cose").read_bytes()
    trust = verify.read_trust(edge.trust.read_text())
    result = verify.verify("result", data, trust, (edge.site, edge.device))
    run = json.loads((place / "run.json").read_text())
    return Finished(place, result, run, hashlib.sha256(data).hexdigest())


def wait_for(edge: Edge, name: str, seconds: float) -> Finished | None:
    """The study's result, or None when there is none after that time or the device has ended."""
    found = process.wait_until(lambda: not edge.is_alive() or name in edge.finished(), seconds)
    place = edge.finished().get(name) if found else None
    return read(edge, place) if place else None
