"""T16: genuine messages come again, in another order, with gaps, of an old epoch, from a clone.

Every message was signed by a device; a replayer publishes them as it likes. Two consumers judge: the
checker, and `hcc-edge subscribe` with its state.
"""

import itertools
import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from attacker import Attacker
from broker import Broker
from checker import Arrival, Checker
from edge import Edge
from outcome import Context, Outcome
from process import wait_until
from rig import Rig
from studies import Maker, Study
from subscriber import FRESH, Subscriber

ID = "T16"
TITLE = "replay, reordering, gaps, an old epoch, a cloned device"

# Results before the device is copied, of either copy after that, and of another epoch. The consumer
# remembers 128 numbers and 32 gaps per epoch; a replay stays within that.
COMMON, APART, OTHER = 50, 6, 10
TIMES = 10
# Rounds of random order in the short and the long form.
SHORT, LONG = 1, 8
PATIENCE = 60.0


@dataclass
class Recording:
    """Messages of one key."""

    common: list[Arrival]
    ours: list[Arrival]
    theirs: list[Arrival]
    other_epoch: list[Arrival]
    trust: Path
    studies: list[Study]


@dataclass
class Scenario:
    """What is published, in this order, and what a consumer must make of it.

    `exact`: every message is shown as a result exactly once and called a duplicate each other time;
    otherwise it may also be called too old to be judged.
    """

    name: str
    feed: list[Arrival]
    gaps: set[tuple[int, int]] | None = None
    fork_at: int | None = None
    exact: bool = True


@dataclass
class Figures:
    """Over all scenarios."""

    messages: int = 0
    duplicates: int = 0
    forks: int = 0
    gaps: int = 0
    failures: list[str] = field(default_factory=list)


def run(context: Context) -> Outcome:
    rig = Rig(context, confirm="broker")
    with rig:
        recording = record(context, rig)
        live = clones_at_once(context, rig, recording)
    figures = Figures(failures=live)
    with Broker(context.folder / "replay-broker") as broker:
        for number, scenario in enumerate(scenarios(recording, context)):
            context.progress(f"{scenario.name}: {len(scenario.feed)} messages")
            folder = context.folder / f"scenario-{number}"
            play(context, broker, recording, scenario, folder, figures)
    outcome = Outcome(
        injected=len(recording.studies),
        accepted=len(recording.studies),
        delivered=len({arrival.digests for arrival in everything(recording)}),
        duplicates=figures.duplicates,
        extras={"messages": figures.messages, "gaps": figures.gaps, "forks": figures.forks},
        failures=figures.failures,
    )
    outcome.lost = outcome.injected - outcome.delivered
    return outcome


# --- The messages --------------------------------------------------------------------------------


def record(context: Context, rig: Rig) -> Recording:
    """A device makes results; it is copied, and both copies make different ones; a third device
    has the same key and an epoch of its own."""
    maker, studies = Maker(), []

    def results(edge: Edge, count: int) -> list[Arrival]:
        before = len(rig.judge.arrivals)
        edge.start()
        edge.wait_running()
        for _ in range(count):
            studies.append(maker.empty())
            rig.judge.expect(studies[-1])
            edge.drop(studies[-1])
        if not wait_until(
            lambda: len(rig.judge.arrivals) == before + count and not edge.backlog(), PATIENCE, 0.2
        ):
            raise TimeoutError(
                f"{len(rig.judge.arrivals) - before} of {count} results:\n{edge.log_tail()}"
            )
        edge.stop()
        return rig.judge.arrivals[before:]

    common = results(rig.edge, COMMON)
    clone = copy_of(context, rig, "clone", "")
    ours, theirs = results(rig.edge, APART), results(clone, APART)
    other = results(copy_of(context, rig, "other-epoch", "keys"), OTHER)
    return Recording(common, ours, theirs, other, rig.edge.trust, studies)


def copy_of(context: Context, rig: Rig, name: str, part: str) -> Edge:
    """A device whose state, or only this part of it, is a copy of the rig's."""
    edge = Edge(
        context.binary, context.folder / name, rig.broker.port, {"delivery.confirm": "broker"}
    )
    shutil.rmtree(edge.state / part)
    shutil.copytree(rig.edge.state / part, edge.state / part)
    return edge


