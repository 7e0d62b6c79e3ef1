"""Rounds: every engine once, in an order drawn anew, so that all meet the same machine."""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass, field

from turns import Engine, Turn, progress

# A run during which other processes had more than this many processors does not count.
QUIET = 0.35
# Rounds there may be for each that is asked for, when many of them do not count.
PATIENCE = 3


@dataclass(frozen=True)
class Entry:
    """An engine with one file on one number of threads."""

    network: str
    engine: str  # "ours", "openvino int8", ...
    graph: str
    threads: int


@dataclass(frozen=True)
class Ratio:
    """How many times as long `slower` took as `faster`, round by round."""

    median: float
    least: float
    most: float
    rounds: int
    quiet: bool  # whether only runs that count went into it


@dataclass
class Series:
    """All rounds of engines that were measured together."""

    turns: dict[Entry, list[Turn]]
    facts: dict[Entry, dict]
    peak_mib: dict[Entry, int] = field(default_factory=dict)

    def counting(self, entry: Entry) -> list[Turn]:
        """The runs that count; all when none does."""
        return [turn for turn in self.turns[entry] if turn.others <= QUIET] or self.turns[entry]

    def seconds(self, entry: Entry) -> float:
        """Median of the runs that count."""
        return statistics.median(turn.seconds for turn in self.counting(entry))

    def cpu_seconds(self, entry: Entry) -> float:
        """Median of the runs that count."""
        return statistics.median(turn.cpu_seconds for turn in self.counting(entry))

    def pairs(self, slower: Entry, faster: Entry) -> list[float]:
        """The ratio of each round in which both runs count."""
        both = zip(self.turns[slower], self.turns[faster], strict=True)
        return [a.seconds / b.seconds for a, b in both if max(a.others, b.others) <= QUIET]

    def ratio(self, slower: Entry, faster: Entry) -> Ratio:
        """Medians of the ratios of the rounds that count; of all rounds when fewer than half do."""
        found, total = self.pairs(slower, faster), len(self.turns[slower])
        quiet = 2 * len(found) >= total
        if not quiet:
            both = zip(self.turns[slower], self.turns[faster], strict=True)
            found = [a.seconds / b.seconds for a, b in both]
        return Ratio(statistics.median(found), min(found), max(found), len(found), quiet)

    def quiet_rounds(self) -> int:
        """Rounds in which every run counts."""
        return sum(all(turn.others <= QUIET for turn in turns) for turns in zip(*self.turns.values(), strict=True))


def measure(engines: dict[Entry, Engine], rounds: int, order: random.Random) -> Series:
    """At least `rounds` rounds; more, up to PATIENCE times as many, until that many were quiet."""
    series = Series({entry: [] for entry in engines}, {entry: engine.facts for entry, engine in engines.items()})
    for number in range(1, PATIENCE * rounds + 1):
        for entry in order.sample(list(engines), len(engines)):
            series.turns[entry].append(engines[entry].turn())
        last = {entry: turns[-1] for entry, turns in series.turns.items()}
        progress(f"  round {number}: " + ", ".join(
            f"{entry.engine} {turn.seconds:.3f}{'' if turn.others <= QUIET else '!'}" for entry, turn in last.items()
        ))
        if number >= rounds and series.quiet_rounds() >= rounds:
            break
    series.peak_mib = {entry: engine.peak_mib() for entry, engine in engines.items()}
    return series
