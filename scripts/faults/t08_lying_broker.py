"""T8: brokers that break the protocol, one script after the other (lies.py has the list).

After each script an honest broker takes the same port. What a script acknowledged by the rules may
be confirmed in the journal; nothing else may.
"""

import time
from dataclasses import dataclass, field

from edge import Ended
from liar import Liar
from lies import Case, cases
from outcome import Context, Outcome
from process import wait_until
from proxy import Proxy
from rig import Rig
from studies import Maker
from together import added, at_once

ID = "T8"
TITLE = "brokers that lie, in some fifty ways"

# A packet of this size holds the result of an empty study, and not that of one with an image.
BETWEEN_SMALL_AND_LARGE = 800
# Devices at work at the same time.
DEVICES = 6
PATIENCE = 40.0
# What a script may make the daemon grow by; mebibytes.
MOST_MORE_MIB = 20
# No broker listens there.
NOWHERE = 1


@dataclass
class Judged:
    """What one script came to."""

    name: str
    failures: list[str] = field(default_factory=list)
    connects: int = 0

    def require(self, holds: bool, why: str) -> None:
        if not holds:
            self.failures.append(f"{self.name}: {why}")


def run(context: Context) -> Outcome:
    every = cases(context.seed, BETWEEN_SMALL_AND_LARGE)
    chosen = [case for case in every if case.short or context.long]
    # The long ones first, so that no device is left alone with one at the end.
    chosen.sort(key=lambda case: -case.seconds)
    devices = [Device(context, i, chosen[i::DEVICES]) for i in range(DEVICES)]
    at_once([device.run for device in devices])
    judged = [one for device in devices for one in device.judged]
    total = added(device.outcome for device in devices)
    total.failures += [why for one in judged for why in one.failures]
    total.extras = {
        "scripts": len(judged),
        "connects": sum(one.connects for one in judged),
        "false_confirms": sum("not acknowledged" in why for why in total.failures),
        "max_rss_mib": round(max(device.max_rss_mib for device in devices), 1),
    }
    return total


class Device:
    """One device that meets its share of the scripts. Every second one counts a result as delivered
    when the broker says so, which is where a lie would do harm; the others wait for the consumer.
    """

    def __init__(self, context: Context, number: int, share: list[Case]) -> None:
        self.context, self.number, self.share = context, number, share
        self.maker = Maker(f"device-{number}")
        self.judged: list[Judged] = []
        self.outcome = Outcome()
        self.max_rss_mib = 0.0
        self.judge_line = Proxy(NOWHERE)
        self.honest = NOWHERE

    def run(self) -> None:
        """Meets every script of its share."""
        try:
            confirm = "broker" if self.number % 2 == 0 else "consumer"
            rig = Rig(self.context, confirm=confirm, name=f"device-{self.number}")
            # The judge's line is cut while a liar has the port: the lies are for the device.
            rig.judge.port, self.honest = self.judge_line.port, rig.broker.port
            self.judge_line.target_port = self.honest
            with rig:
                rig.edge.start()
                rig.edge.wait_running()
                for case in self.share:
                    self.judged.append(self._meet(rig, case, confirm))
                    self.context.progress(f"{case.name}: {self.judged[-1].failures or 'good'}")
                self.outcome = rig.outcome()
        finally:
            self.judge_line.close()

    def _meet(self, rig: Rig, case: Case, confirm: str) -> Judged:
        judged = Judged(case.name)
        before = confirmed(rig)
        self.judge_line.target_port = NOWHERE
        rig.broker.kill()
        liar = Liar(case.make(), rig.broker.port)
        try:
            for make in (self.maker.no_nifti, self.maker.empty, self.maker.empty, self.maker.empty):
                rig.drop(make())
            met = wait_until(lambda: liar.ledger.connects, PATIENCE)
            judged.require(met, "the device never connected")
            began, small = time.monotonic(), rig.edge.rss_mib()
            time.sleep(case.seconds)
            large = rig.edge.rss_mib()
            judged.require(
                large - small < MOST_MORE_MIB, f"grew from {small:.0f} to {large:.0f} MiB"
            )
            self.max_rss_mib = max(self.max_rss_mib, large)
            lasted = time.monotonic() - began
        finally:
            liar.close()
        judged.connects = len(liar.ledger.connects)
        self._judge(judged, case, liar, lasted)
        allowed = liar.ledger.acknowledged if confirm == "broker" else set()
        wrong = confirmed(rig) - before - allowed
        judged.require(not wrong, f"confirmed but not acknowledged: {sorted(wrong)}")
        rig.broker.restart()
        self.judge_line.target_port = self.honest
        if not rig.judge.wait_subscribed(PATIENCE):
            raise TimeoutError("the judge does not find the honest broker")
        judged.require(rig.drain(PATIENCE), "not everything was delivered to the honest broker")
        settled = wait_until(lambda: not rig.edge.backlog(), PATIENCE, 0.2)
        judged.require(settled, "delivered to the honest broker, and not confirmed")
        if not rig.edge.is_alive():
            raise Ended(f"{case.name}: the daemon has ended:\n{rig.edge.log_tail()}")
        return judged

    @staticmethod
    def _judge(judged: Judged, case: Case, liar: Liar, lasted: float) -> None:
        ledger = liar.ledger
        judged.require(ledger.lies > 0, "the script never came to its lie")
        judged.require(bool(ledger.results) or not case.sends, "no result was sent")
        judged.require(
            len(ledger.connects) <= 2 + lasted, f"{len(ledger.connects)} CONNECTs in {lasted:.0f} s"
        )
        judged.require(
            ledger.most_on_the_way <= case.at_most, f"{ledger.most_on_the_way} messages on the way"
        )
        judged.require(len(ledger.connects) == 1 or not case.stays, "the connection did not last")
        judged.require(
            len(ledger.connects) > 1 or not case.gives_up, "it waits for ever for an answer"
        )
        if case.alarm is not None:
            code, word = case.alarm
            told = [content.decode(errors="replace") for content in ledger.alarms.get(code, [])]
            judged.require(
                any(word in content for content in told), f"alarm/{code} never said {word}: {told}"
            )
            judged.require(
                bool(told) and word in told[-1], f"alarm/{code} does not stand at the end: {told}"
            )
        if case.passes:
            held = set(ledger.results)
            judged.require(
                bool(held) and held == ledger.acknowledged, "smaller results did not pass"
            )


def confirmed(rig: Rig) -> set[int]:
    """The results that the journal counts as delivered."""
    return {record["seq"] for record in rig.edge.journal() if record["type"] == "confirm"}