def everything(recording: Recording) -> list[Arrival]:
    return recording.common + recording.ours + recording.theirs + recording.other_epoch


# --- The scenarios -------------------------------------------------------------------------------


def scenarios(recording: Recording, context: Context) -> list[Scenario]:
    common, ours, theirs = recording.common, recording.ours, recording.theirs
    other, rng = recording.other_epoch, context.random()
    after = COMMON + 1
    shuffled = [
        Scenario(f"shuffled {round_}", common[:1] + rng.sample(common * TIMES, COMMON * TIMES))
        for round_ in range(context.size(SHORT, LONG))
    ]
    return [
        Scenario("ten times each", [one for one in common for _ in range(TIMES)], gaps=set()),
        Scenario("ten times all", common * TIMES, gaps=set()),
        Scenario("backwards", common[:1] + common[:0:-1], gaps={(2, COMMON - 1)}),
        Scenario("backwards to a newcomer", common[::-1] * 2, exact=False),
        *gap_scenarios(common, rng),
        *shuffled,
        Scenario("an old epoch again", common + other + common + other, gaps=set()),
        Scenario("the other epoch first", other + common + other + common, gaps=set()),
        Scenario("clone: same number", common + ours[:1] + theirs, fork_at=after),
        Scenario("clone: in turns", common + alternate(ours, theirs), fork_at=after),
        Scenario("clone: later number", common + ours + theirs[-1:], fork_at=COMMON + APART),
        Scenario("clone: link does not fit", common + ours[:1] + theirs[1:2], fork_at=after + 1),
        Scenario(
            "clone: the gap is filled by the other", common + ours[1:2] + theirs[:1], fork_at=after
        ),
    ]


def gap_scenarios(common: list[Arrival], rng: random.Random) -> list[Scenario]:
    """Some never come; then they come late."""
    missing = {(6, 9), (16, 16), (30, rng.randrange(31, 40))}
    late = [one for one in common if any(first <= one.seq <= last for first, last in missing)]
    early = [one for one in common if one not in late]
    return [
        Scenario("gaps that stay", early, gaps=missing),
        Scenario("gaps filled late", early + late + late, gaps=missing),
    ]


def alternate(first: list, second: list) -> list:
    return list(itertools.chain.from_iterable(zip(first, second, strict=True)))


# --- The judgement -------------------------------------------------------------------------------


def play(
    context: Context,
    broker: Broker,
    recording: Recording,
    scenario: Scenario,
    folder: Path,
    figures: Figures,
) -> None:
    """Publishes a scenario to two fresh consumers and judges what they say."""

    def require(holds: bool, why: str) -> None:
        if not holds:
            figures.failures.append(f"{scenario.name}: {why}")

    feed = scenario.feed
    checker = Checker(broker.port, recording.trust, acknowledge=False)
    for study in recording.studies:
        checker.expect(study)
    with checker, Subscriber(context.binary, broker.port, recording.trust, folder) as subscriber:
        with Attacker(broker.port, "replayer") as replayer:
            topic = f"hcc/v1/{feed[0].site}/{feed[0].device}/result"
            for arrival in feed:
                reason = replayer.publish(topic, arrival.payload)
                require(reason == 0, f"the broker answered 0x{reason:02x}")
        require(
            subscriber.wait_looked_at(len(feed), PATIENCE),
            "the subscriber did not speak of every message",
        )
        require(
            wait_until(lambda: len(checker.arrivals) >= len(feed), PATIENCE),
            "the checker missed messages",
        )
    judge_checker(scenario, checker, require)
    if scenario.fork_at is None:
        judge_order(scenario, subscriber, require, figures)
    else:
        judge_fork(scenario, subscriber, require, figures)
    figures.messages += len(feed)


