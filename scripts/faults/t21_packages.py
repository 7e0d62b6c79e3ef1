"""T21: model packages are tampered with; no inference may come from one that does not verify.

Each tampered package is offered to the whole program with a study that it would analyse. What counts
as an inference is a signed result with an answer in it, read by the independent verifier. Files are
also exchanged while the program reads them and after it has read them: then a result must be the one
the genuine weights give, bit for bit. Old versions, validly signed, are brought back in every way.
"""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import edge as device
import process
import results
from edge import Edge
from outcome import Context, Outcome
from packages import MODEL, SIGNATURE, Bench, Shelf, Verdict
from studies import Maker, phantom_images

ID = "T21"
TITLE = "model packages tampered with, exchanged, rolled back; no inference from an unverified one"

# Tampered packages; analyses while files are exchanged; analyses after which they are.
TAMPERED = (40, 1_000)
RACES = (6, 60)
LATE = (2, 20)
PATIENCE = 60.0
# The package whose network is exchanged: every result has its mask.
EXCHANGED = "liver-tumour"
# The package of which an old version is brought back.
REVOKED = "liver-tumour"
# Nobody listens there: the results are read from the disk.
NO_BROKER = 9


def run(context: Context) -> Outcome:
    outcome = Outcome()
    bench = Bench(context.binary, context.folder)
    shelf = Shelf(context.binary, context.folder / "packages")
    genuine = bench.analyse(shelf)
    outcome.require(genuine.inferred, f"the genuine packages gave {genuine}")
    outcome.require(genuine.models == shelf.digests(), "the result names other packages")
    tampered(context, bench, shelf, outcome)
    exchanged(context, bench, shelf, genuine, outcome)
    served(context, shelf, outcome)
    rolled_back(context, bench, outcome)
    return outcome


# --- Tampered before it is read --------------------------------------------------------------------


def flip(rng: random.Random, shelf: Shelf, name: str) -> None:
    path = rng.choice(shelf.files(name))
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
    path.write_bytes(content)


def truncate(rng: random.Random, shelf: Shelf, name: str) -> None:
    path = rng.choice(shelf.files(name))
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def swap_file(rng: random.Random, shelf: Shelf, name: str) -> None:
    """A file of another package in the place of the one of the same name; both are signed."""
    path = rng.choice(shelf.files(name))
    other = rng.choice([other for other in shelf.names() if other != name])
    source = shelf.package(other) / path.relative_to(shelf.package(name))
    # Packages of the same kind have the same files; the card is in all of them.
    source = source if source.exists() else shelf.package(other) / "CARD.md"
    path.write_bytes(source.read_bytes())


def swap_package(rng: random.Random, shelf: Shelf, name: str) -> None:
    """The whole of another package, well signed, under this one's name."""
    other = rng.choice([other for other in shelf.names() if other != name])
    shutil.rmtree(shelf.package(name))
    version = shelf.package(other).name
    shutil.copytree(shelf.package(other), shelf.folder / name / version)


def unsigned(rng: random.Random, shelf: Shelf, name: str) -> None:
    signature = shelf.package(name) / SIGNATURE
    if rng.random() < 0.5:
        signature.unlink()
    else:
        signature.write_bytes(b"")


def wrong_key(_: random.Random, shelf: Shelf, name: str) -> None:
    """Signed as it should be, with a key that nobody trusts."""
    key = shelf.folder.parent / "stranger.pk8"
    if not key.exists():
        made = device.run(shelf.binary, "keys", "--key", key, "init", "--role", "consumer")
        assert made.returncode == 0, made.stderr.decode()
    shelf.sign(name, key)


def other_signature(rng: random.Random, shelf: Shelf, name: str) -> None:
    """The trusted key's signature of another manifest."""
    other = rng.choice([other for other in shelf.names() if other != name])
    shutil.copy(shelf.package(other) / SIGNATURE, shelf.package(name) / SIGNATURE)


def other_version(_: random.Random, shelf: Shelf, name: str) -> None:
    """An old package that calls itself a new one."""
    folder = shelf.package(name)
    folder.rename(folder.parent / "99.0.0")


def linked(rng: random.Random, shelf: Shelf, name: str) -> None:
    """A file whose name leads elsewhere, where it could be changed later."""
    path = rng.choice(shelf.files(name))
    away = shelf.folder / f"away-{path.name}"
    path.rename(away)
    path.symlink_to(away)


def added(_: random.Random, shelf: Shelf, name: str) -> None:
    (shelf.package(name) / "extra.onnx").write_bytes(b"not signed for")


def missing(rng: random.Random, shelf: Shelf, name: str) -> None:
    rng.choice(shelf.files(name)).unlink()


OTHERS: list[Callable[[random.Random, Shelf, str], None]] = [
    truncate,
    swap_file,
    swap_package,
    unsigned,
    wrong_key,
    other_signature,
    other_version,
    linked,
    added,
    missing,
]


