"""T17: an attacker at the broker, with the credentials and the signing key of another device.

Once at a broker set up as a site would (passwords, an access list, client ids bound to user names),
which has to refuse; and once at a broker where everybody may everything, where the consumers and the
device have to. The device's outbox is full of results that no consumer has acknowledged: no forgery
may free one.
"""

import contextlib
import time
from dataclasses import dataclass, field

import mqtt5
from attacker import CLOSED, Attacker, Refused
from broker import Broker
from checker import Checker
from edge import Edge
from forger import (
    IGNORED,
    KNOWN,
    OWN,
    OWN_ROOT,
    ROOT,
    SITE,
    STALE,
    VICTIM,
    Forger,
    Forgery,
    Heard,
    seed_of,
)
from outcome import Context, Outcome
from process import wait_until
from signing import ConsumerKey
from studies import Maker
from subscriber import FRESH, Subscriber
from together import added

ID = "T17"
TITLE = "forgery through the broker, with and without access control"

RESULTS = 12
NOT_AUTHORISED = 0x87
PATIENCE = 30.0
# The subscriber tells the broker that larger packets are not to be sent to it.
SUBSCRIBER_TAKES = 31 * 1024
# Two devices, the consumer, a second one that listens for the test, and the program's own.
ROOM, EAR, DESK = "room", "ear", "desk"
PASSWORDS = {name: f"password of {name}" for name in (VICTIM, OWN, ROOM, EAR, DESK)}
OTHER_EPOCH = "0123456789abcdef"


def access_list() -> str:
    """Each device writes its own topics and reads what is meant for it; consumers read everything
    and write acknowledgements and commands."""
    lines = []
    for device in (VICTIM, OWN):
        root = f"hcc/v1/{SITE}/{device}"
        lines.append(f"user {device}")
        kinds = ("status", "info", "result", "result/view", "job", "telemetry", "reply", "alarm/+")
        lines += [f"topic write {root}/{kind}" for kind in kinds]
        lines += [f"topic read {root}/{kind}" for kind in ("cmd/+", "ack")]
    for consumer in (ROOM, EAR, DESK):
        lines += [f"user {consumer}", "topic read hcc/v1/#"]
        lines += [f"topic write hcc/v1/{SITE}/+/{kind}" for kind in ("cmd/+", "ack")]
    return "\n".join(lines) + "\n"


@dataclass
class Tally:
    """What was tried and what went wrong."""

    attempts: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def judge(self, attempt: str, holds: bool, why: str) -> None:
        """One attempt; several judgements of one attempt count once."""
        if attempt not in self.attempts:
            self.attempts.append(attempt)
        if not holds:
            self.failures.append(f"{attempt}: {why}")


def run(context: Context) -> Outcome:
    outcomes, attempts, failures = [], [], []
    for with_access_list in (True, False):
        with Site(context, with_access_list) as site:
            site.fill_the_outbox()
            tally = site.attack()
            outcomes.append(site.end())
        attempts += tally.attempts
        failures += tally.failures
    total = added(outcomes)
    succeeded = {
        attempt for attempt in attempts if any(why.startswith(f"{attempt}: ") for why in failures)
    }
    total.failures += failures
    total.extras = {"attempts": len(attempts), "refused": len(attempts) - len(succeeded)}
    return total


