"""The independent judge: an MQTT 5 subscriber that verifies every result with scripts/verify.py,
keeps a ledger of what arrived, acknowledges, asks again, and says in the end what was lost.

    judge = Checker(port, edge.trust, key)        key: the consumer's, None when it may not sign
    judge.start()
    judge.expect(study)                           before the study is dropped
    judge.drain(edge, seconds)                    waits for every expected study, asks again
    verdict = judge.verdict(edge)                 injected, accepted, delivered, lost, wrong ...
    judge.stop()

It shares no code with the device's program. It connects anew by itself and has no session at the
broker, so that a broker's kill may cost it messages: those are what `resend` is for. With
`acknowledge=True` it signs what it holds without a gap (`delivery.confirm = "consumer"`).
`judge.arrivals`, `judge.refused`, `judge.alarms`, `judge.statuses` and `judge.replies` may be read
at any time under `judge.lock`; `judge.publish(topic, payload)` sends below the device's root.
"""

import hashlib
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge import DEVICE, SITE, Edge
from signing import ConsumerKey, verify
from studies import Study

ROOT = "hcc/v1"
TICK = 0.1
# Between two looks for results that did not come.
QUIET = 1.5
# Acknowledgements are repeated: one that overtakes the broker's PUBACK does not count.
REPEAT = 1.0


@dataclass(frozen=True)
class Arrival:
    """One message on the result topic that verified."""

    site: str
    device: str
    epoch: str
    seq: int
    prev: str
    result_id: str
    status: str
    reasons: tuple[str, ...]
    digests: frozenset[str]  # of the study's files
    sha256: str  # of the whole message
    at: float  # time.monotonic()
    retained: bool
    payload: bytes

    @property
    def chain(self) -> tuple[str, str, str]:
        return self.site, self.device, self.epoch


@dataclass
class Refusal:
    """One message on the result topic that did not verify."""

    topic: str
    payload: bytes
    why: str
    at: float


