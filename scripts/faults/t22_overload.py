"""T22: far more studies than the device can work off, one in fifty of them poison: its worker is
killed whenever it works on it, as the kernel's out-of-memory killer would. Nothing is lost, the
poison fails by its name, and the device holds a bounded number of studies in bounded memory."""

import json
import os
import threading
import time

import process
from edge import Edge
from outcome import Context, Outcome
from rig import Rig
from studies import Maker, phantom_images

ID = "T22"
TITLE = "overload, with poison studies"

SHORT, LONG = 400, 5_000  # studies
POISON_EVERY = 50
OVERLOAD = 10  # times the rate that was measured just before
MOST_CLAIMED = 64  # and one that is being moved
MOST_RSS_GROWTH_MIB = 32.0
LOOK = 0.01  # seconds


class Watch(threading.Thread):
    """Kills the workers of poison studies, and keeps the highest figures."""

    def __init__(self, edge: Edge):
        super().__init__(daemon=True)
        self.edge, self.pid = edge, edge.pid
        self.kills, self.most_claimed, self.most_rss = 0, 0, edge.rss_mib()
        self.ending = threading.Event()

    def run(self) -> None:
        while not self.ending.wait(LOOK):
            self.most_claimed = max(self.most_claimed, len(os.listdir(self.edge.state / "work")))
            self.most_rss = max(self.most_rss, process.rss_mib(self.pid))
            # One study is worked on at a time, so that the worker is the poison study's.
            if any(map(self._is_poison, (self.edge.state / "work").glob("*/out"))):
                for worker in process.children(self.pid):
                    process.send(worker)
                    self.kills += 1

    @staticmethod
    def _is_poison(out) -> bool:
        try:
            return json.loads((out.parent / "claim.json").read_text())["study"].startswith("poison")
        except FileNotFoundError:
            return False  # It has left work/ meanwhile.

    def stop(self) -> None:
        self.ending.set()
        self.join(timeout=5)


def sustainable_rate(rig: Rig, rng, maker: Maker) -> float:
    """Studies per second, from a small burst."""
    studies, started = 60, time.monotonic()
    for _ in range(studies):
        rig.drop(maker.mixed(rng))
    process.wait_until(lambda: not rig.judge.missing(), 60)
    return studies / (time.monotonic() - started)


def run(context: Context) -> Outcome:
    total = context.size(SHORT, LONG)
    rng, maker, poison = context.random(), Maker(), Maker("poison")
    images = phantom_images(context.binary, context.folder)
    with Rig(context, {"limits.attempts": 3, "inbox.deadline_s": 3_600}) as rig:
        rig.edge.start()
        rig.edge.wait_running()
        rate = OVERLOAD * sustainable_rate(rig, rng, maker)
        watch = Watch(rig.edge)
        before = watch.most_rss
        watch.start()
        next_at = time.monotonic()
        for number in range(1, total + 1):
            is_poison = number % POISON_EVERY == 0
            rig.drop(poison.with_images(images) if is_poison else maker.mixed(rng))
            next_at += 1 / rate
            time.sleep(max(0.0, next_at - time.monotonic()))
        context.progress(f"{total} studies dropped at {rate:.0f}/s")
        rig.drain(60 + total)
        watch.stop()
        latencies = rig.judge.latencies()
        failed = [a for a in rig.judge.arrivals if a.reasons == ("poison",)]
        outcome = rig.outcome(
            rate_per_s=round(rate),
            p50_ms=round(1_000 * latencies[len(latencies) // 2]),
            p99_ms=round(1_000 * latencies[len(latencies) * 99 // 100]),
            max_rss_mib=round(watch.most_rss, 1),
            max_claimed=watch.most_claimed,
            poison=len({a.seq for a in failed}),
        )
        alive = rig.edge.is_alive() and rig.edge.starts == 1
    outcome.require(alive, "the daemon did not live through it")
    outcome.require(
        outcome.extras["poison"] == poison.made,
        f"{poison.made} studies were poison, {outcome.extras['poison']} failed as that",
    )
    outcome.require(watch.most_claimed <= MOST_CLAIMED + 1, "too many studies were claimed")
    growth = watch.most_rss - before
    outcome.require(growth <= MOST_RSS_GROWTH_MIB, f"it grew by {growth:.1f} MiB")
    return outcome
