"""T15: mutants of genuine signed messages, judged by both verifiers.

A device signs a few results and a status. Thousands of mutants of them, among them many that are
signed again with the genuine key but are not in the one accepted form, are published to
`hcc-edge subscribe` and fed to `scripts/verify.py`. Neither may take one of them for a result; both
must take the originals, before and after, or the test would prove nothing.
"""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import mutants
import process
from broker import Broker
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from edge import Edge, environment
from listener import Listener
from mutants import Forger, Message
from outcome import Context, Outcome
from rig import Rig
from signing import verify
from studies import Maker, phantom_images

ID = "T15"
TITLE = "mutants of signed messages, judged by both verifiers"

SHORT, LONG = 3_000, 10_000
PATIENCE = 60.0
# Messages published before the subscriber must have spoken of them all.
CHUNK = 500
SHOWN = 20
# A verifier that knows results only.
LINES = "verify.py --lines"
# Messages per key of small order: a signature that holds by chance holds for one in eight.
FORGERIES = 40


@dataclass(frozen=True)
class Case:
    """A message to be judged; `genuine` ones must be accepted."""

    kind: str
    topic: str
    data: bytes
    genuine: bool = False


def run(context: Context) -> Outcome:
    rng = context.random("mutants")
    with Rig(context, {"mqtt.view": False}, confirm="broker") as rig:
        results, status = signed_by_device(context, rig)
        key = device_key(rig.edge)
        trust_text = rig.edge.trust.read_text()
    other = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
    newer = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
    trust = context.folder / "trust.toml"
    entries = trust_entry(other, "box-2") + trust_entry(newer, "box-19")
    trust.write_text(trust_text + entries)
    cases = make_cases(context, Forger(key, other, rng), newer, results, status)
    outcome = Outcome(injected=len(cases), accepted=sum(case.genuine for case in cases))
    judge_all(context, cases, trust, outcome, "")
    weak_trust, weak = small_order_keys(context, rng, results[0])
    judge_all(context, weak, weak_trust, outcome, " (a key of small order is trusted)")
    outcome.delivered = outcome.accepted
    outcome.extras |= {"mutants": len(cases) - outcome.accepted, "small_order": len(weak)}
    return outcome


def signed_by_device(context: Context, rig: Rig) -> tuple[list[Message], Message]:
    """Genuine results of different kinds, in their order, and a genuine status."""
    maker = Maker()
    images = phantom_images(context.binary, context.folder)
    studies = [maker.empty(), maker.no_nifti(), maker.with_images(images)]
    with Listener(rig.broker.port) as ear:
        rig.edge.start()
        rig.edge.wait_running()
        for study in studies:
            rig.drop(study)
        rig.drain(PATIENCE)

        def both(messages) -> bool:
            kinds = [topic.rsplit("/", 1)[1] for topic, data in messages if data]
            return kinds.count("result") >= len(studies) and "status" in kinds

        if not ear.wait(both, PATIENCE):
            raise RuntimeError(f"the device did not sign its messages:\n{rig.edge.log_tail()}")
        heard = ear.messages
        rig.edge.stop()

    def of(kind: str) -> list[Message]:
        return [Message(topic, data) for topic, data in heard if topic.endswith(kind) and data]

    return of("/result"), of("/status")[-1]


def device_key(edge: Edge) -> Ed25519PrivateKey:
    """The device's own key. PKCS#8 wraps the 32 bytes of the seed into two octet strings; the
    form that also holds the public key is read by few libraries."""
    document = (edge.state / "keys" / "device.pk8").read_bytes()
    start = document.index(b"\x04\x22\x04\x20") + 4
    return Ed25519PrivateKey.from_private_bytes(document[start : start + 32])


def trust_entry(key: Ed25519PrivateKey | bytes, device: str) -> str:
    """A device's lines in trust.toml; `key` is the key or the bytes of a public one."""
    public = key if isinstance(key, bytes) else mutants.public_bytes(key)
    kid = verify.hashlib.sha256(public).digest()[:16].hex()
    return (
        f'\n[[key]]\nkid = "{kid}"\nrole = "device"\ndevice = "{device}"\nsite = "ward"\n'
        f'public_key = "{base64.b64encode(public).decode()}"\n'
    )


