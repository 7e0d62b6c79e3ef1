"""Mutants of signed messages for the tests of signatures: what a forger, a broken broker or a
careless library makes of a genuine COSE_Sign1. Structural mutants are signed again with a genuine
key, because only then the strictness of the form is tested and not the signature.

Knows as much CBOR as it needs to take a message apart into raw pieces and to write each piece in
forms that are legal CBOR but not the one accepted form."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

# Order of the base point of Ed25519 (RFC 8032).
ORDER = 2**252 + 27742317777372353535851937790883648493
# Prime of the field.
PRIME = 2**255 - 19
# y coordinates of the points of order 1, 2, 4 and 8, and the encodings of them above the prime that
# a careless decoder takes for the same points.
SMALL_ORDER_Y = (
    1,
    PRIME - 1,
    0,
    0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
    0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD83D3D706A17C7,
    PRIME,
    PRIME + 1,
)
SMALL_ORDER = tuple(
    (y | sign << 255).to_bytes(32, "little") for y in SMALL_ORDER_Y for sign in (0, 1)
)
ZEROS = bytes(64)


@dataclass(frozen=True)
class Mutant:
    """A message that must not be believed."""

    kind: str
    data: bytes
    topic: str


@dataclass(frozen=True)
class Message:
    """A genuine message and where it was published."""

    topic: str
    data: bytes
    protected: bytes = field(init=False)
    payload: bytes = field(init=False)
    signature: bytes = field(init=False)

    def __post_init__(self) -> None:
        # tag 18, array of four: protected, empty map, payload, signature.
        at = 2
        parts = []
        for _ in range(4):
            end = item_end(self.data, at)
            parts.append(self.data[at:end])
            at = end
        assert self.data[:2] == b"\xd2\x84" and parts[1] == b"\xa0" and at == len(self.data)
        for name, raw in zip(("protected", "payload", "signature"), (parts[0], *parts[2:])):
            object.__setattr__(self, name, raw[head(raw, 0)[2] :])


def head(data: bytes, at: int) -> tuple[int, int, int]:
    """Major type, argument and the place after the head of the item at `at`."""
    major, info = data[at] >> 5, data[at] & 31
    if info < 24:
        return major, info, at + 1
    size = 1 << (info - 24)
    return major, int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size


def item_end(data: bytes, at: int) -> int:
    """The place after the item at `at`; definite lengths only, as every genuine message has."""
    major, value, at = head(data, at)
    if major in (2, 3):
        return at + value
    for _ in range({4: value, 5: 2 * value, 6: 1}.get(major, 0)):
        at = item_end(data, at)
    return at


def encoded(major: int, value: int, size: int | None = None) -> bytes:
    """A head in its shortest form, or with an argument of `size` bytes."""
    if size is None:
        if value < 24:
            return bytes([major << 5 | value])
        size = next(size for size in (1, 2, 4, 8) if value < 1 << 8 * size)
    return bytes([major << 5 | 24 + (1, 2, 4, 8).index(size)]) + value.to_bytes(size, "big")


def string(major: int, raw: bytes) -> bytes:
    """A byte string (2) or a text (3)."""
    return encoded(major, len(raw)) + raw


def pairs_of(payload: bytes) -> list[tuple[bytes, bytes]]:
    """The raw keys and values of a map."""
    _, count, at = head(payload, 0)
    pairs = []
    for _ in range(count):
        middle = item_end(payload, at)
        end = item_end(payload, middle)
        pairs.append((payload[at:middle], payload[middle:end]))
        at = end
    return pairs


def map_of(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """A map of raw keys and values, in the order given."""
    return encoded(5, len(pairs)) + b"".join(key + value for key, value in pairs)


def kid_of(key: Ed25519PrivateKey) -> bytes:
    """The key id: the first half of the SHA-256 of the public key."""
    return hashlib.sha256(public_bytes(key)).digest()[:16]


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The public half, 32 bytes."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def envelope(protected: bytes, payload: bytes, signature: bytes) -> bytes:
    """A COSE_Sign1 in the accepted form."""
    return b"\xd2\x84" + string(2, protected) + b"\xa0" + string(2, payload) + string(2, signature)


def signed(key: Ed25519PrivateKey, protected: bytes, payload: bytes) -> bytes:
    """A COSE_Sign1 whose signature is right, whatever it holds."""
    to_sign = b"\x84" + string(3, b"Signature1") + string(2, protected) + b"\x40"
    return envelope(protected, payload, key.sign(to_sign + string(2, payload)))


def header_of(kind: str, kid: bytes, alg: bytes = b"\x27") -> bytes:
    """The protected headers of a message of this kind; `alg` as raw CBOR, by default -8."""
    content_type = string(3, f"application/vnd.hcc-edge.{kind}.v1+cbor".encode())
    return b"\xa3\x01" + alg + b"\x03" + content_type + b"\x04" + string(2, kid)


def for_device(payload: bytes, device: str) -> bytes:
    """A result's payload that says it is from another device."""
    pairs = pairs_of(payload)
    pairs[2] = (pairs[2][0], string(3, device.encode()))
    return map_of(pairs)


