"""What plain MQTT clients lose where the device must not: the kills of T6, counted the same way.

    contrast paho kills=20 sent=14000 lost=1 per_100_kills=5 after_puback=1 unacknowledged=0 ...

Publishers hand over numbers with QoS 1 and are never killed; the broker is, at random moments and
right after acknowledgements (T6 also destroys what was acknowledged on purpose: no plain client
could get that through). The subscriber is a
client of its own, and a publisher cannot connect before it has subscribed again, so that it is not
the reason for a loss. `lost` are the numbers that never reached it although broker, publisher and
subscriber were up for ten seconds after the last kill and the publisher had nothing more to say.
Of these, `after_puback` were acknowledged on the wire (the broker died between its acknowledgement
and the delivery, which no client of that kind can notice), and `unacknowledged` were not: the client
has forgotten them.
"""

import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
from outcome import Context, NotCheckedHere
from process import wait_until
from t06_broker_kill import NATURAL, PATIENCE, Stage, Wire, storm

# Kills of the short and the long form, and the numbers that are published per kill, one every
# PAUSE_S: few enough that the subscriber never lags behind.
SHORT, LONG = 20, 100
PER_KILL, PAUSE_S = 700, 0.005
# Results of the device per kill; each is a study.
STUDIES_PER_KILL = 75
# Acknowledged numbers that the subscriber may not have when the next kill is prepared.
MOST_LAG = 20
# How long everything must be up and silent before what is missing counts as lost.
SILENCE_S = 10.0
# Limit on a publisher's last words, after the last kill.
END_S = 300.0
NOWHERE = 1
PLAIN = "plain_rumqttc"


def run(context: Context) -> Iterator[str]:
    """The lines of the three publishers, each when it is known."""
    kills = context.size(SHORT, LONG)
    yield measure(context, "paho", kills, Paho)
    try:
        program = plain_rumqttc(context.binary)
        yield measure(context, "rumqttc", kills, lambda *how: Rumqttc(program, *how))
    except NotCheckedHere as why:
        yield f"contrast rumqttc NOT CHECKED HERE: {why}"
    yield hcc_edge(context, kills)


def line(name: str, kills: int, sent: int, lost: int, **extras) -> str:
    """One line of the comparison."""
    figures = {"kills": kills, "sent": sent, "lost": lost}
    figures |= {"per_100_kills": round(100 * lost / kills, 1)} | extras
    return " ".join(["contrast", name, *(f"{key}={value}" for key, value in figures.items())])


def hcc_edge(context: Context, kills: int) -> str:
    """The device, under the same kills; its checker counts studies."""
    with Stage(context.folder / "hcc-edge-broker") as stage:
        outcome = storm(context, stage, kills, kills * STUDIES_PER_KILL, NATURAL)
    require(not outcome.failures, "; ".join(outcome.failures))
    return line("hcc-edge", kills, outcome.injected, outcome.lost, duplicates=outcome.duplicates)


# --- The plain publishers ------------------------------------------------------------------------


class Paho:
    """paho-mqtt with its in-memory queue, as its documentation uses it."""

    def __init__(self, port: int, topic: str, count: int) -> None:
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self._thread = threading.Thread(target=self._publish, args=(topic, count))
        self._thread.start()

    def _publish(self, topic: str, count: int) -> None:
        for number in range(1, count + 1):
            self.client.publish(topic, str(number), qos=1)
            time.sleep(PAUSE_S)

    def has_ended(self) -> bool:
        """Whether every number was handed over."""
        return not self._thread.is_alive()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Rumqttc:
    """rumqttc as its examples use it: tests/bench/plain_rumqttc.rs."""

    def __init__(self, program: Path, port: int, _topic: str, count: int) -> None:
        numbers = [str(port), str(count), str(round(PAUSE_S * 1_000_000))]
        self.child = subprocess.Popen(
            [program, *numbers], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )

    def has_ended(self) -> bool:
        """Whether every number was handed over and no answer comes any more."""
        return self.child.poll() is not None

    def close(self) -> None:
        self.child.kill()
        self.child.wait(timeout=10)


