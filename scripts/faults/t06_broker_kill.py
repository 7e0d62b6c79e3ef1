"""T6: the broker, which keeps nothing on disk, is killed over and over while results flow.

Three kinds of kill take turns: at a random moment; at once when an acknowledgement of a result was
seen on the wire; and after results were acknowledged whose delivery to the consumer was held back,
so that nobody but the device has them.
"""

import statistics
import threading
import time

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
QUIET = 200
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


def run(context: Context) -> Outcome:
    kills, total = context.size(SHORT, LONG)
    broker = Broker(context.folder / "broker")
    device_line, judge_line = Proxy(broker.port), Proxy(broker.port)
    try:
        outcome = storm(context, broker, device_line, judge_line, kills, total, KINDS)
    finally:
        device_line.close()
        judge_line.close()
    outcome.extras |= quiet(context)
    return outcome


def storm(
    context: Context,
    broker: Broker,
    device_line: Proxy,
    judge_line: Proxy,
    kills: int,
    total: int,
    kinds: tuple,
) -> Outcome:
    """The kills, their kinds in turns, and their judgement."""
    rng, maker, wire = context.random(), Maker(), Wire(device_line)
    rig = Rig(context, broker=broker, port=device_line.port)
    rig.judge.port = judge_line.port
    with rig:
        rig.edge.start()
        rig.edge.wait_running()
        began, destroyed, away_s = time.monotonic(), 0, []
        for kill in range(1, kills + 1):
            for _ in range(total * kill // kills - total * (kill - 1) // kills):
                rig.drop(maker.mixed(rng))
            destroyed += kinds[kill % len(kinds)](broker, wire, judge_line, rng)
            time.sleep(rng.uniform(0, 0.4))
            broker.restart()
            back = time.monotonic()
            up = wait_until(
                lambda: device_line.connected() and rig.judge.wait_subscribed(0), PATIENCE
            )
            away_s.append(time.monotonic() - back)
            if not up:
                raise TimeoutError(
                    f"not connected {PATIENCE} s after the broker's return:\n{rig.edge.log_tail()}"
                )
            if kill % 20 == 0:
                context.progress(f"{kill} kills, {len(rig.judge.arrivals)} results came")
        connects_per_s = len(device_line.traffic.connects) / (time.monotonic() - began)
        rig.drain(60 + total / 20)
        outcome = rig.outcome(
            kills=kills,
            destroyed_after_puback=destroyed,
            reconnects=len(device_line.traffic.connacks) - 1,
            longest_reconnect_s=round(max(away_s), 1),
            connects_per_s=round(connects_per_s, 2),
        )
        outcome.require(connects_per_s <= 1, f"{connects_per_s:.2f} CONNECTs a second")
        outcome.require(rig.edge.is_alive(), "the daemon has ended")
        aimed = before_the_delivery in kinds
        outcome.require(
            destroyed > 0 or not aimed, "no kill fell between an acknowledgement and its delivery"
        )
        return outcome


def at_random(broker: Broker, _wire: Wire, _judge_line: Proxy, rng) -> int:
    """Whatever happens to be under way."""
    time.sleep(rng.uniform(0, 1))
    broker.kill()
    return 0


def after_an_answer(broker: Broker, wire: Wire, _judge_line: Proxy, _rng) -> int:
    """As soon as a result was acknowledged."""
    wire.wait(1, PATIENCE)
    broker.kill()
    return 0


def before_the_delivery(broker: Broker, wire: Wire, judge_line: Proxy, _rng) -> int:
    """Acknowledged, and gone before the consumer had it; returns how many at least."""
    judge_line.inject(Swallow(DOWN))
    before = len(wire.answered)
    wire.wait(WITHHELD, PATIENCE)
    broker.kill()
    judge_line.reset()
    judge_line.inject(Fault())
    return len(wire.answered) - before


# What a broker's death is like, and what only a test does.
NATURAL = (at_random, after_an_answer)
KINDS = (*NATURAL, before_the_delivery)


def quiet(context: Context) -> dict:
    """How long a confirmation takes when nothing is broken: on the wire, and in the journal."""
    broker = Broker(context.folder / "quiet-broker")
    line = Proxy(broker.port)
    maker = Maker("quiet")
    try:
        with Rig(context, confirm="broker", broker=broker, port=line.port, name="quiet") as rig:
            rig.edge.start()
            rig.edge.wait_running()
            for _ in range(QUIET):
                rig.drop(maker.empty())
                time.sleep(0.03)
            rig.drain(PATIENCE)
            if not wait_until(lambda: not rig.edge.backlog(), PATIENCE, 0.5):
                raise TimeoutError("results of the quiet phase were not confirmed")
            confirmed_ms = confirm_times_ms(rig.edge.journal())
    finally:
        line.close()
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
