"""T24: the wall clock starts wrong, jumps and is set right; libfaketime moves it for the daemon.

Only the wall clock moves: the monotonic clock goes on as it does on a real machine. Whatever the
wall clock says, numbers and order of the results hold, every study has its result in bounded time,
nothing is deleted that is not old, and the results say that nobody vouches for their time.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import process
import results
from outcome import Context, NotCheckedHere, Outcome
from parts import add
from rig import Rig
from studies import Maker, Study, phantom_images

ID = "T24"
TITLE = "the wall clock: 1970, 2036, jumps of an hour and of ten years, a leap second"

# libfaketime for programs with threads, wherever a distribution puts it.
LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt")
LIBRARY = "libfaketimeMT.so.1"
# What gives the daemon a better clock than none.
REFERENCES = ("/run/systemd/timesync/synchronized", "/sys/class/rtc/rtc0")
# Makes a clock synchronised for one process: a /run of its own with timesyncd's mark.
SYNCHRONISED = [
    "unshare", "--mount", "sh", "-c",
    "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/timesync"
    ' && : > /run/systemd/timesync/synchronized && exec "$@"', "sh",
]  # fmt: skip
DAY = 86_400
PATIENCE = 60.0
# How long after a start the daemon has looked for old inputs.
SWEPT_AFTER = 5.0

JUMPS = {
    "ten_years_on": "+10y",
    "ten_years_back": "-10y",
    "an_hour_on": "+3600",
    "an_hour_back": "-3600",
    "a_leap_second": "-1",
}
SHORT_JUMPS = ("ten_years_on", "ten_years_back")


@dataclass
class FakeClock:
    """The daemon's wall clock: a start, or an offset, that can be changed while it runs."""

    library: Path
    file: Path

    def set(self, text: str) -> None:
        """`@1970-01-02 00:00:00` starts there; `+10y`, `-3600` are offsets from the right time."""
        new = self.file.with_suffix(".new")
        new.write_text(text + "\n")
        new.replace(self.file)

    def environment(self) -> dict[str, str]:
        """What makes a program see it."""
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


def run(context: Context) -> Outcome:
    clock = find_clock(context)
    total = Outcome()
    cases: dict[str, Callable[[], Outcome]] = {
        "starts in 1970": lambda: wrong_start(context, clock, "@1970-01-02 00:00:00"),
        "starts in 2036": lambda: wrong_start(context, clock, "@2036-06-01 00:00:00"),
        "deadline": lambda: deadline(context, clock),
        "broker away": lambda: broker_away(context, clock),
        "retention": lambda: retention(context, clock),
        "set right": lambda: set_right(context, clock),
    }
    for name, jump in JUMPS.items():
        if not context.long and name not in SHORT_JUMPS:
            continue
        cases[f"{name} while a study waits"] = lambda j=jump: while_waiting(context, clock, j)
        cases[f"{name} during an analysis"] = lambda j=jump: while_analysed(context, clock, j)
        cases[f"{name} between attempts"] = lambda j=jump: while_retried(context, clock, j)
    slowest = (0.0, "none")
    for name, case in cases.items():
        started = time.monotonic()
        try:
            part = case()
        except NotCheckedHere as why:
            context.progress(f"{name}: NOT CHECKED HERE: {why}")
            total.extras[f"not_checked_{name.replace(' ', '_')}"] = "here"
            continue
        took = time.monotonic() - started
        slowest = max(slowest, (took, name))
        context.progress(f"{name}: {took:.0f} s, {'as it should' if part.passed else 'FAILED'}")
        add(total, part, name)
    total.extras |= {"cases": len(cases), "slowest_s": f"{slowest[0]:.0f}"}
    return total


def find_clock(context: Context) -> FakeClock:
    """libfaketime, after it was seen to work."""
    roots = [Path(root) for root in LIBRARIES if Path(root).is_dir()]
    found = [path for root in roots for path in root.glob(f"**/{LIBRARY}")]
    if not found:
        raise NotCheckedHere("libfaketime is not installed (Debian: apt install faketime)")
    clock = FakeClock(found[0], context.folder / "faketime")
    clock.set("@1970-01-02 00:00:00")
    year = subprocess.run(
        ["date", "-u", "+%Y"], env=os.environ | clock.environment(), capture_output=True, timeout=20
    )
    if year.stdout.strip() != b"1970":
        raise NotCheckedHere(f"{found[0]} does not move the clock of `date`")
    return clock


