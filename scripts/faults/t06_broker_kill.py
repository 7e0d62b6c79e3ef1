"""T6: the broker, which keeps nothing on disk, is killed over and over while results flow.

Three kinds of kill take turns: at a random moment; at once when an acknowledgement of a result was
seen on the wire; and after results were acknowledged whose delivery to the consumer was held back,
so that nobody but the device has them.
"""

import random
import statistics
import threading
import time
from pathlib import Path

import mqtt5
from broker import Broker
from outcome import Context, Outcome
from process import wait_until
from proxy import DOWN, UP, Fault, Proxy, Swallow
from rig import Rig
from studies import Maker

ID = "T6"
TITLE = "SIGKILL of a broker without persistence while results flow"

# Kills and studies of the short and the long form.
SHORT, LONG = (20, 1_500), (200, 20_000)
# Studies of the phase without faults in which times are taken.
QUIET, QUIET_PAUSE_S = 150, 0.06
# Acknowledged results that a kill of the third kind destroys.
WITHHELD = 5
PATIENCE = 20.0


class Wire:
    """Tells what was acknowledged on a publisher's line, on topics with this end."""

    def __init__(self, proxy: Proxy, topic_end: str = "/result") -> None:
        self.topic_end = topic_end
        self.sent: dict[int, bytes] = {}
        self.answered: list[bytes] = []
        self.heard = threading.Condition()
        proxy.watcher = self._see

    def _see(self, way: str, packet: mqtt5.Packet) -> None:
        if way == UP and packet.kind == mqtt5.CONNECT:
            self.sent.clear()
        elif way == UP and (sent := mqtt5.read_publish(packet)) is not None:
            if sent.topic.endswith(self.topic_end):
                self.sent[sent.packet_id] = sent.payload
        elif way == DOWN and (answer := mqtt5.read_answer(packet)) and answer[0] in self.sent:
            with self.heard:
                self.answered.append(self.sent.pop(answer[0]))
                self.heard.notify_all()

    def wait(self, count: int, seconds: float) -> bool:
        """Whether so many more messages were acknowledged in time."""
        with self.heard:
            goal = len(self.answered) + count
            return self.heard.wait_for(lambda: len(self.answered) >= goal, seconds)


class Stage:
    """A broker, and two lines to it: the publisher's and the consumer's."""

    def __init__(self, folder: Path) -> None:
        self.broker = Broker(folder)
        self.publisher_line = Proxy(self.broker.port)
        self.consumer_line = Proxy(self.broker.port)

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_) -> None:
        self.publisher_line.close()
        self.consumer_line.close()
        self.broker.close()


def run(context: Context) -> Outcome:
    kills, total = context.size(SHORT, LONG)
    with Stage(context.folder / "broker") as stage:
        outcome = storm(context, stage, kills, total, KINDS)
    outcome.extras |= quiet(context)
    return outcome


