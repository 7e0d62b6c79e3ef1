"""How each fail-point of the program is reached: the work of T2, one function per situation.

A function gets a Stage whose device is not running and has nothing left to do, brings it to the
point and returns the exit code of the process that was to die there (None: it did not die). Most
points are passed by any study; the others need something to happen first, which SITUATIONS says by
the beginning of their names.
"""

import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import edge as device
from outcome import Context, NotCheckedHere
from process import wait_until
from rig import Rig
from studies import Maker, Study

BOUND = 20.0
# Small segments, so that a handful of records closes one.
SEGMENT = {"HCC_EDGE_SEGMENT_BYTES": "2048"}
# A /run of its own in which the clock is said to be synchronised: nothing is deleted without that.
VOUCHED = (
    "mount -t tmpfs none /run && mkdir -p /run/systemd/timesync && "
    'touch /run/systemd/timesync/synchronized && exec "$@"'
)
CLOCK_IS_SET = ["unshare", "--map-root-user", "--mount", "sh", "-c", VOUCHED, "sh"]
# The signs of such a clock on a real machine.
VOUCHERS = (Path("/run/systemd/timesync/synchronized"), Path("/sys/class/rtc/rtc0"))
# More than the retention of 30 days.
STEP_DAYS = 40


def clock_wrapper() -> list[str]:
    """What a start needs so that the clock counts as vouched for."""
    tried = subprocess.run([*CLOCK_IS_SET, "true"], capture_output=True, timeout=BOUND)
    if tried.returncode == 0:
        return CLOCK_IS_SET
    if any(path.exists() for path in VOUCHERS):
        return []
    raise NotCheckedHere("nobody vouches for the clock, so that nothing is ever deleted")


def armed(point: str) -> dict[str, str]:
    """The environment in which the program ends itself at this point."""
    return SEGMENT | {"HCC_EDGE_FAIL_AT": point}


@dataclass
class Stage:
    """What a situation may use."""

    context: Context
    rig: Rig
    maker: Maker
    images: dict[str, bytes]
    days: int = 0  # how far the clock was put forward the last time

    def drop(self) -> list[Study]:
        """The three studies of a point, one of them with a worker."""
        studies = [self.maker.empty(), self.maker.no_nifti(), self.maker.empty()]
        for study in studies:
            self.rig.drop(study)
        return studies

    def start(self, point: str | None = None) -> None:
        """A start, with the point armed if one is named."""
        self.rig.edge.start((), armed(point) if point else SEGMENT)

    def start_later(self, point: str) -> None:
        """A start past the retention of everything written so far, also of what an earlier start
        of this kind wrote."""
        self.days += STEP_DAYS
        self.rig.edge.start(clock_wrapper(), armed(point) | device.clock(f"+{self.days}d"))

    def death(self) -> int | None:
        return self.rig.edge.wait_end(BOUND)

    def settle(self, confirmed: bool = False) -> None:
        """A start without faults until every study has its result, and, if wanted, until the journal
        knows that all are delivered; then it is killed."""
        self.start()
        self.rig.edge.wait_running()
        if not wait_until(lambda: not self.rig.judge.missing(), BOUND):
            raise device.Ended(f"no results for {self.rig.judge.missing()}")
        if confirmed and not wait_until(lambda: not self.rig.edge.backlog(), BOUND, pause=0.1):
            raise device.Ended(f"{self.rig.edge.backlog()} results are never confirmed")
        self.rig.edge.kill()


def ordinary(stage: Stage, point: str) -> int | None:
    """Studies pass it on their way."""
    stage.start(point)
    stage.drop()
    return stage.death()


def found_unclaimed(stage: Stage, point: str) -> int | None:
    """A study lies in work/ and the journal does not know it: a kill between the two."""
    stage.drop()
    stage.start("claim.moved")
    stage.death()
    stage.start(point)
    return stage.death()


def folder_gone(stage: Stage, point: str) -> int | None:
    """The folder of a finished study has vanished and is made again from the journal."""
    stage.drop()
    stage.settle()
    newest = max(stage.rig.edge.places(), key=lambda place: place.stat().st_mtime)
    newest.rename(stage.rig.edge.folder / f"vanished-{newest.name}")
    stage.start(point)
    return stage.death()


def dropped_twice(stage: Stage, point: str) -> int | None:
    """The same study comes again: its first result is repeated."""
    first = stage.maker.no_nifti()
    stage.rig.drop(first)
    stage.settle()
    stage.rig.drop(Study(f"{first.name}-again", first.files))
    stage.start(point)
    return stage.death()


def stopped_at_work(stage: Stage, point: str) -> int | None:
    """SIGTERM while a worker has a study: the attempt is taken back."""
    stage.rig.drop(stage.maker.with_images(stage.images))
    stage.start(point)
    stage.rig.edge.wait_running()
    wait_until(stage.rig.edge.workers, BOUND, pause=0.005)
    stage.rig.edge.terminate()
    return stage.death()


def aged(stage: Stage, point: str) -> int | None:
    """The retention is over: inputs and segments are deleted. What is not confirmed would stay."""
    stage.drop()
    stage.settle(confirmed=True)
    stage.start_later(point)
    return stage.death()


def damaged(stage: Stage, point: str) -> int | None:
    """A segment was damaged and the operator accepts it: what was not delivered is carried over.
    The damage is in the oldest segment, whose results have all been delivered."""
    edge = stage.rig.edge
    stage.drop()
    stage.settle()
    stage.rig.broker.kill()
    stage.start()
    names = {study.name for study in stage.drop()}
    wait_until(lambda: names <= set(edge.finished()), BOUND)
    edge.stop()
    flip_a_byte(min((edge.state / "journal").glob("*.seg")))
    accept = [edge.binary, "journal", "--state-dir", edge.state, "accept-damage"]
    died = subprocess.run(
        accept,
        env=device.environment(armed(point)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=BOUND,
    )
    accepted = device.run(*accept)
    if accepted.returncode != 0:
        raise device.Ended(f"accept-damage: {accepted.stderr.decode()}")
    stage.rig.broker.restart()
    stage.rig.judge.wait_subscribed(BOUND)
    return died.returncode


def flip_a_byte(path: Path) -> None:
    """In the middle of the file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


SITUATIONS: dict[str, Callable[[Stage, str], int | None]] = {
    "recover.adopted": found_unclaimed,
    "recover.rebuilt": folder_gone,
    "journal.duplicate.": dropped_twice,
    "journal.interrupted.": stopped_at_work,
    "journal.base_written": aged,
    "journal.segment_deleted": aged,
    "retention.deleted": aged,
    "journal.carried.": damaged,
}


def reach(stage: Stage, point: str) -> int | None:
    """Brings the device to the point."""
    found = [do for start, do in SITUATIONS.items() if point.startswith(start)]
    return (found[0] if found else ordinary)(stage, point)