def make_cases(
    context: Context, forger: Forger, newer: Ed25519PrivateKey, results: list, status: Message
) -> list[Case]:
    """The originals, every mutant in random order, the originals again."""
    total = context.size(SHORT, LONG)
    every = forger.all_of(results, status, total)
    for message in (results[-1], status):
        # The bits of the first result are done; those of others fill up what is missing.
        flips = list(forger.bit_flips(message, total))
        missing = max(0, total - len(every))
        every += forger.rng.sample(flips, min(missing, len(flips)))
    if len(every) > total:
        # Bits and cuts are many alike: of those a sample, of everything else each one.
        many = [m for m in every if m.kind in ("one bit", "cut short")]
        few = [m for m in every if m.kind not in ("one bit", "cut short")]
        every = few + forger.rng.sample(many, max(0, total - len(few)))
    genuine = dict.fromkeys((message.topic, message.data) for message in (*results, status))
    bad = [Case(m.kind, m.topic, m.data) for m in every if (m.topic, m.data) not in genuine]
    forger.rng.shuffle(bad)
    originals = [Case("original", topic, data, True) for topic, data in genuine]
    originals.append(Case("alg -19", *with_new_algorithm(results[0], newer), True))
    context.progress(f"{len(bad)} mutants of {len({case.kind for case in bad})} kinds")
    return originals + bad + originals


def with_new_algorithm(message: Message, key: Ed25519PrivateKey) -> tuple[str, bytes]:
    """A result of device box-19 that is signed under the newer number of the same algorithm."""
    protected = mutants.header_of("result", mutants.kid_of(key), b"\x32")
    data = mutants.signed(key, protected, mutants.for_device(message.payload, "box-19"))
    return message.topic.replace("/box-1/", "/box-19/"), data


def small_order_keys(
    context: Context, rng: random.Random, model: Message
) -> tuple[Path, list[Case]]:
    """A trust store with keys of small order, and messages that anybody can make for them: with
    such a key, S = 0 and R = the neutral point, the equation holds for one message in eight or for
    every one."""
    neutral = mutants.SMALL_ORDER[0]
    entries, cases = [], []
    for number, public in enumerate(dict.fromkeys(mutants.SMALL_ORDER)):
        device = f"box-weak-{number}"
        entries.append(trust_entry(public, device))
        kid = verify.hashlib.sha256(public).digest()[:16]
        for _ in range(FORGERIES):
            pairs = mutants.pairs_of(mutants.for_device(model.payload, device))
            # Another result id makes another message.
            pairs[6] = (pairs[6][0], mutants.string(2, rng.randbytes(16)))
            protected = mutants.header_of("result", kid)
            data = mutants.envelope(protected, mutants.map_of(pairs), neutral + bytes(32))
            cases.append(Case("key of small order", f"hcc/v1/ward/{device}/result", data))
    path = context.folder / "weak.toml"
    path.write_text("".join(entries))
    return path, cases


def judge_all(
    context: Context, cases: list[Case], trust: Path, outcome: Outcome, note: str
) -> None:
    """Both verifiers; what they take wrongly and what they refuse wrongly is written down."""
    verifiers = {
        "subscribe": subscriber(context, cases, trust),
        LINES: lines(cases, trust),
        "verify.py as a module": module(cases, trust),
    }
    for name, accepted in verifiers.items():
        if accepted is None:
            context.progress(f"{name}: the trust store itself is refused{note}")
            outcome.require(bool(note), f"{name} refuses an honest trust store")
            continue
        if len(accepted) != len(cases):
            # A subscriber that falls silent is as bad as one that believes too much.
            outcome.require(False, f"{name}: spoke of {len(accepted)} of {len(cases)}{note}")
        taken = [c for c, took in zip(cases, accepted) if took and not c.genuine]
        denied = [
            c for c, took in zip(cases, accepted) if c.genuine and not took and is_for(name, c)
        ]
        outcome.wrong += len(taken)
        for kind in sorted({case.kind for case in taken})[:SHOWN]:
            count = sum(case.kind == kind for case in taken)
            outcome.require(False, f"{name} accepts {count} of `{kind}`{note}")
        outcome.require(not denied, f"{name} refuses {len(denied)} genuine messages{note}")
        name = name.replace(" ", "_")
        outcome.extras.setdefault(f"refused_by_{name}", 0)
        outcome.extras[f"refused_by_{name}"] += len(accepted) - sum(accepted)


