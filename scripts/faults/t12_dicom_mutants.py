"""T12: mutants of a small DICOM series, one or more of its files changed at random.

Each study must end with one signed result, whatever it says, the daemon must not end, and no worker
may need more memory than a small series gives reason for. In between the unchanged series in each
encoding must get the result that it had before all mutants.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import dicom_files
import process
import results
from outcome import Context, Outcome
from rig import Rig
from studies import Study

ID = "T12"
TITLE = "mutants of DICOM series"

SHORT, LONG = 150, 3_000
# Studies that lie in the inbox or are worked on at a time.
IN_FLIGHT = 16
PATIENCE = 120.0
# What the worker of a series of some 50 kB may hold; models are not loaded for most of them.
MOST_WORKER_MIB = 1024
SHOWN = 10


def run(context: Context) -> Outcome:
    with Rig(context, {"mqtt.view": False}) as rig:
        rig.edge.start()
        rig.edge.wait_running()
        bench = Bench(context, rig)
        good = {syntax: Study(f"good-{n}", dicom_files.series(syntax) | {".done": b""})
                for n, syntax in enumerate(dicom_files.SYNTAXES)}  # fmt: skip
        before = bench.ends(list(good.values()))
        bench.ends(mutants(context))
        again = [Study(f"again-{study.name}", study.files) for study in good.values()]
        after = bench.ends(again)
        bench.require_same(before, after)
        return bench.outcome()


def mutants(context: Context) -> list[Study]:
    """Studies of which one, some or all files are changed."""
    rng = context.random("mutants")
    studies = []
    for number in range(context.size(SHORT, LONG)):
        files = dicom_files.series(rng.choice(dicom_files.SYNTAXES))
        names = sorted(files)
        for name in rng.sample(names, rng.choice((1, 1, 1, 3, len(names)))):
            # A file of its own may be changed alike: sixteen times the same wrong number of rows.
            seed = rng.random() if rng.random() < 0.5 else number
            files[name] = dicom_files.mutant(files[name], random.Random(seed))
        studies.append(Study(f"mutant-{number:05d}", files | {".done": b""}))
    return studies


class Bench:
    """Drops studies, a few at a time, and keeps what became of them."""

    def __init__(self, context: Context, rig: Rig):
        self.context, self.rig = context, rig
        self.outcome_ = Outcome()
        self.known: set[Path] = set()
        self.counts: dict[str, int] = {}
        self.peak_mib = 0
        self.started = time.monotonic()

    def ends(self, studies: list[Study]) -> list[str]:
        """How each of them ended, in their order; what has no result ends as "none"."""
        waiting, ended = list(reversed(studies)), {}
        in_flight: set[str] = set()
        while (waiting or in_flight) and self.rig.edge.is_alive():
            while waiting and len(in_flight) < IN_FLIGHT:
                study = waiting.pop()
                self.rig.edge.drop(study)
                self.outcome_.injected += 1
                in_flight.add(study.name)
            found: dict[str, str] = {}
            if not process.wait_until(lambda: found.update(self.new_ends()) or found, PATIENCE):
                break
            ended |= found
            in_flight -= set(found)
            if len(ended) % 250 < len(found):
                self.context.progress(f"{len(ended)} of {len(studies)}")
        self.outcome_.lost += len(waiting) + len(in_flight)
        return [ended.get(study.name, "none") for study in studies]

    def new_ends(self) -> dict[str, str]:
        """Studies that have got their result since the last look, by name."""
        ends = {}
        for place in self.rig.edge.places():
            if place in self.known or not (place / "run.json").exists():
                continue
            self.known.add(place)
            finished = results.read(self.rig.edge, place)
            ends[finished.run["study"]] = finished.end
            self.counts[finished.end] = self.counts.get(finished.end, 0) + 1
            self.peak_mib = max(self.peak_mib, (finished.run["peak_rss_bytes"] or 0) >> 20)
            self.outcome_.delivered += 1
        return ends

    def require_same(self, before: list[str], after: list[str]) -> None:
        """The unchanged series end as they did, all alike, and are not refused."""
        self.outcome_.require(before == after, f"good series: {before}, then {after}")
        alike = len(set(before)) == 1 and not before[0].startswith(("failed", "none"))
        self.outcome_.require(alike, f"good series in {len(before)} encodings: {before}")
        self.counts["good"] = 0
        self.context.progress(f"good series: {before[0]}")

    def outcome(self) -> Outcome:
        """The figures."""
        out = self.outcome_
        out.require(self.rig.edge.is_alive(), f"the daemon ended:\n{self.rig.edge.log_tail()}")
        out.accepted = len(self.known)
        over = self.peak_mib > MOST_WORKER_MIB
        out.require(not over, f"a worker held {self.peak_mib} MiB, at most {MOST_WORKER_MIB}")
        # A worker that crashed, was killed or ran out of time, each after its attempts.
        crashed = {end: n for end, n in self.counts.items() if "worker" in end or "timeout" in end}
        out.require(not crashed, f"workers that did not come to their end: {crashed}")
        for end, count in sorted(self.counts.items(), key=lambda item: -item[1])[:SHOWN]:
            self.context.progress(f"{end}: {count}")
        out.extras |= {
            "ends": len(self.counts),
            "worker_peak_mib": self.peak_mib,
            "seconds": f"{time.monotonic() - self.started:.0f}",
        }
        return out
