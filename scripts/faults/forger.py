"""What an attacker with the credentials and the signing key of one device makes up about another.

`Forger.messages()` is a list of messages to publish: results, statuses, acknowledgements and commands
of the victim, none of which anybody may believe. The attacker has heard everything the victim ever
said (`heard`), and holds the key of `box-2`, a device that the consumers trust for its own results.
"""

import json
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import signing
from signing import encode, envelope, verify

SITE, VICTIM, OWN = "ward", "box-1", "box-2"
ROOT = f"hcc/v1/{SITE}/{VICTIM}"
OWN_ROOT = f"hcc/v1/{SITE}/{OWN}"
RESULT, STATUS, ACK, RESEND = (
    f"{verify.PREFIX}{kind}.v1+cbor" for kind in ("result", "status", "ack", "resend")
)
SEQ, DEVICE = 4, 2

# How an open broker's audience takes a message.
REFUSED = "refused"  # by every consumer, as a message that does not verify
KNOWN = "known"  # a genuine result once more: a duplicate
STALE = "stale"  # a genuine status once more: not the device's last word
IGNORED = "ignored"  # by the device: nothing is confirmed, nothing is sent again


@dataclass(frozen=True)
class Forgery:
    """One message to publish. `own_topic`: an access list lets the attacker publish there."""

    name: str
    topic: str
    payload: bytes
    taken: str
    retain: bool = False
    own_topic: bool = False


@dataclass(frozen=True)
class Heard:
    """What the attacker recorded: the victim's results and first status, a consumer's words."""

    results: list[bytes]
    status: bytes
    epoch: str
    ack: bytes
    foreign_ack: bytes
    foreign_resend: bytes
    old_epoch_ack: bytes