def plain_rumqttc(binary: Path) -> Path:
    """The program: named in the environment, or as cargo builds it beside the device's."""
    named = os.environ.get("HCC_EDGE_PLAIN_RUMQTTC")
    found = [Path(named)] if named else sorted(binary.parent.glob(f"deps/{PLAIN}-*"))
    programs = [path for path in found if path.is_file() and os.access(path, os.X_OK)]
    if not programs:
        raise NotCheckedHere(f"no {PLAIN}: cargo bench --no-run --bench {PLAIN}")
    return max(programs, key=lambda path: path.stat().st_mtime)


class Subscriber:
    """Counts the numbers that arrive; back on the broker within a tenth of a second."""

    def __init__(self, port: int, topic: str) -> None:
        self.topic, self.received = topic, Counter()
        self.subscribed = threading.Event()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.reconnect_delay_set(0.02, 0.1)
        self.client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_disconnect = lambda *_: self.subscribed.clear()
        self.client.on_message = self._take
        self.client.connect_async("127.0.0.1", port)
        self.client.loop_start()

    def _take(self, _client, _userdata, message) -> None:
        self.received[int(message.payload)] += 1

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def measure(context: Context, name: str, kills: int, start: Callable) -> str:
    """One publisher under the kills."""
    topic, count = f"contrast/{name}", kills * PER_KILL
    with Stage(context.folder / f"{name}-broker") as stage:
        wire = Wire(stage.publisher_line, topic)
        subscriber = Subscriber(stage.consumer_line.port, topic)
        publisher = None
        try:
            require(subscriber.subscribed.wait(PATIENCE), "the subscriber does not connect")
            publisher = start(stage.publisher_line.port, topic, count)
            harass(stage, wire, subscriber, kills, context.random(name))
            require(not publisher.has_ended(), f"{name} ended before the last kill")
            require(wait_until(publisher.has_ended, END_S, 0.2), f"{name} does not end")
            settle(wire, subscriber)
        finally:
            if publisher is not None:
                publisher.close()
            subscriber.close()
    lost = set(range(1, count + 1)) - set(subscriber.received)
    acknowledged = lost & {int(payload) for payload in wire.answered}
    again = sum(subscriber.received.values()) - len(subscriber.received)
    extras = {"after_puback": len(acknowledged), "unacknowledged": len(lost - acknowledged)}
    return line(name, kills, count, len(lost), **extras, duplicates=again)


def harass(
    stage: Stage, wire: Wire, subscriber: Subscriber, kills: int, rng: random.Random
) -> None:
    """The kills; everybody is back after the last."""
    gone = 0
    for kill in range(kills):
        lag = lambda: len(wire.answered) - len(subscriber.received) - gone  # noqa: E731
        require(wait_until(lambda: lag() <= MOST_LAG, PATIENCE), "the subscriber lags behind")
        stage.publisher_line.target_port = NOWHERE
        NATURAL[kill % len(NATURAL)](stage, wire, rng)
        time.sleep(rng.uniform(0, 0.4))
        stage.broker.restart()
        require(subscriber.subscribed.wait(PATIENCE), "the subscriber does not come back")
        # What the broker had acknowledged and not delivered died with it.
        gone = len(wire.answered) - len(subscriber.received)
        stage.publisher_line.target_port = stage.broker.port
        back = wait_until(stage.publisher_line.connected, PATIENCE)
        require(back, "the publisher does not come back")


def settle(wire: Wire, subscriber: Subscriber) -> None:
    """Until nothing was acknowledged and nothing has arrived for a while."""
    deadline, before = time.monotonic() + END_S, None
    while (now := (len(wire.answered), sum(subscriber.received.values()))) != before:
        require(time.monotonic() < deadline, "it never becomes silent")
        before = now
        time.sleep(SILENCE_S)


def require(holds: bool, why: str) -> None:
    """A comparison in which something else went wrong is none."""
    if not holds:
        raise RuntimeError(why)
