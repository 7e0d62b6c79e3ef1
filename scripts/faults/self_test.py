#!/usr/bin/env python3
"""Whether the judge sees what it is there for: made-up histories in which one thing at a time is
wrong, and the harness's signatures against the shared vectors. Exit status 0 when all of it holds.

    self_test.py             needs no device and no broker
"""

import dataclasses
import hashlib
import json
import sys
import tempfile
from pathlib import Path

from checker import Arrival, Checker, Refusal, Verdict
from signing import ConsumerKey, encode, verify
from studies import Maker, Study

VECTORS = Path(__file__).resolve().parents[2] / "tests" / "vectors" / "messages.json"
STUDIES = 5


def history(studies: list[Study]) -> list[Arrival]:
    """What a faultless device would send for these studies."""
    arrivals, prev = [], "00" * 32
    for seq, study in enumerate(studies, 1):
        message = f"message {seq}".encode()
        sha256 = hashlib.sha256(message).hexdigest()
        place = ("ward", "box-1", "11" * 8, seq, prev)
        arrivals.append(
            Arrival(
                *place,
                result_id=f"result {seq}",
                status="unreadable",
                reasons=("not_nifti",),
                digests=study.digests,
                sha256=sha256,
                at=0.0,
                retained=False,
                payload=message,
            )
        )
        prev = sha256
    return arrivals


def judged(change) -> Verdict:
    """The verdict on a history after `change(arrivals, judge)` has spoiled it."""
    maker = Maker()
    studies = [maker.no_nifti() for _ in range(STUDIES)]
    with tempfile.NamedTemporaryFile("w") as trust:
        judge = Checker(0, Path(trust.name))
    for study in studies:
        judge.expect(study)
    arrivals = history(studies)
    change(arrivals, judge)
    for arrival in arrivals:
        judge.take(arrival)
    return judge.verdict()


def alter(place: int, **fields):
    """A change: other fields in one arrival."""

    def change(arrivals, _judge):
        arrivals[place] = dataclasses.replace(arrivals[place], **fields)

    return change


def add(place: int, **fields):
    """A change: one arrival once more, with other fields."""

    def change(arrivals, _judge):
        arrivals.append(dataclasses.replace(arrivals[place], **fields))

    return change


def refuse(_arrivals, judge) -> None:
    judge.refused.append(Refusal("hcc/v1/ward/box-1/result", b"?", "signature", 0.0))


# Where one more result would stand in the chain, with bytes of its own.
AFTER_THE_LAST = {
    "seq": STUDIES + 1,
    "prev": hashlib.sha256(f"message {STUDIES}".encode()).hexdigest(),
    "sha256": "ff" * 32,
}

# Change, then (lost, duplicates, whether something is wrong).
CASES = {
    "nothing": (lambda arrivals, judge: None, (0, 0, False)),
    "the last one never came": (lambda arrivals, judge: arrivals.pop(), (1, 0, False)),
    "one in the middle never came": (lambda arrivals, judge: arrivals.pop(2), (1, 0, True)),
    "in reverse order": (lambda arrivals, judge: arrivals.reverse(), (0, 0, False)),
    "one came twice": (add(1), (0, 1, False)),
    "one came twice, with other bytes": (add(1, sha256="ff" * 32), (0, 0, True)),
    "one does not follow the one before": (alter(3, prev="ff" * 32), (0, 0, True)),
    "of a study that nobody dropped": (alter(4, digests=frozenset({"ff"})), (1, 0, True)),
    "a second result of one study": (add(1, **AFTER_THE_LAST), (0, 0, True)),
    "a second result id of one study": (add(1, result_id="other", **AFTER_THE_LAST), (0, 0, True)),
    "retained": (alter(0, retained=True), (0, 0, True)),
    "a new epoch": (alter(4, epoch="22" * 8, seq=1, prev="00" * 32), (0, 0, True)),
    "one that does not verify": (refuse, (0, 0, True)),
}


def check_the_judge() -> list[str]:
    complaints = []
    for name, (change, expected) in CASES.items():
        verdict = judged(change)
        found = len(verdict.lost), verdict.duplicates, bool(verdict.wrong)
        if found != expected or verdict.delivered != STUDIES - len(verdict.lost):
            complaints.append(f"{name}: {found}, expected {expected}: {verdict}")
    return complaints


def plain(form: str, value):
    """A decoded message's value as it was encoded: codes as numbers, bytes as bytes."""
    if form.startswith("null|"):
        return None if value is None else plain(form[5:], value)
    if ".." in form:
        return [plain(form.split(" ", 1)[1], item) for item in value]
    if form.startswith("bytes"):
        return bytes.fromhex(value)
    if form in verify.CODES:
        return {word: number for number, word in verify.CODES[form].items()}[value]
    if form in verify.MAPS:
        fields = enumerate(verify.MAPS[form])
        return {number: plain(inner, value[name]) for number, (name, inner) in fields}
    return value


def check_the_signatures() -> list[str]:
    complaints, compared = [], 0
    for vector in json.loads(VECTORS.read_text())["vectors"]:
        if vector["verdict"] == "ok" and vector.get("message"):
            payload = verify.parse_cbor(bytes.fromhex(vector["envelope"])).value[2]
            if encode(plain(vector["kind"], vector["message"])) != payload:
                complaints.append(f"{vector['name']}: encoded otherwise than in the vectors")
            compared += 1
    if compared < 4:
        complaints.append(f"only {compared} vectors could be compared")
    key = ConsumerKey(bytes(32))
    trust = verify.read_trust(key.trust_entry("ward"))
    address = ("ward", "box-1")
    ack = verify.verify("ack", key.ack(*address, "11" * 8, 300), trust, address)
    resend = verify.verify("resend", key.resend(*address, "11" * 8, 1, 1_000), trust, address)
    if (ack["seq"], resend["from"], resend["to"]) != (300, 1, 1_000):
        complaints.append(f"signed something else than was asked: {ack}, {resend}")
    return complaints


def main() -> int:
    complaints = check_the_judge() + check_the_signatures()
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    print(f"{len(CASES)} histories, {len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
