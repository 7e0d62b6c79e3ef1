"""T7: the line between device and broker breaks in every way a line can, while results flow.

Resets, black holes, one byte at a time, cuts within CONNECT, CONNACK, PUBLISH and PUBACK, a slow
line, half-closed connections, and flipped bits, also between the broker and the consumer. Several
devices at a time, each with a broker, a line and a judge of its own.
"""

import hashlib
import random
import time
from collections.abc import Iterator

import mqtt5
from broker import Broker
from outcome import Context, Outcome
from process import wait_until
from proxy import (
    DOWN,
    UP,
    BlackHole,
    Corrupt,
    Cut,
    Fault,
    HalfClose,
    Latency,
    Proxy,
    Rate,
    Reset,
    Trickle,
)
from rig import Rig
from studies import Maker
from together import added, at_once

ID = "T7"
TITLE = "network faults between device and broker"

# Faults of the short and the long form, and how long the long form may go on for.
SHORT, LONG = 40, 2_000
LONG_S = 15 * 60
DEVICES = 5
# A topic in which a bit flipped has no subscriber: then the device waits for half a minute.
PATIENCE = 60.0
# How often the judge asks for what it misses while a fault waits for its packet.
ASK_S = 2.0
KEEP_ALIVE_S = 5
# Longer than it takes a device to notice that nothing answers.
LONG_HOLE_S = 2.5 * KEEP_ALIVE_S
STUDIES_PER_FAULT = 3

# Of the fixed header's bits, the one that makes a message retained: flipping it changes no byte that
# is signed and nothing that could be refused.
RETAIN_BIT = 0


def run(context: Context) -> Outcome:
    count = context.size(SHORT, LONG)
    plan = list(faults(context.random(), context.long, count))
    until = time.monotonic() + (LONG_S if context.long else float("inf"))
    devices = [Device(context, i, plan[i::DEVICES], until) for i in range(DEVICES)]
    at_once([device.run for device in devices])
    total = added(device.outcome for device in devices)
    total.failures += [why for device in devices for why in device.failures]
    total.extras = {
        "faults": sum(device.done for device in devices),
        "refused": sum(device.refused for device in devices),
        "longest_reconnect_s": round(max(device.longest_s for device in devices), 1),
        "connects_per_s": round(max(device.connects_per_s for device in devices), 2),
    }
    return total


def faults(rng: random.Random, every_offset: bool, count: int) -> Iterator[Fault]:
    """The plan: in the long form every offset of a cut comes once, the rest is drawn."""
    yield BlackHole(LONG_HOLE_S)
    made = 1
    if every_offset:
        for way, kind, topic_end, length in CUTS:
            for offset in range(length):
                yield Cut(way, kind, topic_end, offset, reset=bool(offset % 2))
                made += 1
    kinds = list(KINDS)
    while made < count:
        rng.shuffle(kinds)
        for make in kinds[: count - made]:
            yield make(rng)
            made += 1


# Where to cut, and how long such a packet is at least.
CUTS = (
    (UP, mqtt5.CONNECT, "", 400),
    (DOWN, mqtt5.CONNACK, "", 8),
    (UP, mqtt5.PUBLISH, "/result", 500),
    (DOWN, mqtt5.PUBACK, "", 4),
)

KINDS = (
    lambda rng: Reset(),
    lambda rng: BlackHole(rng.uniform(0.5, 3)),
    lambda rng: Trickle(0.0005),
    lambda rng: Latency(0.3),
    lambda rng: Rate(8_000),
    lambda rng: HalfClose(rng.choice((UP, DOWN))),
    *(
        lambda rng, cut=cut: Cut(*cut[:3], rng.randrange(cut[3]), rng.random() < 0.5)
        for cut in CUTS
    ),
    lambda rng: corrupt(rng, UP, mqtt5.PUBLISH, "/result"),
    lambda rng: corrupt(rng, UP, mqtt5.PUBLISH, "/result"),
    lambda rng: corrupt(rng, UP, mqtt5.PUBLISH, "/result/view"),
    lambda rng: corrupt(rng, DOWN, mqtt5.PUBLISH, "/ack"),
    lambda rng: corrupt(rng, DOWN, mqtt5.PUBACK, ""),
    lambda rng: ToConsumer(rng.uniform(0.3, 1), rng.randrange(8)),
)