class Case:
    """A rig whose daemon sees the fake clock."""

    def __init__(self, context: Context, clock: FakeClock, settings: dict | None = None):
        self.clock = clock
        name = f"case-{len(list(context.folder.glob('case-*')))}"
        self.rig = Rig(context, {"mqtt.view": False} | (settings or {}), name=name)
        self.maker = Maker(name)
        self.images = lambda: phantom_images(context.binary, context.folder)

    def __enter__(self):
        self.rig.__enter__()
        return self

    def __exit__(self, *_):
        self.rig.__exit__(*_)

    def start(self, at: str = "+0", wrapper: list = ()) -> None:
        """Starts the daemon at that time."""
        self.clock.set(at)
        self.rig.edge.start(wrapper, self.clock.environment())
        self.rig.edge.wait_running()

    def few(self, count: int = 3) -> list[results.Finished]:
        """A few studies and their results, in bounded time."""
        studies = [self.maker.no_nifti() if n == 0 else self.maker.empty() for n in range(count)]
        for study in studies:
            self.rig.drop(study)
        return self.ends(studies)

    def ends(self, studies: list[Study]) -> list[results.Finished]:
        """The results of these studies, as far as they came."""
        self.rig.drain(PATIENCE)
        found = [results.wait_for(self.rig.edge, study.name, PATIENCE) for study in studies]
        return [finished for finished in found if finished is not None]

    def outcome(self) -> Outcome:
        """The judge's verdict; the daemon must still run."""
        out = self.rig.outcome()
        out.require(self.rig.edge.is_alive(), f"the daemon ended:\n{self.rig.edge.log_tail()}")
        return out


def quality_is_known() -> bool:
    """Whether this machine vouches for its clock."""
    return any(Path(path).exists() for path in REFERENCES)


def wrong_start(context: Context, clock: FakeClock, start: str) -> Outcome:
    """The box starts at a wrong time, is set right while it runs, and starts again."""
    with Case(context, clock) as case:
        case.start(start)
        unsure = case.few()
        alarmed = process.wait_until(lambda: alarm_stands(case), PATIENCE)
        case.clock.set("+0")
        right = case.few()
        case.rig.edge.stop()
        case.start()
        case.few()
        out = case.outcome()
        must_be_unknown = start.startswith("@1970") or not quality_is_known()
        if must_be_unknown:
            said = {finished.result["clock_quality"] for finished in unsure}
            out.require(said == {"unknown"}, f"the results call their time {said}")
            out.require(alarmed, "no alarm about the clock")
        years = {time.gmtime(f.result["signed_at_ms"] / 1000).tm_year for f in unsure}
        out.require(years == {int(start[1:5])}, f"the fake clock did not work: signed in {years}")
        now = {time.gmtime(f.result["signed_at_ms"] / 1000).tm_year for f in right}
        out.require(now == {time.gmtime().tm_year}, f"after it was set right: signed in {now}")
        require_inputs(out, case)
        return out


def alarm_stands(case: Case) -> bool:
    """Whether the last that was heard of the clock is an alarm."""
    with case.rig.judge.lock:
        heard = [content for code, content in case.rig.judge.alarms if code == "clock"]
    return bool(heard) and heard[-1] is not None


def require_inputs(out: Outcome, case: Case) -> None:
    """No study's input is gone."""
    gone = [p.name for p in case.rig.edge.places() if not (p / "input").exists()]
    out.require(not gone, f"the input of {len(gone)} studies was deleted")


def while_waiting(context: Context, clock: FakeClock, jump: str) -> Outcome:
    """A study without a marker waits until it is quiet; meanwhile the clock jumps."""
    with Case(context, clock, {"inbox.settle_s": 2}) as case:
        case.start()
        for setting in (jump, "+0"):
            study = case.maker.empty()
            study = Study(study.name, {n: c for n, c in study.files.items() if n != ".done"})
            case.rig.drop(study)
            time.sleep(1.0)
            case.clock.set(setting)
            case.ends([study])
            case.few()
        return case.outcome()


def while_analysed(context: Context, clock: FakeClock, jump: str) -> Outcome:
    """The clock jumps while a worker has a study: it must neither be taken for late nor for old."""
    with Case(context, clock) as case:
        case.start()
        study = case.maker.with_images(case.images())
        case.rig.drop(study)
        analysed = process.wait_until(case.rig.edge.workers, PATIENCE, 0.001)
        case.clock.set(jump)
        ended = case.ends([study])
        case.few()
        out = case.outcome()
        out.require(bool(analysed), "no worker was seen")
        for finished in ended:
            out.require(finished.end == "abstained:arterial_missing", f"it ended {finished.end}")
            out.require(not finished.result["history"], "a result of this moment is called history")
        return out


