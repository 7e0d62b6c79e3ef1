"""T9: more comes into the inbox than file events, scans or a folder's limits were made for.

Every part ends in the same question: has each study that lay complete in the inbox its result?
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import process
import results
from outcome import Context, Outcome
from parts import add
from rig import Rig
from studies import Maker, Study

ID = "T9"
TITLE = "storms in the inbox: floods, lost events, huge folders, no events, a new inbox"

SHORT, LONG = 2_000, 50_000
# Throughput is reported at so many waiting studies, over so many results.
LEVELS, SPAN = (2_000, 20_000), 400
# Studies of every part but the flood.
FEW = 60
MANY_FILES_SHORT, MANY_FILES_LONG = 10_000, 50_000
# Names in the inbox that are no studies; more than the names that one scan reads.
STRAYS = 80_000
# How much the daemon may grow over a flood, for what it remembers of every result.
MOST_GROWTH_MIB_PER_1000 = 4.0
MOST_GROWTH_MIB = 8.0
PATIENCE = 60.0


def run(context: Context) -> Outcome:
    parts = (flood, lost_events, huge_folder, no_events, another_inbox, strays)
    total = Outcome()
    for part in parts:
        started = time.monotonic()
        add(total, part(context), part.__name__)
        context.progress(f"{part.__name__}: {time.monotonic() - started:.0f} s")
    return total


class Meter:
    """Results that came and memory of the daemon, over the time."""

    def __init__(self, rig: Rig):
        self.rig, self.samples, self._ending = rig, [], threading.Event()
        self.rss = [rig.edge.rss_mib()]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._ending.wait(0.2):
            self.samples.append((time.monotonic(), len(self.rig.judge.arrivals)))
            self.rss.append(self.rig.edge.rss_mib())

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        self._thread.join(timeout=5)

    def rate_at(self, total: int, waiting: int) -> float | None:
        """Results a second while `waiting` studies and a few less wait; None if they never did."""
        first, last = total - waiting, total - waiting + SPAN
        within = [(at, count) for at, count in self.samples if first <= count <= last]
        if len(within) < 2 or within[-1][1] == within[0][1]:
            return None
        (start, a), (end, b) = within[0], within[-1]
        return (b - a) / (end - start)

    @property
    def growth_mib(self) -> float:
        return max(self.rss) - self.rss[0]


def flood(context: Context) -> Outcome:
    """A whole queue of studies is moved in at once."""
    count = context.size(SHORT, LONG)
    maker = Maker("flood")
    with Rig(context, {"mqtt.view": False}, confirm="broker", name="flood") as rig:
        studies = [maker.no_nifti() if n % 50 == 0 else maker.empty() for n in range(count)]
        staged = stage(rig, studies)
        rig.edge.start()
        rig.edge.wait_running()
        with Meter(rig) as meter:
            move_in(rig, staged, studies)
            rig.drain(PATIENCE + count / 10)
        outcome = rig.outcome()
        for level in LEVELS:
            rate = meter.rate_at(count, level)
            if rate is not None:
                outcome.extras[f"studies_per_s_at_{level}"] = f"{rate:.1f}"
        outcome.extras["flood_growth_mib"] = f"{meter.growth_mib:.1f}"
        most = MOST_GROWTH_MIB + MOST_GROWTH_MIB_PER_1000 * count / 1000
        outcome.require(meter.growth_mib < most, f"the daemon grew by {meter.growth_mib:.1f} MiB")
        return outcome


def lost_events(context: Context) -> Outcome:
    """The daemon stands still while more happens than the kernel remembers for it."""
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    maker = Maker("lost")
    with Rig(context, confirm="broker", name="lost") as rig:
        rig.edge.start()
        rig.edge.wait_running()
        first, second = (rig.edge.folder / name for name in ("back-and-forth", "forth-and-back"))
        first.mkdir()
        second.mkdir()
        process.send(rig.edge.pid, signal.SIGSTOP)
        # Two names in turn, because the kernel merges equal events.
        for _ in range(queue // 2 + 1_000):
            for folder in (first, second):
                folder.rename(rig.edge.inbox / folder.name)
                (rig.edge.inbox / folder.name).rename(folder)
        studies = [maker.empty() for _ in range(FEW)]
        move_in(rig, stage(rig, studies), studies)
        process.send(rig.edge.pid, signal.SIGCONT)
        rig.drain(PATIENCE)
        outcome = rig.outcome(events_lost_after=queue)
        outcome.require(rig.edge.is_alive(), "the daemon ended")
        return outcome


def huge_folder(context: Context) -> Outcome:
    """Folders with far more entries than a study may have are refused, and cost no memory."""
    count = context.size(MANY_FILES_SHORT, MANY_FILES_LONG)
    maker, outcome = Maker("huge"), Outcome()
    with Rig(context, confirm="broker", name="huge") as rig:
        rig.edge.start()
        rig.edge.wait_running()
        drop_and_drain(rig, [maker.empty() for _ in range(10)])
        with Meter(rig) as meter:
            for name, make in HUGE.items():
                folder = rig.edge.folder / f"huge-{name}"
                folder.mkdir()
                for number in range(count):
                    make(folder / f"{number:06d}")
                (folder / ".done").touch()
                folder.rename(rig.edge.inbox / folder.name)
                found = results.wait_for(rig.edge, folder.name, PATIENCE)
                outcome.injected += 1
                outcome.delivered += found is not None
                outcome.lost += found is None
                end = found.end if found else "no result"
                context.progress(f"{count} {name}: {end}")
                expected = ("failed:too_many_files", "failed:empty_study")
                outcome.require(end in expected, f"{count} {name}: {end}")
            drop_and_drain(rig, [maker.empty() for _ in range(10)])
        outcome.require(not rig.judge.missing(), "the studies after the huge folders are missing")
        outcome.require(rig.edge.is_alive(), "the daemon ended")
        outcome.accepted = outcome.delivered
        outcome.extras["huge_growth_mib"] = f"{meter.growth_mib:.1f}"
        outcome.require(
            meter.growth_mib < MOST_GROWTH_MIB, f"the daemon grew by {meter.growth_mib:.1f} MiB"
        )
    return outcome


def touch(path: Path) -> None:
    path.touch()


def touch_hidden(path: Path) -> None:
    path.with_name(f".{path.name}").touch()


# What a folder may have too much of, and how one of it is made.
HUGE = {"files": touch, "folders": os.mkdir, "ignored": touch_hidden}

# Sets the limit of inotify instances or watches to nothing in a user namespace of its own, so that
# no other process of this machine is disturbed, and becomes the program.
WITHOUT = 'echo "$1" > "/proc/sys/user/$0" && shift && exec "$@"'


def no_events(context: Context) -> Outcome:
    """The kernel gives no inotify instance, or no watch but the inbox's."""
    outcome = Outcome()
    for limit, value in (("max_inotify_instances", 0), ("max_inotify_watches", 1)):
        wrapper = ["unshare", "--user", "--map-root-user", "sh", "-c", WITHOUT, limit, str(value)]
        if subprocess.run([*wrapper, "true"], capture_output=True, timeout=30).returncode != 0:
            outcome.extras[limit] = "not_checked_here"
            continue
        maker = Maker(limit.replace("_", "-"))
        with Rig(context, confirm="broker", name=limit) as rig:
            rig.edge.start(wrapper)
            rig.edge.wait_running()
            drop_and_drain(rig, [maker.empty() for _ in range(FEW)])
            without_marker = maker.empty()
            slow = {"clinical.json": without_marker.files["clinical.json"]}
            drop_and_drain(rig, [Study(without_marker.name, slow)])
            part = rig.outcome()
            if value == 0:
                part.require(rig.edge.says("no file events"), "it had file events after all")
            add(outcome, part, limit)
    return outcome