def tampered(context: Context, bench: Bench, shelf: Shelf, outcome: Outcome) -> None:
    """Every second one a changed byte, the others every other way in turn."""
    rng, count = context.random("tamper"), context.size(*TAMPERED)
    refused = 0
    for number in range(count):
        how = flip if number % 2 else OTHERS[number // 2 % len(OTHERS)]
        name = rng.choice(shelf.names())
        with shelf.changed():
            how(rng, shelf, name)
            verdict = bench.analyse(shelf)
        refused += verdict.refused
        outcome.wrong += verdict.inferred
        outcome.require(verdict.refused, f"{how.__name__} of {name} ended as {verdict}")
        if number % 100 == 99:
            context.progress(f"{number + 1} tampered packages")
    outcome.extras |= {"tampered": count, "refused": refused}


# --- Exchanged between check and use -----------------------------------------------------------------


class Exchange:
    """One file of a package and another in its place, exchanged by rename."""

    def __init__(self, path: Path, other: bytes):
        self.path, self.genuine, self.other = path, path.read_bytes(), other

    def put(self, content: bytes) -> None:
        beside = self.path.parents[3] / "exchange"
        beside.write_bytes(content)
        beside.replace(self.path)


def other_weights(rng: random.Random, bench: Bench, shelf: Shelf, genuine: Verdict) -> bytes:
    """A network that runs, and gives something else; found by signing it and looking."""
    path = shelf.package(EXCHANGED) / MODEL
    for _ in range(20):
        content = bytearray(path.read_bytes())
        for place in (rng.randrange(len(content) // 4, len(content)) for _ in range(64)):
            content[place] ^= 0x10
        with shelf.changed():
            path.write_bytes(content)
            shelf.sign(EXCHANGED)
            seen = bench.analyse(shelf)
        if seen.inferred and seen.computed != genuine.computed:
            return bytes(content)
    raise RuntimeError("no other weights were found that run and give something else")


def exchanged(
    context: Context, bench: Bench, shelf: Shelf, genuine: Verdict, outcome: Outcome
) -> None:
    """While the files are read, and as soon as the worker has them."""
    rng = context.random("exchange")
    other = other_weights(rng, bench, shelf, genuine)
    exchange = Exchange(shelf.package(EXCHANGED) / MODEL, other)
    verdicts = [racing(rng, bench, shelf, exchange) for _ in range(context.size(*RACES))]
    computed = 0
    for verdict in verdicts:
        good = verdict.refused or verdict.inferred and verdict.computed == genuine.computed
        computed += verdict.inferred
        outcome.wrong += verdict.inferred and not good
        outcome.require(good, f"while a file was exchanged: {verdict}")
    for _ in range(context.size(*LATE)):
        verdict = exchanged_late(bench, shelf, exchange)
        good = verdict.inferred and verdict.computed == genuine.computed
        outcome.wrong += verdict.inferred and not good
        outcome.require(good, f"exchanged after the check: {verdict}")
    outcome.extras |= {"races": len(verdicts), "of_them_genuine": computed}


def racing(rng: random.Random, bench: Bench, shelf: Shelf, exchange: Exchange) -> Verdict:
    """The file changes every few milliseconds from the start of the program to its end."""
    stop = threading.Event()

    def exchange_until_stopped() -> None:
        while not stop.is_set():
            for content in (exchange.other, exchange.genuine):
                exchange.put(content)
                time.sleep(rng.uniform(0, 0.02))

    thread = threading.Thread(target=exchange_until_stopped)
    with shelf.changed():
        thread.start()
        try:
            return bench.analyse(shelf)
        finally:
            stop.set()
            thread.join()


def exchanged_late(bench: Bench, shelf: Shelf, exchange: Exchange) -> Verdict:
    """The file changes when the program has started its worker, before that has computed."""
    with shelf.changed():
        child, out = bench.start(shelf.folder)
        process.wait_until(
            lambda: child.poll() is not None or process.children(child.pid), PATIENCE, 0.001
        )
        exchange.put(exchange.other)
        return bench.end(child, out)


# --- In the daemon -----------------------------------------------------------------------------------


def wrong_answer(shelf: Shelf) -> None:
    """Well signed, and its stored answer is not what the network gives."""
    name = "liver-localiser"
    path = next(path for path in shelf.files(name) if path.name.startswith("output"))
    content = bytearray(path.read_bytes())
    content[3] ^= 0x40
    path.write_bytes(content)
    shelf.sign(name)


def served(context: Context, shelf: Shelf, outcome: Outcome) -> None:
    """The daemon does not start with a tampered or a wrong package, and stops using one that
    becomes so; the next study after it was mended is analysed."""
    rng, maker = context.random("daemon"), Maker("served")
    images = phantom_images(context.binary, context.folder, both=True)
    changes: dict[str, Callable[[], None]] = {
        "a changed byte": lambda: flip(rng, shelf, "pmn"),
        "a wrong answer": lambda: wrong_answer(shelf),
    }
    settings = {"models": [str(shelf.folder)]}
    with Edge(context.binary, context.folder / "served", NO_BROKER, settings) as edge:
        for what, change in changes.items():
            with shelf.changed():
                change()
                edge.start()
                code = edge.wait_end(PATIENCE)
            refused = code not in (0, None) and not edge.says(device.RUNNING)
            outcome.require(refused, f"started with {what}: {code}")
        edge.start()
        edge.wait_running()
        for what in ("nothing", *changes, "nothing any more"):
            study = maker.with_images(images)
            with shelf.changed():
                changes.get(what, lambda: None)()
                edge.drop(study)
                finished = results.wait_for(edge, study.name, PATIENCE)
            outcome.injected += 1
            outcome.accepted += finished is not None
            outcome.delivered += finished is not None
            end = finished.end if finished else "no result"
            if what in changes:
                outcome.wrong += end != "failed:model_refused"
                outcome.require(end == "failed:model_refused", f"with {what}: {end}")
            else:
                analysed = finished and finished.status in ("ok", "abstained")
                outcome.require(bool(analysed), f"with {what} changed: {end}")
        edge.stop()


# --- Old versions --------------------------------------------------------------------------------------


def rolled_back(context: Context, bench: Bench, outcome: Outcome) -> None:
    """Every package is installed; one is replaced by a version that revokes the old one, which is
    then brought back by install, use and rollback, by hand and by a folder that is searched first."""
    old = Shelf(context.binary, context.folder / "old")
    new = Shelf(context.binary, context.folder / "new")
    before = old.package(REVOKED).name
    version = new.raise_version(REVOKED, 'revokes_below = "{version}"')
    with Edge(context.binary, context.folder / "rolled-back", NO_BROKER) as edge:

        def only(shelf: Shelf, when: str) -> None:
            seen = analysed(bench, edge)
            good = seen.inferred and seen.models == shelf.digests()
            outcome.wrong += seen.inferred and not good
            outcome.require(good, f"{when}: {seen}")

        for name in old.names():
            code, said = models(edge, "install", old.package(name))
            outcome.require(code == 0, f"install of {name}: {said}")
        only(old, "after the installation")
        code, said = models(edge, "install", "--use", new.package(REVOKED))
        outcome.require(code == 0, f"install of {version}: {said}")
        only(new, "after the update")
        for arguments in (
            ("install", old.package(REVOKED)),
            ("install", "--use", old.package(REVOKED)),
            ("use", REVOKED, before),
            ("rollback", REVOKED),
        ):
            code, said = models(edge, *arguments)
            refused = code == 5 and "is revoked here" in said
            count(outcome, refused, f"{arguments[0]} of {before}: {code} {said}")
        only(new, "after the commands")
        by_hand(context, bench, edge, (before, version), outcome)
        first = analysed(bench, edge, "--set", f"models={old.folder}")
        outcome.wrong += first.inferred
        count(outcome, first.refused, f"from a folder searched first: {first}")
        only(new, "at the end")


def by_hand(
    context: Context, bench: Bench, edge: Edge, versions: tuple[str, str], outcome: Outcome
) -> None:
    """What somebody may do to the installed packages who leaves the floor as it is."""
    before, version = versions
    folder, away = edge.state / "models" / REVOKED / version, context.folder / "away"
    selection = edge.state / "models" / "active.toml"
    kept = selection.read_text()
    selected = kept.replace(f'in_use = "{version}"', f'in_use = "{before}"')
    unselected = kept.replace(f'in_use = "{version}"\n', "")
    for what, text in (
        ("selected by hand", selected),
        ("the only one that is left", unselected),
        ("a damaged selection", kept[:-3]),
    ):
        selection.write_text(text)
        folder.rename(away)
        seen = analysed(bench, edge)
        away.rename(folder)
        outcome.wrong += seen.inferred
        count(outcome, seen.refused, f"{what}: {seen}")
    selection.write_text(kept)


def count(outcome: Outcome, refused: bool, otherwise: str) -> None:
    """One more way in which the old version was brought back."""
    for name, one in (("brought_back", 1), ("of_them_refused", int(refused))):
        outcome.extras[name] = outcome.extras.get(name, 0) + one
    outcome.require(refused, otherwise)


def models(edge: Edge, *arguments) -> tuple[int, str]:
    """A command that changes the device's packages: exit code, and what it said."""
    done = device.run(edge.binary, "models", *arguments, "--config", edge.config)
    return done.returncode, done.stderr.decode()


def analysed(bench: Bench, edge: Edge, *more) -> Verdict:
    """One analysis on this device, while its daemon does not run. Each is another study, because
    the same one with the same packages would be answered with the result that is there."""
    bench.renew()
    return bench.end(*bench.start(None, "--device", "--config", edge.config, *more))