class Site:
    """Broker, victim, the attacker's own device (which only lends its key) and the judge."""

    def __init__(self, context: Context, with_access_list: bool) -> None:
        self.context, self.with_access_list = context, with_access_list
        self.label = "access list" if with_access_list else "open broker"
        folder = context.folder / self.label.replace(" ", "-")
        self.folder, self.tally = folder, Tally()
        if with_access_list:
            extra = "use_username_as_clientid true\n"
            self.broker = Broker(
                folder / "broker", acl=access_list(), passwords=PASSWORDS, extra=extra
            )
        else:
            self.broker = Broker(folder / "broker")
        self.key = ConsumerKey(context.random("consumer key").randbytes(32))
        self.edge = Edge(
            context.binary, folder, self.broker.port, self._settings(), trusted=[self.key]
        )
        lender = Edge(context.binary, folder / OWN, self.broker.port, {"device": OWN})
        self.own_key = seed_of((lender.state / "keys" / "device.pk8").read_bytes())
        # One trust store for the whole site, devices and consumers alike.
        with self.edge.trust.open("a") as trust:
            trust.write("\n" + lender.trust.read_text())
        user, password = self._login(ROOM)
        self.judge = Checker(
            self.broker.port,
            self.edge.trust,
            self.key,
            acknowledge=False,
            username=user,
            password=password,
        )
        self.subscriber: Subscriber | None = None

    def _settings(self) -> dict:
        settings = {"delivery.confirm": "consumer"}
        if self.with_access_list:
            file = self.folder / "password"
            self.folder.mkdir(parents=True, exist_ok=True)
            file.write_text(PASSWORDS[VICTIM])
            settings |= {"mqtt.username": VICTIM, "mqtt.password_file": str(file)}
        return settings

    def _login(self, name: str) -> tuple[str | None, str | None]:
        return (name, PASSWORDS[name]) if self.with_access_list else (None, None)

    def __enter__(self) -> "Site":
        try:
            self.judge.start()
            login = (DESK, PASSWORDS[DESK]) if self.with_access_list else None
            where = (self.broker.port, self.edge.trust, self.folder / "seen")
            self.subscriber = Subscriber(self.context.binary, *where, login)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Ends everything."""
        if self.subscriber is not None:
            self.subscriber.close()
        self.judge.stop()
        self.edge.close()
        self.broker.close()

    def fill_the_outbox(self) -> None:
        """Results that arrive and are not acknowledged; what the attacker heard meanwhile."""
        maker = Maker(self.label.replace(" ", "-"))
        self.edge.start()
        self.edge.wait_running()
        for _ in range(RESULTS):
            study = maker.empty()
            self.judge.expect(study)
            self.edge.drop(study)
        if not wait_until(lambda: len(self.judge.arrivals) == RESULTS, PATIENCE):
            raise TimeoutError(f"{len(self.judge.arrivals)} results came:\n{self.edge.log_tail()}")
        self.confirms = self._confirms()
        self.heard = self._listen()
        self.forger = Forger(self.own_key, self.context.random("unknown").randbytes(32), self.heard)

    def _listen(self) -> Heard:
        """The recordings; the first status is a stale one as soon as a second was published."""
        results = [one.payload for one in self.judge.arrivals]
        epoch = self.judge.arrivals[0].epoch
        with self._attacker(EAR) as listener:
            listener.subscribe([f"{ROOT}/status"])
            wait_until(lambda: not listener.listen(0.05) or listener.received, PATIENCE)
            status = listener.received[0].payload
        ack = self.key.ack(SITE, VICTIM, epoch, 1)
        # A consumer acknowledged the first result: that much may be free.
        self.judge.publish("ack", ack)
        wait_until(lambda: self._confirms() == {1}, PATIENCE)
        self.confirms = self._confirms()
        return Heard(
            results,
            status,
            epoch,
            ack,
            foreign_ack=self.key.ack(SITE, OWN, epoch, RESULTS),
            foreign_resend=self.key.resend(SITE, OWN, epoch, 1, RESULTS),
            old_epoch_ack=self.key.ack(SITE, VICTIM, OTHER_EPOCH, RESULTS),
        )

    def _attacker(self, name: str = OWN, **how) -> Attacker:
        user, password = self._login(name)
        return Attacker(
            self.broker.port, how.pop("client_id", f"{name}-tool"), user, password, **how
        )

    def _confirms(self) -> set[int]:
        return {record["seq"] for record in self.edge.journal() if record["type"] == "confirm"}

    # --- The attack ------------------------------------------------------------------------------

    def attack(self) -> Tally:
        """Everything, one attempt after the other."""
        self.edge.stop()
        # A second boot: what was recorded of the first is stale now.
        self.edge.start()
        self.edge.wait_running()
        wait_until(lambda: any(one["boot"] == 2 for one in self.judge.statuses), PATIENCE)
        # What was not acknowledged comes once more, to be told apart from what the attacker sends.
        again = 2 * RESULTS - 1
        consumers = [lambda: len(self.judge.arrivals)]
        consumers += [lambda: len(self.subscriber.results())] if self.subscriber else []
        if not wait_until(lambda: all(count() >= again for count in consumers), PATIENCE):
            raise TimeoutError(f"{[count() for count in consumers]} of {again} results came")
        for forgery in self.forger.messages():
            self._publish(forgery)
        for attempt in (self._client_id, self._wrong_logins, self._will, self._filters, self._raw):
            attempt()
        if not self.with_access_list:
            self._newcomer()
        return self.tally

    def _judge(self, attempt: str, holds: bool, why: str) -> None:
        self.tally.judge(f"{self.label}, {attempt}", holds, why)

    def _publish(self, forgery: Forgery) -> None:
        arrivals, refused = len(self.judge.arrivals), len(self.judge.refused)
        lines = len(self.subscriber.lines) if self.subscriber else 0
        with self._attacker() as attacker:
            reason = attacker.publish(forgery.topic, forgery.payload, forgery.retain)
        if self.with_access_list:
            allowed = {0} if forgery.own_topic else {NOT_AUTHORISED, CLOSED}
            self._judge(forgery.name, reason in allowed, f"the broker answered {reason:#x}")
        if not self.with_access_list or forgery.own_topic:
            self._judge_audience(forgery, arrivals, refused, lines)
        self._judge_device(forgery.name)

    def _judge_audience(self, forgery: Forgery, arrivals: int, refused: int, lines: int) -> None:
        """What the consumers make of it. Each is waited for until it has spoken of the message."""
        judge, subscriber = self.judge, self.subscriber
        if forgery.taken == IGNORED:
            time.sleep(0.1)
            return
        if forgery.topic.endswith("/result"):
            count = lambda: len(judge.arrivals) + len(judge.refused)  # noqa: E731
            heard = wait_until(lambda: count() > arrivals + refused, PATIENCE)
            self._judge(forgery.name, heard, "the checker has not heard it")
            genuine = set(self.heard.results)
            fresh = [one for one in judge.arrivals[arrivals:] if one.payload not in genuine]
            self._judge(forgery.name, not fresh, "the checker took it for a result")
            believed = len(judge.arrivals) > arrivals
            self._judge(
                forgery.name,
                believed == (forgery.taken == KNOWN),
                f"the checker: {judge.refused[-1:]}",
            )
        if subscriber is None or len(forgery.payload) > SUBSCRIBER_TAKES:
            return
        if forgery.taken == STALE:
            self._judge_stale(forgery, lines)
            return
        spoken = wait_until(lambda: self._said(lines, "result", "refused"), PATIENCE)
        self._judge(forgery.name, spoken, "the subscriber says nothing of it")
        verdicts = [line["verdict"] for line in self._said(lines, "result")]
        wanted = ["duplicate"] if forgery.taken == KNOWN else []
        self._judge(forgery.name, verdicts == wanted, f"the subscriber shows results {verdicts}")

    def _judge_stale(self, forgery: Forgery, lines: int) -> None:
        """A subscriber may say that it is stale, or nothing; not show it as the device's state."""
        first_boot = lambda line: line["status"]["boot"] == 1 and not line.get(
            "stale"
        )  # noqa: E731
        shown = wait_until(lambda: any(map(first_boot, self._said(lines, "status"))), 1)
        self._judge(forgery.name, not shown, "the subscriber shows an old status as the newest")

    def _said(self, lines: int, *events: str) -> list[dict]:
        """What the subscriber has said of these kinds, after so many lines."""
        return [line for line in self.subscriber.lines[lines:] if line["event"] in events]

    def _judge_device(self, attempt: str) -> None:
        """The outbox is as it was, and nothing was sent again."""
        freed = self._confirms() - self.confirms
        self._judge(attempt, not freed, f"freed results {sorted(freed)} from the outbox")
        self._judge(attempt, self.edge.is_alive(), f"the daemon has ended:\n{self.edge.log_tail()}")

    def _client_id(self) -> None:
        """The victim's client id: with bound ids it stays connected, otherwise it comes back."""
        name = "the victim's client id"
        connected = self.edge.log_since_start().count("connected to the broker")
        with contextlib.suppress(Refused), self._attacker(client_id=VICTIM) as attacker:
            attacker.listen(1.0)
        again = wait_until(
            lambda: self.edge.log_since_start().count("connected to the broker") > connected, 4
        )
        self._judge(
            name, again != self.with_access_list, "taken over" if again else "never came back"
        )
        self._judge_device(name)

    def _wrong_logins(self) -> None:
        """Without the victim's password there is no connection as the victim."""
        if not self.with_access_list:
            return
        for name, user, password in (
            ("no login", None, None),
            ("no password", VICTIM, None),
            ("empty password", VICTIM, ""),
            ("own password", VICTIM, PASSWORDS[OWN]),
            ("nobody", "nobody", "x"),
        ):
            try:
                Attacker(self.broker.port, VICTIM, user, password).close()
                self._judge(name, False, "the broker let it in")
            except Refused:
                self._judge(name, True, "")

    def _will(self) -> None:
        """A last will on the victim's status topic, published when the attacker's line breaks."""
        refused, statuses = len(self.judge.refused), len(self.judge.statuses)
        name = "a will on the victim's status"
        will = (f"{ROOT}/status", self.forger.statuses()[0].payload)
        with contextlib.suppress(Refused):
            self._attacker(will=will).close()
        heard = wait_until(lambda: len(self.judge.refused) > refused, 1)
        self._judge(
            name,
            heard != self.with_access_list,
            "published" if heard else "not refused by the checker",
        )
        offline = [one for one in self.judge.statuses[statuses:] if one["state"] == "offline"]
        self._judge(name, not offline, "the checker believes it")

    def _filters(self) -> None:
        """What an attacker may read. At an open broker reading is open; results must still arrive."""
        filters = ("#", "hcc/#", "+/+/+/+/result", f"{ROOT}/cmd/+", f"{ROOT}/ack", "$SYS/#")
        shared = tuple(f"$share/x/{one}" for one in ("hcc/v1/+/+/result", f"{ROOT}/ack", "#"))
        for one in filters + shared:
            before = len(self.judge.arrivals)
            with self._attacker() as attacker:
                attacker.subscribe([one])
                epoch = self.heard.epoch
                self.judge.publish(
                    "cmd/resend", self.judge.key.resend(SITE, VICTIM, epoch, RESULTS, RESULTS)
                )
                arrived = wait_until(lambda: len(self.judge.arrivals) > before, PATIENCE)
                attacker.listen(0.2)
                seen = sorted(
                    {got.topic for got in attacker.received if not got.topic.startswith(OWN_ROOT)}
                )
            name = f"subscription to {one}"
            self._judge(name, arrived, "a result went astray")
            if self.with_access_list:
                self._judge(name, not seen, f"it reads {seen}")
            self._judge_device(name)

    def _raw(self) -> None:
        """Packets that break the protocol, aimed at the broker that the victim depends on."""
        oversized = mqtt5.publish(f"{ROOT}/result", bytes(1 << 20), 1)
        for name, data in (
            ("a message of 1 MiB", oversized),
            ("a topic with a wildcard", mqtt5.publish("hcc/v1/+/box-1/result", b"x", 1)),
            ("a topic in $SYS", mqtt5.publish("$SYS/broker/uptime", b"x", 1)),
            ("a topic with a NUL", mqtt5.publish(f"{ROOT}/result\0", b"x", 1)),
            ("noise", self.context.random("noise").randbytes(400)),
        ):
            arrivals = len(self.judge.arrivals)
            with self._attacker() as attacker:
                attacker.send_raw(data)
            self._judge(
                name, len(self.judge.arrivals) == arrivals, "the checker took it for a result"
            )
            self._judge_device(name)

    def _newcomer(self) -> None:
        """Somebody who subscribes now meets whatever the attacker left retained."""
        name = "retained forgeries and a newcomer"
        with Subscriber(
            self.context.binary, self.broker.port, self.edge.trust, self.folder / "newcomer"
        ) as late:
            met = wait_until(lambda: late.refused(), PATIENCE)
            self._judge(name, met, "it met none of the retained forgeries")
            shown = [one for one in late.results() if one.verdict in FRESH]
        self._judge(name, not shown, f"it shows {shown}")

    # --- The end ---------------------------------------------------------------------------------

    def end(self) -> Outcome:
        """The attacker is gone, the consumer acknowledges: everything is there and is confirmed."""
        self.judge.acknowledge = True
        drained = self.judge.drain(self.edge, PATIENCE)
        verdict = self.judge.verdict(self.edge)
        # What the judge refused was the attacker's: that it was refused is the point.
        refusals = {f"{one.topic}: {one.why}" for one in self.judge.refused}
        wrong = [what for what in verdict.wrong if what not in refusals]
        outcome = Outcome(
            verdict.injected,
            verdict.accepted,
            verdict.delivered,
            len(verdict.lost),
            verdict.duplicates,
            len(wrong),
        )
        outcome.failures += [f"{self.label}: {what}" for what in wrong + verdict.lost]
        outcome.require(
            drained, f"{self.label}: not everything was delivered and confirmed in time"
        )
        return outcome
