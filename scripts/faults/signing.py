"""Signs what a consumer sends to a device: `ack` and `resend` as COSE_Sign1 with Ed25519 over
deterministic CBOR. Written after result.cddl and verify.py's tables, not after the program.

    key = ConsumerKey(bytes([7]) * 32)
    key.trust_entry("ward")              TOML for the device's trust.toml
    key.ack("ward", "box-1", epoch, 12)  everything up to 12 was received; `epoch` in hexadecimal
    key.resend("ward", "box-1", epoch, 3, 5)
    sign(kind, message, private_key)     any kind of message, from names and values
    envelope(payload, content_type, private_key)   any payload, for forgers
"""

import base64
import hashlib
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import verify  # noqa: E402 - the folder above is not a package


def encode(value) -> bytes:
    """Deterministic CBOR of integers, bytes, text, booleans, null, lists and maps."""
    if value is None or isinstance(value, bool):
        return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(map(encode, value))
    if isinstance(value, dict):
        pairs = sorted((encode(key), encode(inner)) for key, inner in value.items())
        return _head(5, len(pairs)) + b"".join(key + inner for key, inner in pairs)
    raise TypeError(f"{type(value).__name__} has no place in a message")


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << (8 * size):
            return bytes([major << 5 | info]) + number.to_bytes(size, "big")
    raise ValueError(f"{number} is too large for CBOR")


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes of the public key."""
    return key.public_key().public_bytes_raw()


def key_id(public: bytes) -> bytes:
    """`kid` of the profile."""
    return hashlib.sha256(public).digest()[:16]


def envelope(payload: bytes, content_type: str, key: Ed25519PrivateKey, algorithm=-8) -> bytes:
    """COSE_Sign1 of the profile around any payload."""
    kid = key_id(public_bytes(key))
    protected = encode({1: algorithm, 3: content_type, 4: kid})
    signature = key.sign(encode(["Signature1", protected, b"", payload]))
    return b"\xd2" + encode([protected, {}, payload, signature])


def sign(kind: str, message: dict, key: Ed25519PrivateKey) -> bytes:
    """A message given by field names; `bytes` fields are bytes or hexadecimal."""
    fields = verify.MAPS[kind]
    payload = {}
    for number, (name, form) in enumerate(fields):
        value = message[name]
        is_hex = form.startswith("bytes") and isinstance(value, str)
        payload[number] = bytes.fromhex(value) if is_hex else value
    return envelope(encode(payload), f"{verify.PREFIX}{kind}.v1+cbor", key)


class ConsumerKey:
    """The key of a control room; the seed makes runs repeatable."""

    def __init__(self, seed: bytes):
        self.private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = public_bytes(self.private)

    def trust_entry(self, site: str) -> str:
        """The lines that make a device of this site believe the key."""
        return (
            f'\n[[key]]\nkid = "{key_id(self.public).hex()}"\nrole = "consumer"\n'
            f'site = "{site}"\npublic_key = "{base64.b64encode(self.public).decode()}"\n'
        )

    def ack(self, site: str, device: str, epoch: str, seq: int) -> bytes:
        """Everything of the epoch up to `seq` was received and verified."""
        return sign("ack", self._addressed(site, device, epoch) | {"seq": seq}, self.private)

    def resend(self, site: str, device: str, epoch: str, first: int, last: int) -> bytes:
        """Asks for these results once more."""
        wanted = {"from": first, "to": last}
        return sign("resend", self._addressed(site, device, epoch) | wanted, self.private)

    @staticmethod
    def _addressed(site: str, device: str, epoch: str) -> dict:
        now_ms = int(time.time() * 1000)
        address = {"site": site, "device": device, "epoch": epoch}
        return {"v": 1, **address, "signed_at_ms": now_ms}
