"""Broker, device and judge together: what most tests start with.

    with Rig(context) as rig:                  settings={...}, confirm="broker", port=proxy_port ...
        rig.edge.start(); rig.edge.wait_running()
        rig.drop(study)                        expects it and drops it
        rig.drain(60)
        return rig.outcome(kills=20)           keyword arguments become extras of the line
"""

from pathlib import Path

from broker import Broker
from checker import Checker
from edge import Edge
from outcome import Context, Outcome
from signing import ConsumerKey
from studies import Study

# How many complaints of each kind a failing test lists.
SHOWN = 10


class Rig:
    """One broker, one device that trusts the judge's key, one judge subscribed at the broker."""

    def __init__(
        self,
        context: Context,
        settings: dict | None = None,
        *,
        confirm: str = "consumer",
        broker: Broker | None = None,
        port: int | None = None,
        state: Path | None = None,
        name: str = "rig",
    ):
        """`port` is where the device connects, a proxy's for instance; the broker's own if None."""
        self.context = context
        folder = context.folder / name
        self.key = ConsumerKey(context.random("consumer key").randbytes(32))
        self.broker = broker or Broker(folder / "broker")
        settings = {"delivery.confirm": confirm} | (settings or {})
        port = port or self.broker.port
        self.edge = Edge(
            context.binary, folder, port, settings, state=state, trusted=[self.key]
        )
        self.judge = Checker(
            self.broker.port, self.edge.trust, self.key, acknowledge=confirm == "consumer"
        )
        self.drained = True

    def __enter__(self):
        try:
            self.judge.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        self.judge.stop()
        self.edge.close()
        self.broker.close()

    def drop(self, study: Study, durable: bool = False) -> None:
        """Expects the study, then drops it; when it cannot be dropped it is not expected."""
        self.judge.expect(study)
        try:
            self.edge.drop(study, durable)
        except OSError:
            self.judge.forget(study)
            raise

    def drain(self, seconds: float) -> bool:
        """The faults are over: waits for everything that is still to come."""
        self.drained = self.judge.drain(self.edge, seconds)
        return self.drained

    def outcome(self, *, epochs: int = 1, forged=frozenset(), **extras) -> Outcome:
        """The judge's verdict as the outcome of the test."""
        verdict = self.judge.verdict(self.edge, epochs=epochs, forged=forged)
        outcome = Outcome(
            verdict.injected,
            verdict.accepted,
            verdict.delivered,
            len(verdict.lost),
            verdict.duplicates,
            len(verdict.wrong),
            {"asked": self.judge.asked} | extras,
        )
        outcome.failures += [f"lost: {name}" for name in verdict.lost[:SHOWN]]
        outcome.failures += [f"wrong: {what}" for what in verdict.wrong[:SHOWN]]
        outcome.require(self.drained, "not everything was delivered and confirmed in time")
        return outcome
