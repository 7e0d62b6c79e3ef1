"""The part of T5 in which strace makes a system call fail: the N-th of each thread.

After a failed sync, and after a failed write of the journal, the device must end: a second try may
report success for pages that are gone. After a failed rename it may go on. Nothing is lost.
"""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from broker import program
from outcome import Context, NotCheckedHere, Outcome
from process import wait_until
from rig import Rig
from studies import Maker

EXIT_IO = 74
BOUND = 60.0
# Which call of its thread fails.
TURNS = ((2, 7), (1, 2, 3, 4, 5, 6, 7, 9, 12, 15, 20, 25, 30, 40))


@dataclass(frozen=True)
class Fault:
    """One kind of failure."""

    calls: str
    error: str
    journal_only: bool
    ends_it: bool
    onwards: str = ""  # "+": every later call fails too

    def wrapper(self, turn: int, trace: Path, segment: Path) -> list:
        inject = f"inject={self.calls}:error={self.error}:when={turn}{self.onwards}"
        words = [program("strace"), "-f", "-qq", "-y", "--seccomp-bpf", "-o", trace]
        words += ["-P", segment] if self.journal_only else []
        return [*words, "-e", f"trace={self.calls}", "-e", inject]


FAULTS = [
    Fault("fdatasync", "EIO", journal_only=True, ends_it=True),
    Fault("write,pwrite64", "ENOSPC", journal_only=True, ends_it=True, onwards="+"),
    Fault("fsync", "EIO", journal_only=False, ends_it=True),
    Fault("rename,renameat,renameat2", "EIO", journal_only=False, ends_it=False),
]


def calls_after_the_fault(trace: str) -> list[str]:
    """What the same file saw after its call had failed: a second try."""
    lines = trace.splitlines()
    for number, line in enumerate(lines):
        if "(INJECTED)" in line:
            target = re.search(r"<([^>]+)>", line)
            later = (other for other in lines[number + 1 :] if "(INJECTED)" not in other)
            return [other for other in later if target and f"<{target[1]}>" in other]
    return []


def inject(rig: Rig, fault: Fault, turn: int, rng, maker: Maker) -> list[str]:
    """One start with a fault; complaints."""
    where = f"{fault.calls} {fault.error} at {turn}"
    trace = rig.edge.folder / "trace"
    trace.unlink(missing_ok=True)
    segments = sorted((rig.edge.state / "journal").glob("*.seg"))
    rig.edge.start(fault.wrapper(turn, trace, segments[-1]))
    rig.edge.try_running(BOUND)
    for number in range(max(8, turn)):
        rig.drop(maker.no_nifti() if number == 3 else maker.mixed(rng))
    hit = wait_until(lambda: trace.exists() and "(INJECTED)" in trace.read_text(), BOUND)
    complaints = [] if hit else [f"{where}: it was never reached"]
    if hit and fault.ends_it:
        code = rig.edge.wait_end(5)
        if code != EXIT_IO:
            complaints.append(f"{where}: {'it goes on' if code is None else f'ended with {code}'}")
        tried_again = calls_after_the_fault(trace.read_text())
        complaints += [f"{where}: tried again: {call}" for call in tried_again[:2]]
    rig.edge.kill()
    rig.edge.end_group()
    return complaints


def injected(context: Context) -> Outcome:
    """Every fault at every turn, with a plain start in between that has to make good for it."""
    rng, maker = context.random("injected"), Maker("injected")
    complaints, faults = [], 0
    try:
        program("strace")
    except FileNotFoundError as why:
        raise NotCheckedHere(str(why)) from None
    with Rig(context, name="injected") as rig:
        rig.edge.start()
        rig.edge.wait_running()
        rig.edge.stop()
        for fault in FAULTS:
            for turn in TURNS[context.long]:
                complaints += inject(rig, fault, turn, rng, maker)
                faults += 1
                rig.edge.start()
                rig.edge.wait_running()
                if not wait_until(lambda: not rig.judge.missing(), BOUND):
                    complaints.append(f"after {fault.calls} at {turn} not everything came")
                rig.edge.kill()
            context.progress(f"{fault.calls} {fault.error} done")
        rig.edge.start()
        rig.edge.wait_running()
        rig.drain(BOUND)
        outcome = rig.outcome(injected_faults=faults)
    outcome.failures += complaints
    return outcome