def another_inbox(context: Context) -> Outcome:
    """The inbox is removed and made anew, at once and after a while, as a careless script does."""
    maker, outcome = Maker("inbox"), Outcome()
    for name, pause in (("at-once", 0.0), ("after-a-while", 3.0)):
        with Rig(context, confirm="broker", name=f"inbox-{name}") as rig:
            rig.edge.start()
            rig.edge.wait_running()
            drop_and_drain(rig, [maker.empty() for _ in range(3)])
            shutil.rmtree(rig.edge.inbox)
            time.sleep(pause)
            rig.edge.inbox.mkdir()
            for _ in range(3):
                drop_and_drain(rig, [maker.empty() for _ in range(3)])
            part = rig.outcome()
            alive = rig.edge.is_alive()
            part.require(alive, f"{name}: the daemon ended:\n{rig.edge.log_tail(300)}")
            add(outcome, part, name)
    return outcome


def strays(context: Context) -> Outcome:
    """The inbox is full of loose files that are no studies and stay there."""
    maker = Maker("stray")
    with Rig(context, confirm="broker", name="strays") as rig:
        for number in range(STRAYS):
            os.close(os.open(rig.edge.inbox / f"IM{number:06d}", os.O_CREAT | os.O_WRONLY))
        rig.edge.start()
        rig.edge.wait_running()
        drop_and_drain(rig, [maker.empty() for _ in range(FEW)])
        left = sum(name.startswith("IM") for name in os.listdir(rig.edge.inbox))
        outcome = rig.outcome(strays=STRAYS)
        outcome.require(left == STRAYS, f"{STRAYS - left} files that are no studies were taken")
        return outcome


def stage(rig: Rig, studies: list[Study]) -> list[Path]:
    """Prepares studies beside the inbox."""
    staging = rig.edge.folder / "storm"
    for study in studies:
        folder = staging / study.name
        folder.mkdir(parents=True)
        for name, content in study.files.items():
            (folder / name).write_bytes(content)
    return [staging / study.name for study in studies]


def move_in(rig: Rig, staged: list[Path], studies: list[Study]) -> None:
    """Renames them into the inbox as fast as it goes."""
    for study in studies:
        rig.judge.expect(study)
    for folder in staged:
        folder.rename(rig.edge.inbox / folder.name)


def drop_and_drain(rig: Rig, studies: list[Study]) -> None:
    """Drops a few studies and waits for their results; not again when some never came."""
    for study in studies:
        rig.drop(study)
    if rig.drained:
        rig.drain(PATIENCE)