def judge_checker(scenario: Scenario, checker: Checker, require) -> None:
    """The independent judge counts the copies, and calls forks and gaps by name."""
    verdict = checker.verdict(epochs=2)
    copies = len(scenario.feed) - len({one.sha256 for one in scenario.feed})
    require(
        verdict.duplicates == copies,
        f"checker: {verdict.duplicates} duplicates, {copies} were sent",
    )
    forked = any("FORK" in what or "does not follow" in what for what in verdict.wrong)
    require(forked == (scenario.fork_at is not None), f"checker: {verdict.wrong}")
    if scenario.fork_at is None:
        stays = missing_at_the_end(scenario.feed)
        require(
            bool(checker.gaps()) == bool(stays), f"checker: gaps {checker.gaps()}, missing {stays}"
        )
        strange = [what for what in verdict.wrong if "never came" not in what]
        require(not strange, f"checker: {strange}")


def missing_at_the_end(feed: list[Arrival]) -> set[tuple[str, int]]:
    """Numbers below the highest of their epoch that were never published."""
    known = {(one.epoch, one.seq) for one in feed}
    highest = {epoch: max(seq for e, seq in known if e == epoch) for epoch, _ in known}
    return {(e, seq) for e, top in highest.items() for seq in range(1, top)} - known


def judge_order(scenario: Scenario, subscriber: Subscriber, require, figures: Figures) -> None:
    """No message is shown as new twice, none is forgotten, and the gaps have their ranges."""
    results = subscriber.results()
    fresh = Counter((one.epoch, one.seq) for one in results if one.verdict in FRESH)
    sent = {(one.epoch, one.seq) for one in scenario.feed}
    require(not subscriber.refused(), f"refused {subscriber.refused()[:2]}")
    require(subscriber.fork() is None, f"a fork where there is none: {subscriber.fork()}")
    require(all(count == 1 for count in fresh.values()), "a message was shown as new twice")
    others = Counter(one.verdict for one in results if one.verdict not in FRESH)
    if scenario.exact:
        require(set(fresh) == sent, f"never shown: {sorted(sent - set(fresh))[:5]}")
        require(set(others) <= {"duplicate"}, f"verdicts {dict(others)}")
        copies = len(scenario.feed) - len(sent)
        require(
            others["duplicate"] == copies, f"{others['duplicate']} called duplicate, {copies} are"
        )
    require(set(others) <= {"duplicate", "too_old"}, f"verdicts {dict(others)}")
    reported = {one.range for one in results if one.verdict == "gap"}
    if scenario.gaps is not None:
        require(reported == scenario.gaps, f"gaps reported {reported}, there are {scenario.gaps}")
    figures.duplicates += others["duplicate"]
    figures.gaps += len(reported)


def judge_fork(scenario: Scenario, subscriber: Subscriber, require, figures: Figures) -> None:
    """The fork is called at its number, and nothing of the epoch is shown as a result afterwards."""
    fork = subscriber.fork()
    require(fork is not None, "the clone was not noticed")
    if fork is None:
        return
    figures.forks += 1
    seq, line = fork
    require(seq == scenario.fork_at, f"fork at {seq}, the histories part at {scenario.fork_at}")
    later = [one for one in subscriber.lines[line + 1 :] if one["event"] == "result"]
    require(not any(one["verdict"] in FRESH for one in later), "a result was shown after the fork")


def clones_at_once(context: Context, rig: Rig, recording: Recording) -> list[str]:
    """Both copies run at the same broker, each throwing the other out by its client id."""
    clone = copy_of(context, rig, "live-clone", "")
    maker, began = Maker("live"), time.monotonic()
    folder = context.folder / "live"
    with clone, Subscriber(context.binary, rig.broker.port, recording.trust, folder) as subscriber:
        for edge in (rig.edge, clone):
            edge.start()
        for edge in (rig.edge, clone):
            edge.wait_running()
            edge.drop(maker.empty())
        noticed = wait_until(lambda: subscriber.fork() is not None, PATIENCE)
        both = wait_until(lambda: not rig.edge.backlog() and not clone.backlog(), PATIENCE, 0.2)
        seconds = time.monotonic() - began
        taken_over = rig.edge.log_since_start().count("connected to the broker")
    failures = [] if noticed else ["two running copies of one device were not noticed"]
    if not both:
        failures.append("two running copies hinder each other's results for ever")
    if taken_over > 1 + seconds:
        failures.append(f"a copy connected {taken_over} times in {seconds:.0f} s")
    return failures