class Forger:
    """Makes mutants of genuine messages of one device whose key it holds."""

    def __init__(self, key: Ed25519PrivateKey, other: Ed25519PrivateKey, rng: random.Random):
        self.key, self.other, self.rng = key, other, rng

    def all_of(self, results: list[Message], status: Message, flips: int) -> list[Mutant]:
        """Every kind of mutant; `flips` bounds the bit flips."""
        first, second = results[0], results[1]
        out = list(self.bit_flips(first, flips))
        for message in (first, second, status):
            out += self.cut_and_padded(message)
            out += self.other_tags(message)
            out += self.other_unprotected(message)
            out += self.other_protected(message)
            out += self.other_payload_form(message)
            out += self.other_signature(message, first)
        out += self.mixed(first, second, status)
        return out

    def bit_flips(self, message: Message, most: int) -> Iterator[Mutant]:
        """Single bits of the whole message; of a sample the heads and the signature always."""
        size = 8 * len(message.data)
        chosen = set(range(8 * 24)) | set(range(size - 8 * 66, size))
        rest = [bit for bit in range(size) if bit not in chosen]
        chosen |= set(rest if size <= most else self.rng.sample(rest, max(0, most - len(chosen))))
        for bit in sorted(chosen):
            data = bytearray(message.data)
            data[bit // 8] ^= 1 << bit % 8
            yield Mutant("one bit", bytes(data), message.topic)

    def cut_and_padded(self, message: Message) -> Iterator[Mutant]:
        """Cut short at every length, and with bytes too many."""
        for length in range(len(message.data)):
            yield Mutant("cut short", message.data[:length], message.topic)
        for tail in (b"\x00", b"\xf6", b"\xff", message.data, bytes(16 * 1024)):
            yield Mutant("trailing bytes", message.data + tail, message.topic)
        yield Mutant("leading byte", b"\x00" + message.data, message.topic)

    def other_tags(self, message: Message) -> Iterator[Mutant]:
        """Another tag, another array."""
        body = message.data[1:]
        tags = {"98": b"\xd8\x62", "none": b"", "998": b"\xd9\x03\xe6", "61": b"\xd8\x3d"}
        tags |= {"18 twice": b"\xd2\xd2", "18 too long": b"\xd8\x12", "17": b"\xd1"}
        tags |= {"self-described": b"\xd9\xd9\xf7\xd2", "18 far too long": b"\xda\0\0\0\x12"}
        for name, tag in tags.items():
            yield Mutant(f"tag {name}", tag + body, message.topic)
        parts = body[1:]
        yield Mutant("array of 3", b"\xd2\x83" + parts, message.topic)
        yield Mutant("array of 5", b"\xd2\x85" + parts + b"\xf6", message.topic)
        yield Mutant("array head too long", b"\xd2\x98\x04" + parts, message.topic)
        yield Mutant("array of indefinite length", b"\xd2\x9f" + parts + b"\xff", message.topic)
        yield Mutant("a map", b"\xd2\xa2" + parts, message.topic)

    def other_unprotected(self, message: Message) -> Iterator[Mutant]:
        """An unprotected map that holds something, or is none. It is not signed, so the signature
        stays right."""
        kid = string(2, kid_of(self.key))
        forms = {
            "alg": b"\xa1\x01\x27",
            "kid": b"\xa1\x04" + kid,
            "content type": b"\xa1\x03\x00",
            "unknown": b"\xa1\x19\xff\xff\xf6",
            "indefinite": b"\xbf\xff",
            "head too long": b"\xb8\x00",
            "null": b"\xf6",
            "an array": b"\x80",
            "a byte string": b"\x40",
        }
        start = 2 + len(string(2, message.protected))
        for name, form in forms.items():
            data = message.data[:start] + form + message.data[start + 1 :]
            yield Mutant(f"unprotected: {name}", data, message.topic)

    def other_protected(self, message: Message) -> Iterator[Mutant]:
        """Protected headers of other content or form, signed with the genuine key."""
        pairs = pairs_of(message.protected)
        alg, kind, kid = pairs
        algorithms = {
            "-7": b"\x26",
            "-35": b"\x38\x22",
            "-257": b"\x39\x01\x00",
            "-53": b"\x38\x34",
        }
        algorithms |= {"text": string(3, b"EdDSA"), "-8 too long": b"\x38\x07", "8": b"\x08"}
        algorithms |= {
            "null": b"\xf6",
            "0": b"\x00",
            "bytes": b"\x41\x27",
            "-19 too long": b"\x39\0\x12",
        }
        forms = {
            f"alg {name}": map_of([(b"\x01", raw), kind, kid]) for name, raw in algorithms.items()
        }
        forms |= {
            "no alg": map_of([kind, kid]),
            "no content type": map_of([alg, kid]),
            "no kid": map_of([alg, kind]),
            "empty": b"",
            "an empty map": b"\xa0",
            "keys in another order": map_of([kid, alg, kind]),
            "alg twice": map_of([alg, alg, kind, kid]),
            "kid twice": map_of([alg, kind, kid, kid]),
            "critical": map_of([alg, (b"\x02", b"\x81\x01"), kind, kid]),
            "one more": map_of([alg, kind, kid, (b"\x05", b"\x40")]),
            "indefinite": b"\xbf" + map_of(pairs)[1:] + b"\xff",
            "head too long": b"\xb8\x03" + map_of(pairs)[1:],
            "key too long": map_of([(b"\x18\x01", alg[1]), kind, kid]),
            "key as text": map_of([(b"\x61\x31", alg[1]), kind, kid]),
            "content type as number": map_of([alg, (b"\x03", b"\x18\x3c"), kid]),
            "another content type": map_of([alg, (b"\x03", string(3, b"application/cbor")), kid]),
            "content type in chunks": map_of([alg, (b"\x03", b"\x7f" + kind[1] + b"\xff"), kid]),
            "kid of 15 bytes": map_of([alg, kind, (b"\x04", string(2, kid_of(self.key)[:15]))]),
            "kid of 17 bytes": map_of([alg, kind, (b"\x04", string(2, kid_of(self.key) + b"\0"))]),
            "kid as text": map_of([alg, kind, (b"\x04", b"\x70" + b"a" * 16)]),
            "kid of another device": map_of([alg, kind, (b"\x04", string(2, kid_of(self.other)))]),
            "unknown kid": map_of([alg, kind, (b"\x04", string(2, bytes(16)))]),
            "a byte after it": map_of(pairs) + b"\x00",
        }
        for name, protected in forms.items():
            data = signed(self.key, protected, message.payload)
            yield Mutant(f"protected: {name}", data, message.topic)
        swapped = map_of([(b"\x01", b"\x32"), kind, kid])
        changed = envelope(swapped, message.payload, message.signature)
        yield Mutant("alg -19 without signing again", changed, message.topic)

    def other_payload_form(self, message: Message) -> Iterator[Mutant]:
        """Payloads of other form, signed with the genuine key."""
        pairs = pairs_of(message.payload)
        forms = list(broken_maps(pairs)) + list(broken_values(pairs))
        forms += [("a byte after it", message.payload + b"\0"), ("empty", b""), ("null", b"\xf6")]
        forms += [("cut by one", message.payload[:-1]), ("tagged", b"\xc1" + message.payload)]
        forms += [
            ("an array of the values", encoded(4, len(pairs)) + b"".join(v for _, v in pairs))
        ]
        for name, payload in forms:
            data = signed(self.key, message.protected, payload)
            yield Mutant(f"payload: {name}", data, message.topic)
        for name, raw in (
            ("null", b"\xf6"),
            ("text", string(3, b"x")),
            ("in chunks", b"\x5f" + string(2, message.payload) + b"\xff"),
            ("head too long", encoded(2, len(message.payload), 8) + message.payload),
        ):
            head_part = b"\xd2\x84" + string(2, message.protected) + b"\xa0"
            data = head_part + raw + string(2, message.signature)
            yield Mutant(f"payload string: {name}", data, message.topic)

    def other_signature(self, message: Message, elsewhere: Message) -> Iterator[Mutant]:
        """Signatures that a lax verifier takes."""
        r, s = message.signature[:32], message.signature[32:]
        scalar = int.from_bytes(s, "little")
        forms = {f"S + {n} L": r + little(scalar + n * ORDER) for n in range(1, 16)}
        forms |= {f"S with bit {bit}": r + little(scalar | 1 << bit) for bit in (253, 254, 255)}
        forms |= {"-S": r + little(-scalar % ORDER), "S of zero": r + bytes(32)}
        forms |= {"S of one": r + little(1), "S of L": r + little(ORDER), "zeros": ZEROS}
        forms |= {
            "ones": b"\xff" * 64,
            "halves swapped": s + r,
            "reversed": message.signature[::-1],
        }
        forms |= {
            "-R": r[:31] + bytes([r[31] ^ 0x80]) + s,
            "empty": b"",
            "63 bytes": message.signature[:63],
        }
        forms |= {
            "65 bytes": message.signature + b"\0",
            "hexadecimal": message.signature.hex().encode(),
        }
        for number, point in enumerate(SMALL_ORDER):
            for name, half in (("S", s), ("zero", bytes(32)), ("one", little(1))):
                forms[f"R of small order {number} and {name}"] = point + half
        if elsewhere is not message:
            forms["of another message"] = elsewhere.signature
        for name, signature in forms.items():
            data = envelope(message.protected, message.payload, signature)
            yield Mutant(f"signature: {name}", data, message.topic)

    def mixed(self, first: Message, second: Message, status: Message) -> Iterator[Mutant]:
        """Genuine parts in the wrong place."""
        for a, b in ((first, second), (second, first), (first, status), (status, first)):
            data = envelope(a.protected, b.payload, a.signature)
            yield Mutant("payload of another message", data, a.topic)
            data = envelope(a.protected, b.payload, b.signature)
            if a.protected != b.protected:
                yield Mutant("headers of another message", data, b.topic)
        root, site, device, what = split(first.topic)
        for topic in (
            f"{root}/{site}/box-elsewhere/result",
            f"{root}/ward-elsewhere/{device}/result",
            f"{root}/{device}/{site}/result",
        ):
            yield Mutant("on another device's topic", first.data, topic)
        yield Mutant("a result on the status topic", first.data, status.topic)
        yield Mutant("a status on the result topic", status.data, first.topic)
        protected = header_of("result", kid_of(self.other))
        data = signed(self.other, protected, first.payload)
        yield Mutant("another device speaks for this one", data, first.topic)
        stranger = Ed25519PrivateKey.from_private_bytes(self.rng.randbytes(32))
        data = signed(stranger, header_of("result", kid_of(stranger)), first.payload)
        yield Mutant("signed by a stranger", data, first.topic)
        data = signed(stranger, first.protected, first.payload)
        yield Mutant("signed by a stranger under the genuine kid", data, first.topic)


def broken_maps(pairs: list[tuple[bytes, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Maps with keys left out, repeated, in another order or in another form."""
    body = map_of(pairs)
    for at, (_, value) in enumerate(pairs):
        yield "a key left out", map_of(pairs[:at] + pairs[at + 1 :])
        yield "a key twice", map_of(pairs[: at + 1] + pairs[at:])
        yield "a key too long", map_of(pairs[:at] + [(encoded(0, at, 2), value)] + pairs[at + 1 :])
        yield "a key as text", map_of(pairs[:at] + [(b"\x61\x78", value)] + pairs[at + 1 :])
        if at:
            swapped = pairs[: at - 1] + [pairs[at], pairs[at - 1]] + pairs[at + 1 :]
            yield "keys in another order", map_of(swapped)
    yield "keys backwards", map_of(pairs[::-1])
    yield "an unknown key", map_of([*pairs, (encoded(0, len(pairs)), b"\xf6")])
    yield "a negative key", map_of([*pairs, (b"\x20", b"\xf6")])
    yield "indefinite length", b"\xbf" + b"".join(k + v for k, v in pairs) + b"\xff"
    start = head(body, 0)[2]
    for size in (2, 4, 8):
        yield "map head too long", encoded(5, len(pairs), size) + body[start:]


def broken_values(pairs: list[tuple[bytes, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Maps with one value in another form or of another type."""
    wrong = {
        "a float": b"\xf9\x3c\x00",
        "undefined": b"\xf7",
        "tagged": b"\xc1\x01",
        "a bignum": b"\xc2\x41\x01",
        "a simple value": b"\xf8\xff",
        "a break": b"\xff",
        "nested too deeply": b"\x81" * 40 + b"\x01",
        "a huge length": b"\x9b" + b"\x7f" + b"\xff" * 7,
        "a huge text": b"\x7b" + b"\x7f" + b"\xff" * 7,
    }
    for at, (key, value) in enumerate(pairs):
        for name, raw in wrong.items():
            yield f"a value is {name}", map_of(pairs[:at] + [(key, raw)] + pairs[at + 1 :])
        major, argument, start = head(value, 0)
        if major == 7:
            continue
        for size in (1, 2, 4, 8):
            longer = encoded(major, argument, size) if argument < 1 << 8 * size else b""
            if len(longer) > start:
                raw = longer + value[start:]
                yield "a value's head too long", map_of(pairs[:at] + [(key, raw)] + pairs[at + 1 :])
        if major in (2, 3):
            raw = bytes([major << 5 | 31]) + value + b"\xff"
            yield "a value in chunks", map_of(pairs[:at] + [(key, raw)] + pairs[at + 1 :])


def little(number: int) -> bytes:
    """32 bytes, the lowest first; what does not fit is cut."""
    return (number % (1 << 256)).to_bytes(32, "little")


def split(topic: str) -> tuple[str, str, str, str]:
    """Root, site, device and the rest of a topic."""
    parts = topic.split("/")
    return "/".join(parts[:2]), parts[2], parts[3], "/".join(parts[4:])