def storm(context: Context, stage: Stage, kills: int, total: int, kinds: tuple) -> Outcome:
    """The kills, their kinds in turns, and their judgement."""
    rng, maker, wire = context.random(), Maker(), Wire(stage.publisher_line)
    rig = Rig(context, broker=stage.broker, port=stage.publisher_line.port)
    rig.judge.port = stage.consumer_line.port
    with rig:
        rig.edge.start()
        rig.edge.wait_running()
        began, destroyed, away_s = time.monotonic(), 0, []
        for kill in range(1, kills + 1):
            for _ in range(total * kill // kills - total * (kill - 1) // kills):
                rig.drop(maker.mixed(rng))
            destroyed += kinds[kill % len(kinds)](stage, wire, rng)
            time.sleep(rng.uniform(0, 0.4))
            stage.broker.restart()
            away_s.append(time_to_return(rig, stage))
            if kill % 20 == 0:
                context.progress(f"{kill} kills, {len(rig.judge.arrivals)} results came")
        traffic = stage.publisher_line.traffic
        connects_per_s = len(traffic.connects) / (time.monotonic() - began)
        rig.drain(60 + total / 20)
        outcome = rig.outcome(
            kills=kills,
            destroyed_after_puback=destroyed,
            reconnects=len(traffic.connacks) - 1,
            longest_reconnect_s=round(max(away_s), 1),
            connects_per_s=round(connects_per_s, 2),
        )
        outcome.require(connects_per_s <= 1, f"{connects_per_s:.2f} CONNECTs a second")
        outcome.require(rig.edge.is_alive(), "the daemon has ended")
        if before_the_delivery in kinds:
            outcome.require(destroyed > 0, "no kill fell between an answer and its delivery")
        return outcome


def time_to_return(rig: Rig, stage: Stage) -> float:
    """Seconds until device and judge are on the broker again."""
    began = time.monotonic()
    both = lambda: stage.publisher_line.connected() and rig.judge.wait_subscribed(0)  # noqa: E731
    if not wait_until(both, PATIENCE):
        raise TimeoutError(f"no connection after {PATIENCE} s:\n{rig.edge.log_tail()}")
    return time.monotonic() - began


def at_random(stage: Stage, _wire: Wire, rng: random.Random) -> int:
    """Whatever happens to be under way."""
    time.sleep(rng.uniform(0, 1))
    stage.broker.kill()
    return 0


def after_an_answer(stage: Stage, wire: Wire, _rng: random.Random) -> int:
    """As soon as a message was acknowledged."""
    wire.wait(1, PATIENCE)
    stage.broker.kill()
    return 0


def before_the_delivery(stage: Stage, wire: Wire, _rng: random.Random) -> int:
    """Acknowledged, and gone before the consumer had it; returns how many at least."""
    stage.consumer_line.inject(Swallow(DOWN))
    before = len(wire.answered)
    wire.wait(WITHHELD, PATIENCE)
    stage.broker.kill()
    stage.consumer_line.reset()
    stage.consumer_line.inject(Fault())
    return len(wire.answered) - before


# What a broker's death is like, and what only a test does.
NATURAL = (at_random, after_an_answer)
KINDS = (*NATURAL, before_the_delivery)


def quiet(context: Context) -> dict:
    """How long a confirmation takes when nothing is broken: on the wire, and in the journal."""
    maker = Maker("quiet")
    with Stage(context.folder / "quiet-broker") as stage:
        line, broker = stage.publisher_line, stage.broker
        with Rig(context, confirm="broker", broker=broker, port=line.port, name="quiet") as rig:
            rig.edge.start()
            rig.edge.wait_running()
            for _ in range(QUIET):
                rig.drop(maker.empty())
                time.sleep(QUIET_PAUSE_S)
            rig.drain(PATIENCE)
            if not wait_until(lambda: not rig.edge.backlog(), PATIENCE, 0.5):
                raise TimeoutError("results of the quiet phase were not confirmed")
            confirmed_ms = confirm_times_ms(rig.edge.journal())
        wire_ms = [seconds * 1000 for seconds in line.traffic.round_trips_s]
    return {
        "result_to_confirm_ms_median": round(statistics.median(confirmed_ms), 1),
        "result_to_confirm_ms_p99": round(quantile(confirmed_ms, 0.99), 1),
        "puback_ms_median": round(statistics.median(wire_ms), 2),
        "puback_ms_p99": round(quantile(wire_ms, 0.99), 2),
    }


def confirm_times_ms(records: list[dict]) -> list[int]:
    """From the record of each result to the record of its confirmation."""
    signed, times = {}, []
    for record in records:
        if record["type"] == "result":
            signed[record["seq"]] = record["time_ms"]
        elif record["type"] == "confirm":
            times.append(record["time_ms"] - signed[record["seq"]])
    return times


def quantile(values: list[float], part: float) -> float:
    """The value that this part of all lies at or below."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]
