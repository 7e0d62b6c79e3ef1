"""The parts of T5 in which space runs out: a low disk, a full disk, a limit of the file size."""

import signal
import time

from disks import Tmpfs
from outcome import Context, Outcome
from process import wait_until
from rig import Rig
from studies import Maker

EXIT_IO = 74
TMPFS_MIB = 64
MIN_FREE_MIB = 16
PAUSE = 1.0  # seconds between two starts
# A result that meets no subscriber is held back for half a minute.
BOUND = 60.0
WAITING = 100  # results
FILLS = (3, 60)
LIMITS = (2, 30)
STUDIES = 8  # per round


def low(context: Context) -> Outcome:
    """Less than `limits.min_free_mib`: no intake, an alarm, and delivery goes on."""
    maker, complaints = Maker("low"), Outcome()
    settings = {"limits.min_free_mib": MIN_FREE_MIB}
    with (
        Tmpfs(context.folder / "low", TMPFS_MIB) as disk,
        Rig(context, settings, state=disk.folder / "state", name="low-rig") as rig,
    ):
        rig.edge.start()
        rig.edge.wait_running()
        rig.broker.kill()
        sealed = 20
        for _ in range(sealed):
            rig.drop(maker.empty())
        finished = wait_until(lambda: len(rig.edge.finished()) == sealed, BOUND)
        complaints.require(finished, "studies were not finished while there was no broker")
        disk.fill(leave=(MIN_FREE_MIB << 20) // 2)
        rig.broker.restart()
        alarm = wait_until(lambda: rig.judge.standing_alarm("disk") is not None, BOUND)
        complaints.require(alarm, "there is no alarm/disk although the disk is low")
        waiting = 10
        for _ in range(waiting):
            rig.drop(maker.empty())
        flows = wait_until(lambda: len(rig.judge.missing()) <= waiting, BOUND)
        complaints.require(flows, "results are not delivered while the disk is low")
        # Three looks of the intake.
        time.sleep(3 * rig.edge.settings["inbox.rescan_s"])
        complaints.require(rig.edge.waiting() == waiting, "the intake goes on on a low disk")
        disk.release()
        rig.drain(BOUND)
        gone = wait_until(lambda: rig.judge.standing_alarm("disk") is None, BOUND)
        complaints.require(gone, "alarm/disk stands although there is space again")
        outcome = rig.outcome()
    outcome.add(complaints)
    return outcome


def start_on_a_bad_disk(rig: Rig, complaints: Outcome) -> None:
    """One more start, as a service manager makes it: in vain, or it stays."""
    time.sleep(PAUSE)
    rig.edge.start()
    if not rig.edge.try_running(BOUND):
        code = rig.edge.wait_end(BOUND)
        complaints.require(code == EXIT_IO, f"a start on a full disk ended with {code}")


def full_while_confirming(rig: Rig, disk: Tmpfs, maker: Maker, complaints: Outcome) -> None:
    """Results that wait are delivered on a full disk: their confirmations, which are more than a
    page of the journal, find no room."""
    rig.broker.kill()
    rig.edge.start()
    for _ in range(WAITING):
        rig.drop(maker.empty())
    finished = wait_until(lambda: len(rig.edge.finished()) == WAITING, BOUND)
    complaints.require(finished, "studies were not finished while there was no broker")
    disk.fill()
    rig.broker.restart()
    code = rig.edge.wait_end(BOUND)
    complaints.require(code == EXIT_IO, f"a journal without room: it ended with {code}")
    start_on_a_bad_disk(rig, complaints)
    disk.release()
    rig.edge.kill()


def full(context: Context) -> Outcome:
    """Not a byte is left while studies come; the space comes back, and with it everything else."""
    rng, maker, complaints = context.random("full"), Maker("full"), Outcome()
    ended = 1
    with (
        Tmpfs(context.folder / "full", TMPFS_MIB) as disk,
        Rig(context, state=disk.folder / "state", name="full-rig") as rig,
    ):
        full_while_confirming(rig, disk, maker, complaints)
        for _ in range(context.size(*FILLS)):
            rig.edge.start()
            rig.edge.wait_running()
            for _ in range(STUDIES):
                rig.drop(maker.mixed(rng))
            time.sleep(rng.uniform(0, 0.1))
            disk.fill()
            code = rig.edge.wait_end(3)
            if code is not None:
                ended += 1
                complaints.require(code == EXIT_IO, f"on a full disk it ended with {code}")
                start_on_a_bad_disk(rig, complaints)
            disk.release()
            rig.edge.kill()
        rig.edge.start()
        rig.edge.wait_running()
        rig.drain(BOUND)
        outcome = rig.outcome(full_disk_exits=ended)
    outcome.add(complaints)
    return outcome


def limited(context: Context) -> Outcome:
    """RLIMIT_FSIZE just above the journal's size: an error of write(2), or the signal of death."""
    rng, maker, complaints = context.random("limited"), Maker("limited"), Outcome()
    with Rig(context, name="limited") as rig:
        rig.edge.start()
        for _ in range(30):
            rig.drop(maker.empty())
        rig.drain(BOUND)
        rig.edge.stop()
        for turn in range(context.size(*LIMITS)):
            largest = max(path.stat().st_size for path in (rig.edge.state / "journal").iterdir())
            wrapper = ["prlimit", f"--fsize={largest + rng.randint(0, 4_000)}"]
            wrapper += ["env", "--ignore-signal=XFSZ"] if turn % 2 == 0 else []
            rig.edge.start(wrapper)
            for _ in range(STUDIES):
                rig.drop(maker.empty())
            code = rig.edge.wait_end(BOUND)
            expected = EXIT_IO if turn % 2 == 0 else -signal.SIGXFSZ
            complaints.require(code == expected, f"at the limit it ended with {code}")
            rig.edge.start()
            rig.edge.wait_running()
            rig.drain(BOUND)
            rig.edge.kill()
        rig.edge.start()
        rig.drain(BOUND)
        outcome = rig.outcome()
    outcome.add(complaints)
    return outcome