class Forger:
    """Signs with the key of `box-2`, and with one that nobody knows."""

    def __init__(self, own_key: bytes, unknown_key: bytes, heard: Heard) -> None:
        self.own = Ed25519PrivateKey.from_private_bytes(own_key)
        self.unknown = Ed25519PrivateKey.from_private_bytes(unknown_key)
        self.heard = heard

    def messages(self) -> list[Forgery]:
        """Everything there is to try by publishing."""
        return [*self.results(), *self.statuses(), *self.acks(), *self.commands()]

    def results(self) -> list[Forgery]:
        """On the victim's result topic, and results of the victim elsewhere."""
        genuine = self.heard.results[-1]
        protected, payload, signature = parts(genuine)
        fields = verify.parse_cbor(payload)
        next_one = encode(fields | {SEQ: fields[SEQ] + 1})
        as_own = encode(fields | {SEQ: 1, DEVICE: OWN})
        topic = f"{ROOT}/result"
        forged = {
            "re-signed with the own key": envelope(payload, RESULT, self.own),
            "the next number, own key": envelope(next_one, RESULT, self.own),
            "of the own device": envelope(as_own, RESULT, self.own),
            "unknown key": envelope(payload, RESULT, self.unknown),
            "own key under the victim's kid": self._with_kid(protected, payload),
            "alg 19 re-signed": envelope(payload, RESULT, self.own, algorithm=-19),
            "changed payload": assemble(protected, next_one, signature),
            "signature of another result": assemble(
                protected, payload, parts(self.heard.results[0])[2]
            ),
            "signature of zeros": assemble(protected, payload, bytes(64)),
            "status as a result": self.heard.status,
            "ack as a result": self.heard.ack,
            "one byte too many": genuine + b"\0",
            "one byte too few": genuine[:-1],
            "without its tag": genuine[1:],
            "empty": b"",
            "noise": bytes(range(256)) * 2,
            "JSON": json.dumps({"result": {"seq": 1, "status": "ok"}}).encode(),
            "17 KiB": genuine + bytes(17 * 1024),
            "200 KiB": bytes(200 * 1024),
        }
        made = [Forgery(f"result: {name}", topic, data, REFUSED) for name, data in forged.items()]
        return [
            *made,
            Forgery("result: an old one", topic, self.heard.results[0], KNOWN),
            Forgery("result: the newest once more", topic, genuine, KNOWN),
            Forgery(
                "result: an old one, retained", topic, self.heard.results[0], KNOWN, retain=True
            ),
            Forgery(
                "result: a forged one, retained",
                topic,
                forged["changed payload"],
                REFUSED,
                retain=True,
            ),
            Forgery(
                "result: the victim's on the own topic",
                f"{OWN_ROOT}/result",
                genuine,
                REFUSED,
                own_topic=True,
            ),
            Forgery(
                "result: the victim's at another site",
                f"hcc/v1/other/{VICTIM}/result",
                genuine,
                REFUSED,
            ),
        ]

    def statuses(self) -> list[Forgery]:
        """On the victim's status topic, retained as statuses are."""
        _, payload, _ = parts(self.heard.status)
        topic = f"{ROOT}/status"
        forged = {
            "own key": envelope(payload, STATUS, self.own),
            "unknown key": envelope(payload, STATUS, self.unknown),
            "result as a status": self.heard.results[0],
            "noise": b"offline",
        }
        made = [
            Forgery(f"status: {name}", topic, data, REFUSED, retain=True)
            for name, data in forged.items()
        ]
        return [*made, Forgery("status: an old one", topic, self.heard.status, STALE, retain=True)]

    def acks(self) -> list[Forgery]:
        """Acknowledgements that would let the victim forget what nobody has."""
        message = {
            "v": 1,
            "site": SITE,
            "device": VICTIM,
            "epoch": self.heard.epoch,
            "seq": 1_000,
            "signed_at_ms": 0,
        }
        protected, payload, signature = parts(self.heard.ack)
        more = encode(verify.parse_cbor(payload) | {5: 1_000})
        forged = {
            "own key": signing.sign("ack", message, self.own),
            "unknown key": signing.sign("ack", message, self.unknown),
            "changed number": assemble(protected, more, signature),
            "own key under the consumer's kid": self._with_kid(protected, more),
            "a consumer's once more": self.heard.ack,
            "a consumer's for another device": self.heard.foreign_ack,
            "a consumer's for another epoch": self.heard.old_epoch_ack,
            "a consumer's resend as an ack": self.heard.foreign_resend,
            "a result as an ack": self.heard.results[0],
            "not signed": encode({0: 1, 1: SITE, 2: VICTIM, 5: 1_000}),
            "empty": b"",
            "17 KiB": self.heard.ack + bytes(17 * 1024),
        }
        made = [
            Forgery(f"ack: {name}", f"{ROOT}/ack", data, IGNORED) for name, data in forged.items()
        ]
        return [
            *made,
            Forgery(
                "ack: own key, retained", f"{ROOT}/ack", forged["own key"], IGNORED, retain=True
            ),
        ]

    def commands(self) -> list[Forgery]:
        """Requests that would make the victim work or change."""
        message = {
            "v": 1,
            "site": SITE,
            "device": VICTIM,
            "epoch": self.heard.epoch,
            "signed_at_ms": 0,
        }
        message |= {"from": 1, "to": 1_000}
        resends = {
            "own key": signing.sign("resend", message, self.own),
            "unknown key": signing.sign("resend", message, self.unknown),
            "a consumer's for another device": self.heard.foreign_resend,
            "an ack": self.heard.ack,
            "not signed": b'{"from": 1, "to": 1000}',
            "empty": b"",
        }
        made = [
            Forgery(f"resend: {name}", f"{ROOT}/cmd/resend", data, IGNORED)
            for name, data in resends.items()
        ]
        others = ("reboot", "config", "resend/x", "ping%00", "")
        made += [Forgery(f"cmd: {verb!r}", f"{ROOT}/cmd/{verb}", b"{}", IGNORED) for verb in others]
        return [
            *made,
            Forgery("cmd: rescan, retained", f"{ROOT}/cmd/rescan", b"", IGNORED, retain=True),
            Forgery("cmd: ping of 17 KiB", f"{ROOT}/cmd/ping", bytes(17 * 1024), IGNORED),
        ]

    def _with_kid(self, protected: bytes, payload: bytes) -> bytes:
        """Signed with the own key, under the protected header of somebody else."""
        signature = self.own.sign(encode(["Signature1", protected, b"", payload]))
        return assemble(protected, payload, signature)


def parts(cose: bytes) -> tuple[bytes, bytes, bytes]:
    """Protected header, payload and signature of a COSE_Sign1."""
    protected, _, payload, signature = verify.parse_cbor(cose).value
    return protected, payload, signature


def assemble(protected: bytes, payload: bytes, signature: bytes) -> bytes:
    """A COSE_Sign1 from its parts."""
    return b"\xd2" + encode([protected, {}, payload, signature])


def seed_of(pkcs8: bytes) -> bytes:
    """The private half of an Ed25519 key in PKCS#8 (RFC 8410): an OCTET STRING within another."""
    at = pkcs8.index(b"\x04\x22\x04\x20") + 4
    return pkcs8[at : at + 32]
