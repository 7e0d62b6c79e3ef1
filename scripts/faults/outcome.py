"""What a test is given and what it hands back.

A test is a module `tNN_name.py` in this folder with

    ID = "T6"                    its number in the list
    TITLE = "..."                one line for `--list`
    LONG_ONLY = True             optional: not part of the short list
    def run(context: Context) -> Outcome

`run` raises NotCheckedHere where the machine cannot do it. Any other exception is a failure.
"""

import random
import sys
from dataclasses import dataclass, field
from pathlib import Path


class NotCheckedHere(Exception):
    """This machine cannot run the test; the text says why."""


@dataclass
class Context:
    """One run of one test."""

    binary: Path
    folder: Path  # empty, for everything the test writes; kept when the test fails
    long: bool
    seed: int

    def random(self, purpose: str = "") -> random.Random:
        """A generator of its own for each purpose, so that threads do not disturb each other."""
        return random.Random(f"{self.seed}/{purpose}")

    def size(self, short: int, long: int) -> int:
        """The size for the form that was asked for."""
        return long if self.long else short

    def progress(self, text: str) -> None:
        """Tells whoever waits; never part of the result."""
        print(f"  {text}", file=sys.stderr, flush=True)


@dataclass
class Outcome:
    """The figures of a test and what is wrong with them."""

    injected: int = 0  # studies that lay complete in the inbox
    accepted: int = 0  # studies the device claimed
    delivered: int = 0  # studies with a verified result at the consumer
    lost: int = 0  # studies without one after the faults had ended
    duplicates: int = 0  # results that came again, byte for byte
    wrong: int = 0  # results that must not exist
    extras: dict = field(default_factory=dict)  # further `name=value` of the line
    failures: list[str] = field(default_factory=list)  # why the test failed, one sentence each

    def require(self, holds: bool, why: str) -> None:
        """A check of the test's own: when it does not hold the test fails, and says why."""
        if not holds:
            self.failures.append(why)

    def add(self, other: "Outcome") -> None:
        """Takes in another part of the same test."""
        for name in ("injected", "accepted", "delivered", "lost", "duplicates", "wrong"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.extras |= other.extras
        self.failures += other.failures

    @property
    def passed(self) -> bool:
        return not self.failures and self.lost == 0 and self.wrong == 0

    def line(self, test: str, seed: int) -> str:
        """The one line of the report."""
        names = ("injected", "accepted", "delivered", "lost", "duplicates", "wrong")
        figures = {name: getattr(self, name) for name in names} | self.extras | {"seed": seed}
        return " ".join([test, *(f"{name}={value}" for name, value in figures.items())])
