"""T3: the power is cut at random moments. The state directory lies on an ext4 of its own, whose
shutdown ioctl drops everything that was not synced; afterwards the promises are compared with what
is on the disk:

* a claim that was logged is in the journal, and so is every result that anybody received;
* the journal opens every time, and the file system is sound;
* every study that had been synced into the inbox gets its result in the end.
"""

import re
import time

from disks import Ext4
from edge import Edge, Ended
from outcome import Context, Outcome
from rig import Rig
from studies import Maker

ID = "T3"
TITLE = "power cuts (ext4 shutdown, nothing unsynced survives)"

SHORT, LONG = 15, 500  # cuts
STUDIES_PER_CUT = 12
# Seconds from the start, or in two thirds of the lives from when it runs, to the cut.
LONGEST_LIFE = 0.8
DISK_MIB = 256


def run_cut(rig: Rig, disk: Ext4, rng, maker: Maker) -> tuple[set[str], set[str]]:
    """One life of the device; the jobs and the results (digests) promised before the cut."""
    rig.edge.start()
    if rng.random() < 2 / 3:
        rig.edge.wait_running()
    ends_at = time.monotonic() + rng.uniform(0, LONGEST_LIFE)
    for _ in range(rng.randint(0, 2 * STUDIES_PER_CUT)):
        rig.drop(maker.mixed(rng), durable=True)
        time.sleep(max(0.0, min(rng.uniform(0, 0.05), ends_at - time.monotonic())))
    time.sleep(max(0.0, ends_at - time.monotonic()))
    # In this order: what was told before the cut is a promise, what is told after it is none.
    jobs = set(re.findall(r"job ([0-9a-f]{16}): claimed", rig.edge.log_since_start()))
    with rig.judge.lock:
        results = {arrival.sha256 for arrival in rig.judge.arrivals}
    disk.cut_power()
    rig.edge.kill()
    rig.edge.end_group()
    return jobs, results


def broken_promises(edge: Edge, jobs: set[str], results: set[str]) -> list[str]:
    """What was promised and is not in the journal."""
    records = edge.journal()
    claimed = {record["job"] for record in records if record["type"] == "claim"}
    sealed = {record["digest"] for record in records if record["type"] == "result"}
    broken = [f"the claim of job {job} is gone" for job in jobs - claimed]
    return broken + [f"the published result {digest} is gone" for digest in results - sealed]


def remount(disk: Ext4) -> None:
    """As at the next boot: the file system's log is replayed, then all of it is checked."""
    disk.unmount()
    disk.mount()
    disk.unmount()
    disk.check()
    disk.mount()


def run_all(context: Context, disk: Ext4) -> Outcome:
    cuts = context.size(SHORT, LONG)
    rng, maker = context.random(), Maker()
    complaints = []
    with Rig(context, state=disk.folder / "state") as rig:
        disk.sync()
        promised = set()
        for cut in range(1, cuts + 1):
            jobs, results = run_cut(rig, disk, rng, maker)
            promised |= jobs
            remount(disk)
            if promised:
                if faults := rig.edge.journal_faults():
                    raise Ended(f"after cut {cut}: {faults[0]}")
                broken = broken_promises(rig.edge, promised, results)
                complaints += [f"after cut {cut}: {what}" for what in broken]
            if cut % 25 == 0:
                context.progress(f"{cut} cuts, {len(rig.judge.arrivals)} results came")
        rig.edge.start()
        rig.edge.wait_running()
        rig.drain(60 + cuts)
        outcome = rig.outcome(cuts=cuts, claims_promised=len(promised))
        outcome.failures += complaints
        outcome.require(len(promised) > cuts, "hardly a study was claimed before a cut")
        outcome.require(rig.judge.asked == 0, "results came only after they had been asked for")
        return outcome


def run(context: Context) -> Outcome:
    with Ext4(context.folder / "disk", context.folder / "disk.img", DISK_MIB) as disk:
        return run_all(context, disk)