def is_for(verifier: str, case: Case) -> bool:
    """Whether the verifier knows this kind of message."""
    return not (verifier == LINES and case.topic.endswith("/status"))


def subscriber(context: Context, cases: list[Case], trust: Path) -> list[bool] | None:
    """What `hcc-edge subscribe` makes of each message; None when it refuses the trust store."""
    folder = context.folder / f"broker-{trust.stem}"
    with Broker(folder) as broker, Listener(broker.port) as ear:
        url = f"mqtt://127.0.0.1:{broker.port}"
        command = [context.binary, "subscribe", "--json", "--trust", trust, "--broker", url]
        with (folder / "subscribe").open("wb") as log:
            child = subprocess.Popen(
                command,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        said: list[dict] = []
        reader = threading.Thread(target=read_lines, args=(child.stdout, said), daemon=True)
        reader.start()
        try:
            process.wait_until(lambda: said or child.poll() is not None, PATIENCE)
            if child.poll() is not None:
                return None if child.returncode == 78 else []
            for start in range(0, len(cases), CHUNK):
                chunk = cases[start : start + CHUNK]
                ear.publish([(case.topic, case.data) for case in chunk], PATIENCE)
                if not wait_for_lines(said, start + len(chunk), child):
                    break
        finally:
            child.kill()
            child.wait(timeout=PATIENCE)
            reader.join(timeout=PATIENCE)
    # The broker keeps the order of one publisher, and the subscriber speaks of one after the other.
    return [line["event"] in ("result", "status") for line in about_messages(said)]


def about_messages(said: list[dict]) -> list[dict]:
    """The lines that speak of a message, and not of the connection."""
    return [line for line in said if line["event"] in ("result", "status", "refused")]


def wait_for_lines(said: list[dict], count: int, child: subprocess.Popen) -> bool:
    """Whether it spoke of so many messages in time."""

    def spoke() -> bool:
        return len(about_messages(said)) >= count

    process.wait_until(lambda: spoke() or child.poll() is not None, PATIENCE)
    return spoke()


def read_lines(stream, said: list[dict]) -> None:
    """Reads all the time: a full pipe would hold the subscriber up."""
    for line in stream:
        said.append(json.loads(line))


def lines(cases: list[Case], trust: Path) -> list[bool] | None:
    """What `verify.py --lines` makes of them; it knows results only. None: it does not begin."""
    text = "".join(f"{case.topic} {case.data.hex()}\n" for case in cases)
    ended = subprocess.run(
        [sys.executable, verify.__file__, "--lines", "--json", "--trust", trust],
        input=text.encode(),
        capture_output=True,
        timeout=10 * PATIENCE,
    )
    if not ended.stdout and ended.returncode not in (0, 5):
        return None
    return [json.loads(line)["verified"] for line in ended.stdout.splitlines()]


def module(cases: list[Case], trust: Path) -> list[bool] | None:
    """What verify.verify makes of them, each as what its topic says."""
    try:
        keys = verify.read_trust(trust.read_text())
    except ValueError:
        return None
    return [is_accepted(case, keys) for case in cases]


def is_accepted(case: Case, keys: dict) -> bool:
    """Whether it verifies for the address in its topic."""
    _, site, device, kind = mutants.split(case.topic)
    try:
        verify.verify(kind, case.data, keys, (site, device))
    except verify.Refused:
        return False
    return True