@dataclass
class Verdict:
    """What the judge found; the lists name the studies and the complaints."""

    injected: int = 0
    accepted: int = 0
    delivered: int = 0
    duplicates: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Checker:
    """The subscriber and its ledger."""

    def __init__(
        self,
        port: int,
        trust: Path,
        key: ConsumerKey | None = None,
        *,
        site: str = SITE,
        device: str = DEVICE,
        acknowledge: bool = True,
        username: str | None = None,
        password: str | None = None,
    ):
        self.port, self.key = port, key
        self.root = f"{ROOT}/{site}/{device}"
        self.site, self.device = site, device
        self.acknowledge = acknowledge and key is not None
        self.trust = verify.read_trust(trust.read_text())
        self.lock = threading.Lock()
        self.expected: dict[frozenset[str], list[str]] = {}  # names by the files' digests
        self.dropped_at: dict[frozenset[str], float] = {}
        self.arrivals: list[Arrival] = []
        self.refused: list[Refusal] = []
        self.alarms: list[tuple[str, dict | None]] = []  # code, content; None when cleared
        self.statuses: list[dict] = []
        self.replies: list[dict] = []
        self._asked: set[str] = set()
        self.connects = 0
        self._seqs: dict[tuple, dict[int, Arrival]] = {}
        self._contiguous: dict[tuple, int] = {}
        self._last_look = 0.0
        self._ack_due: set[str] = set()
        self._acked_at = 0.0
        self._ending = threading.Event()
        self._connected = threading.Event()
        self._client = self._make_client(username, password)
        self._acknowledger = threading.Thread(target=self._acknowledge, daemon=True)

    def _make_client(self, username, password) -> mqtt.Client:
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        if username is not None:
            client.username_pw_set(username, password)
        # Quicker than the device: a result without a subscriber is held back for half a minute.
        client.reconnect_delay_set(0.02, 0.1)
        client.on_connect = self._on_connect
        client.on_disconnect = lambda *_: self._connected.clear()
        client.on_subscribe = lambda *_: self._connected.set()
        client.on_message = self._on_message
        return client

    # --- Life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Returns when it is subscribed."""
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0
        self._client.connect_async("127.0.0.1", self.port, clean_start=True, properties=properties)
        self._client.loop_start()
        if not self.wait_subscribed(20):
            raise RuntimeError(f"the judge cannot subscribe at port {self.port}")
        self._acknowledger.start()

    def wait_subscribed(self, seconds: float) -> bool:
        """Whether it is subscribed, at the latest after that time."""
        return self._connected.wait(seconds)

    def stop(self) -> None:
        self._ending.set()
        self._client.disconnect()
        self._client.loop_stop()
        if self._acknowledger.is_alive():
            self._acknowledger.join(timeout=5)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def publish(self, topic: str, payload: bytes) -> None:
        """Sends a message below the device's root, once, if connected."""
        self._client.publish(f"{self.root}/{topic}", payload, qos=1)

    # --- What comes in ---------------------------------------------------------------------------

    def _on_connect(self, client, _userdata, _flags, reason, _properties) -> None:
        if reason.is_failure:
            return
        self.connects += 1
        kinds = ("result", "status", "alarm/+", "reply")
        client.subscribe([(f"{ROOT}/+/+/{kind}", 1) for kind in kinds])

    def _on_message(self, _client, _userdata, message) -> None:
        kind = message.topic.split("/", 4)[4]
        with self.lock:
            if kind == "result":
                self._result(message)
            elif kind == "status":
                self._status(message)
            elif kind == "reply":
                self.replies.append(json.loads(message.payload))
            else:
                content = json.loads(message.payload) if message.payload else None
                self.alarms.append((kind.removeprefix("alarm/"), content))

    def _verified(self, kind: str, message) -> dict:
        address = tuple(message.topic.split("/")[2:4])
        return verify.verify(kind, message.payload, self.trust, address)

    def _result(self, message) -> None:
        now = time.monotonic()
        try:
            result = self._verified("result", message)
        except verify.Refused as problem:
            self.refused.append(Refusal(message.topic, message.payload, str(problem), now))
            return
        names = ("site", "device", "epoch", "seq", "prev", "result_id", "status")
        arrival = Arrival(
            *(result[name] for name in names),
            reasons=tuple(reason["code"] for reason in result["reasons"]),
            digests=frozenset(part["digest"] for part in result["input_digest"]["series"]),
            sha256=hashlib.sha256(message.payload).hexdigest(),
            at=now,
            retained=message.retain,
            payload=message.payload,
        )
        self.take(arrival)

    def take(self, arrival: Arrival) -> None:
        """Enters a verified result in the ledger; the lock is held."""
        self.arrivals.append(arrival)
        known = self._seqs.setdefault(arrival.chain, {})
        known.setdefault(arrival.seq, arrival)
        self._contiguous[arrival.chain] = run_from(known, self._contiguous.get(arrival.chain, 0))
        self._ack_due.add(arrival.epoch)

    def _status(self, message) -> None:
        try:
            self.statuses.append(self._verified("status", message))
        except verify.Refused as problem:
            self.refused.append(
                Refusal(message.topic, message.payload, str(problem), time.monotonic())
            )

    def standing_alarm(self, code: str) -> dict | None:
        """What the device's alarm of this code says at the moment; None when there is none."""
        with self.lock:
            told = [content for name, content in self.alarms if name == code]
        return told[-1] if told else None

    # --- What goes out ---------------------------------------------------------------------------

    def _acknowledge(self) -> None:
        """Signs what is held without a gap: soon after an arrival, and once a second."""
        while not self._ending.wait(TICK):
            if not self.acknowledge:
                continue
            now = time.monotonic()
            with self.lock:
                repeat = now - self._acked_at >= REPEAT
                due = [
                    (epoch, seq)
                    for (site, device, epoch), seq in self._contiguous.items()
                    if seq and (site, device) == (self.site, self.device)
                    and (repeat or epoch in self._ack_due)
                ]
                self._ack_due.clear()
            if repeat:
                self._acked_at = now
            for epoch, seq in due:
                self.publish("ack", self.key.ack(self.site, self.device, epoch, seq))

    def contiguous(self, epoch: str) -> int:
        """The last number up to which the device's results of an epoch arrived without a gap."""
        return self._contiguous.get((self.site, self.device, epoch), 0)

    def ask_again(self) -> None:
        """Asks for what follows the last result without a gap, in every epoch that is known."""
        epochs = {arrival.epoch for arrival in self.arrivals} | {s["epoch"] for s in self.statuses}
        for epoch in epochs:
            first = self.contiguous(epoch) + 1
            last = first + verify.MAX_RESEND - 1
            self.publish("cmd/resend", self.key.resend(self.site, self.device, epoch, first, last))

    # --- The judgement ---------------------------------------------------------------------------

    def expect(self, study: Study, dropped_at: float | None = None) -> None:
        """A study that is about to lie complete in the inbox. Expected twice: dropped twice."""
        with self.lock:
            self.expected.setdefault(study.digests, []).append(study.name)
            self.dropped_at.setdefault(study.digests, dropped_at or time.monotonic())

    def forget(self, study: Study) -> None:
        """The study did not get into the inbox after all."""
        with self.lock:
            names = self.expected[study.digests]
            names.remove(study.name)
            if not names:
                del self.expected[study.digests], self.dropped_at[study.digests]

    def missing(self) -> list[str]:
        """Expected studies without a verified result."""
        with self.lock:
            arrived = {arrival.digests for arrival in self.arrivals}
            return [n for key, names in self.expected.items() if key not in arrived for n in names]

    def drain(self, edge: Edge, seconds: float) -> bool:
        """Waits until every expected study has its result and no number is missing, and, where it
        acknowledges, until the device has confirmed them. Whether that came in time.

        When it is quiet, results that the device has signed and that did not come are asked for
        again. `asked` counts them: the device did not bring them by itself."""
        deadline = time.monotonic() + seconds
        held_back: set[str] = set()
        while (self.missing() or self.gaps()) and time.monotonic() < deadline:
            time.sleep(TICK)
            if self.key is None or time.monotonic() - self._last_look < QUIET:
                continue
            before, held_back = held_back, self._held_back(edge)
            self._last_look = time.monotonic()
            # Twice the same: they are not on their way.
            if held_back and held_back == before:
                self._asked |= held_back
                self.ask_again()
        while self.acknowledge and edge.backlog() and time.monotonic() < deadline:
            time.sleep(QUIET)
        return time.monotonic() < deadline

    def _held_back(self, edge: Edge) -> set[str]:
        """SHA-256 of the results in the device's journal that never came."""
        signed = {r["digest"] for r in edge.journal() if r["type"] == "result"}
        with self.lock:
            return signed - {arrival.sha256 for arrival in self.arrivals}

    @property
    def asked(self) -> int:
        """Results that came only after they had been asked for."""
        return len(self._asked)

    def gaps(self) -> list[str]:
        """Numbers that never came although a later one did."""
        with self.lock:
            return [
                f"{'/'.join(chain)}: {max(known) - len(known)} before {max(known)} never came"
                for chain, known in self._seqs.items()
                if len(known) != max(known)
            ]

    def verdict(self, edge: Edge | None = None, *, epochs: int = 1, forged=frozenset()) -> Verdict:
        """Judges everything that happened. `epochs`: how many the device may have gone through;
        `forged`: SHA-256 of messages that the test itself, not the device, put on the topic."""
        missing = self.missing()
        with self.lock:
            genuine = [a for a in self.arrivals if a.sha256 not in forged]
            verdict = Verdict(
                injected=sum(map(len, self.expected.values())),
                accepted=len(edge.claims()) if edge else 0,
                duplicates=sum(n - 1 for n in Counter(a.sha256 for a in genuine).values()),
                lost=missing,
            )
            for refusal in self.refused:
                if hashlib.sha256(refusal.payload).hexdigest() not in forged:
                    verdict.wrong.append(f"{refusal.topic}: {refusal.why}")
            verdict.wrong += self._wrong_results(genuine)
            verdict.wrong += chain_faults(genuine)
            chains = {arrival.chain for arrival in genuine}
            if len(chains) > epochs:
                verdict.wrong.append(f"{len(chains)} epochs, expected at most {epochs}")
        verdict.delivered = verdict.injected - len(verdict.lost)
        verdict.wrong += self.gaps()
        return verdict

    def _wrong_results(self, genuine: list[Arrival]) -> list[str]:
        """Results of studies that were never dropped, and more results than a study may have."""
        wrong = []
        by_study: dict[frozenset[str], dict[str, Arrival]] = {}
        for arrival in genuine:
            by_study.setdefault(arrival.digests, {})[arrival.sha256] = arrival
            if arrival.retained:
                wrong.append(f"result {arrival.seq} was retained")
        for digests, messages in by_study.items():
            names = self.expected.get(digests)
            where = f"results {sorted(a.seq for a in messages.values())}"
            if names is None:
                wrong.append(f"{where}: no study with these files was dropped")
                continue
            if len({arrival.result_id for arrival in messages.values()}) > 1:
                wrong.append(f"{where} of {names[0]} differ in their result_id")
            # A failed study that is dropped again may be tried again; every other result is final.
            failed = all(arrival.status == "failed" for arrival in messages.values())
            if len(messages) > (len(names) if failed else 1):
                wrong.append(f"{where} are too many for {names[0]}, dropped {len(names)} times")
        return wrong

    def latencies(self) -> list[float]:
        """Seconds from the drop to the first arrival of each study's result, ascending."""
        with self.lock:
            first: dict[frozenset[str], float] = {}
            for arrival in self.arrivals:
                first.setdefault(arrival.digests, arrival.at)
            dropped = self.dropped_at
            return sorted(first[key] - dropped[key] for key in first if key in dropped)


def run_from(known, last: int) -> int:
    """The end of the run of numbers in `known` that goes on after `last`."""
    while last + 1 in known:
        last += 1
    return last


def chain_faults(arrivals: list[Arrival]) -> list[str]:
    """Forks (one number, two messages) and links that do not hold."""
    faults = []
    chains: dict[tuple, dict[int, Arrival]] = {}
    for arrival in arrivals:
        known = chains.setdefault(arrival.chain, {}).setdefault(arrival.seq, arrival)
        if known.sha256 != arrival.sha256:
            faults.append(f"FORK: two different messages with number {arrival.seq}")
    for known in chains.values():
        for seq, arrival in known.items():
            before = known.get(seq - 1)
            if before is not None and before.sha256 != arrival.prev:
                faults.append(f"result {seq} does not follow result {seq - 1}")
    return faults