def corrupt(rng: random.Random, way: str, kind: int, topic_end: str) -> Corrupt:
    """A flipped bit anywhere in the packet, other than in the retain flag."""
    while True:
        part, bit = rng.random(), rng.randrange(8)
        if bit != RETAIN_BIT or part > 0.5 or kind != mqtt5.PUBLISH:
            return Corrupt(way, kind, topic_end, part, bit)


class ToConsumer(Corrupt):
    """A flipped bit in the signed part of a result on its way from the broker to the consumer."""

    def __init__(self, part: float, bit: int) -> None:
        super().__init__(DOWN, mqtt5.PUBLISH, "/result", part, bit)


class Device:
    """One device, its broker and its share of the faults."""

    def __init__(self, context: Context, number: int, plan: list[Fault], until: float) -> None:
        self.context, self.number, self.plan, self.until = context, number, plan, until
        self.maker, self.rng = Maker(f"device-{number}"), context.random(f"device-{number}")
        self.failures: list[str] = []
        self.outcome = Outcome()
        self.done = self.refused = 0
        self.longest_s = self.connects_per_s = 0.0

    def run(self) -> None:
        """Suffers every fault of its share."""
        name = f"device-{self.number}"
        broker = Broker(self.context.folder / name / "broker")
        self.line, self.judge_line = Proxy(broker.port), Proxy(broker.port)
        try:
            settings = {"mqtt.keep_alive_s": KEEP_ALIVE_S}
            rig = Rig(self.context, settings, broker=broker, port=self.line.port, name=name)
            rig.judge.port = self.judge_line.port
            with rig:
                self._suffer(rig)
        finally:
            self.line.close()
            self.judge_line.close()

    def _suffer(self, rig: Rig) -> None:
        rig.edge.start()
        rig.edge.wait_running()
        began = time.monotonic()
        for fault in self.plan:
            if time.monotonic() > self.until:
                break
            self._strike(rig, fault)
            self.done += 1
        # An answer whose packet id was flipped is still awaited on this connection.
        self.line.reset()
        rig.drain(PATIENCE + self.done / 10)
        traffic = self.line.traffic
        self.connects_per_s = len(traffic.connects) / (time.monotonic() - began)
        self.longest_s = max(traffic.reconnects_s(), default=0.0)
        # Whatever the judge refused was damaged on purpose; that it was refused is the point.
        damaged = frozenset(hashlib.sha256(one.payload).hexdigest() for one in rig.judge.refused)
        self.refused = len(rig.judge.refused)
        self.outcome = rig.outcome(forged=damaged)
        if self.connects_per_s > 1:
            self.failures.append(f"{self.connects_per_s:.2f} CONNECTs a second")
        if not rig.edge.is_alive():
            self.failures.append(f"the daemon has ended:\n{rig.edge.log_tail()}")

    @staticmethod
    def _struck(rig: Rig, fault: Fault) -> bool:
        """Whether it struck in time. Without a first result the judge has nothing to acknowledge."""
        for _ in range(int(PATIENCE / ASK_S)):
            if fault.fired.wait(ASK_S):
                return True
            rig.judge.ask_again()
        return False

    def _strike(self, rig: Rig, fault: Fault) -> None:
        line = self.judge_line if isinstance(fault, ToConsumer) else self.line
        refused = len(rig.judge.refused)
        line.inject(fault)
        for _ in range(STUDIES_PER_FAULT):
            rig.drop(self.maker.mixed(self.rng))
        if not self._struck(rig, fault):
            self.failures.append(f"{fault.name()} never struck:\n{rig.edge.log_tail()}")
        time.sleep(fault.lasts_s)
        line.clear()
        both = lambda: self.line.connected() and rig.judge.wait_subscribed(0)  # noqa: E731
        if not wait_until(both, PATIENCE):
            self.failures.append(
                f"no connection {PATIENCE} s after {fault.name()}:\n{rig.edge.log_tail()}"
            )
        if isinstance(fault, ToConsumer) and not wait_until(
            lambda: len(rig.judge.refused) > refused, PATIENCE
        ):
            self.failures.append(f"{fault.name()} was not refused")