def while_retried(context: Context, clock: FakeClock, jump: str) -> Outcome:
    """A worker is killed and the clock jumps before the next attempt, which must come soon."""
    with Case(context, clock) as case:
        case.start()
        study = case.maker.with_images(case.images())
        case.rig.drop(study)
        workers: list[int] = []

        def seen() -> bool:
            workers.extend(case.rig.edge.workers())
            return bool(workers)

        process.wait_until(seen, PATIENCE, 0.001)
        for worker in workers:
            process.send(worker)
        failed = process.wait_until(lambda: case.rig.edge.says("attempt 1:"), PATIENCE, 0.001)
        case.clock.set(jump)
        ended = case.ends([study])
        case.few()
        out = case.outcome()
        out.require(failed, "the attempt did not fail")
        for finished in ended:
            out.require(finished.end == "abstained:arterial_missing", f"it ended {finished.end}")
            out.require(finished.run["attempts"] == 2, f"{finished.run['attempts']} attempts")
        return out


def deadline(context: Context, clock: FakeClock) -> Outcome:
    """A study that is never complete fails at its deadline although the clock went back; one that
    is late in coming does not although the clock went on."""
    settings = {"inbox.deadline_s": 10, "inbox.settle_s": 1}
    with Case(context, clock, settings) as case:
        case.start()
        ends = []
        for jump in ("-10y", "+10y"):
            ordinary = case.maker.empty()
            study = Study(ordinary.name, ordinary.files | {".done": b'{"files": 2}'})
            case.rig.drop(study)
            time.sleep(2.0)
            case.clock.set(jump)
            if jump == "+10y":
                time.sleep(2.0)
                (case.rig.edge.inbox / study.name / ".done").write_bytes(b"")
            ends += [finished.end for finished in case.ends([study])]
        out = case.outcome()
        expected = ["failed:incomplete", "failed:empty_study"]
        out.require(ends == expected, f"they ended as {ends}, expected {expected}")
        return out


def broker_away(context: Context, clock: FakeClock) -> Outcome:
    """The clock goes back while the daemon waits to connect again."""
    with Case(context, clock) as case:
        case.start()
        case.few()
        for jump in ("-10y", "+10y", "-3600"):
            case.rig.broker.kill()
            study = case.maker.empty()
            case.rig.drop(study)
            time.sleep(1.0)
            case.clock.set(jump)
            time.sleep(1.0)
            case.rig.broker.restart()
            case.ends([study])
        return case.outcome()


def retention(context: Context, clock: FakeClock) -> Outcome:
    """Ten years later by a clock that nobody vouches for nothing is old."""
    if quality_is_known():
        raise NotCheckedHere("this machine vouches for its clock")
    with Case(context, clock, {"inbox.retention_days": 1}) as case:
        case.start()
        case.few()
        case.rig.edge.stop()
        case.start("+10y")
        case.few()
        time.sleep(SWEPT_AFTER)
        out = case.outcome()
        require_inputs(out, case)
        return out


def set_right(context: Context, clock: FakeClock) -> Outcome:
    """Results were made while the clock stood in 1970; then it is synchronised. They are not old.
    To show that something is deleted at all, results made three days ago by a good clock are."""
    if subprocess.run([*SYNCHRONISED, "true"], capture_output=True, timeout=20).returncode != 0:
        raise NotCheckedHere("a mount namespace needs root")
    total = Outcome()
    for name, wrapper, at, written, gone in (
        ("1970", [], "@1970-01-02 00:00:00", 1.5 * DAY, False),
        ("three days ago", SYNCHRONISED, f"-{3 * DAY}", time.time() - 3 * DAY, True),
    ):
        with Case(context, clock, {"inbox.retention_days": 1}) as case:
            case.start(at, wrapper)
            qualities = {finished.result["clock_quality"] for finished in case.few()}
            case.rig.edge.stop()
            # The kernel's clock was right all the time; on a real box it writes the wrong times.
            for place in case.rig.edge.places():
                for path in (*place.rglob("*"), place):
                    os.utime(path, (written, written))
            case.start("+0", SYNCHRONISED)

            def deleted(edge=case.rig.edge) -> bool:
                return not any((place / "input").exists() for place in edge.places())

            saw = process.wait_until(deleted, PATIENCE if gone else SWEPT_AFTER)
            case.few()
            out = case.outcome()
            said = f"clock {qualities}, inputs deleted: {saw}, expected {gone}"
            out.require(saw == gone, said)

        add(total, out, name)
    return total
