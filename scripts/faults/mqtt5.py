"""The part of MQTT 5 that the fault tools speak: framing, the few packets they read, those they send.

A codec of its own on purpose: it must be able to write what no client library writes, and it must
not share a mistake with the program under test. Reading is lenient (what cannot be read is None).
"""

import struct
from dataclasses import dataclass

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = 8, 9, 12, 13, 14, 15

# Property identifiers of MQTT 5 (section 2.2.2.2) with the width of their value in bytes.
SERVER_KEEP_ALIVE, RECEIVE_MAXIMUM, TOPIC_ALIAS_MAXIMUM, TOPIC_ALIAS = 0x13, 0x21, 0x22, 0x23
MAXIMUM_QOS, RETAIN_AVAILABLE, MAXIMUM_PACKET_SIZE = 0x24, 0x25, 0x27
WIDTHS = {
    SERVER_KEEP_ALIVE: 2,
    RECEIVE_MAXIMUM: 2,
    TOPIC_ALIAS_MAXIMUM: 2,
    TOPIC_ALIAS: 2,
    MAXIMUM_QOS: 1,
    RETAIN_AVAILABLE: 1,
    MAXIMUM_PACKET_SIZE: 4,
}


@dataclass(frozen=True)
class Packet:
    """One control packet as it lay on the wire: kind, the four flag bits, body, all its bytes."""

    kind: int
    flags: int
    body: bytes
    raw: bytes


class Splitter:
    """Cuts a byte stream into packets; bytes of an unfinished packet wait for the rest."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that `data` completes."""
        self.rest += data
        packets = []
        while (packet := self._next()) is not None:
            packets.append(packet)
        return packets

    def _next(self) -> Packet | None:
        head = read_varint(self.rest, 1)
        if head is None:
            return None
        length, start = head
        if len(self.rest) < start + length:
            return None
        raw, self.rest = self.rest[: start + length], self.rest[start + length :]
        return Packet(raw[0] >> 4, raw[0] & 15, raw[start:], raw)


def varint(value: int) -> bytes:
    """A variable byte integer."""
    out = bytearray()
    while True:
        value, digit = value >> 7, value & 127
        out.append(digit | 128 if value else digit)
        if not value:
            return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int] | None:
    """The variable byte integer at `at` and where it ends; None when it is not complete."""
    value = 0
    for i in range(4):
        if at + i >= len(data):
            return None
        value |= (data[at + i] & 127) << (7 * i)
        if data[at + i] < 128:
            return value, at + i + 1
    return None


def text(value: str) -> bytes:
    """A UTF-8 string with its length."""
    raw = value.encode()
    return struct.pack(">H", len(raw)) + raw


def properties(values: dict[int, int]) -> bytes:
    """Numeric properties with their total length."""
    raw = b"".join(
        bytes([key]) + value.to_bytes(WIDTHS[key], "big") for key, value in values.items()
    )
    return varint(len(raw)) + raw


def packet(kind: int, body: bytes = b"", flags: int = 0) -> bytes:
    """A control packet."""
    return bytes([kind << 4 | flags]) + varint(len(body)) + body


def connack(
    reason: int = 0, session_present: bool = False, props: dict[int, int] | None = None
) -> bytes:
    """The broker's answer to CONNECT."""
    return packet(CONNACK, bytes([session_present, reason]) + properties(props or {}))


def connect(
    client_id: str,
    keep_alive: int = 60,
    user: str | None = None,
    password: str | None = None,
    will: tuple[str, bytes] | None = None,
) -> bytes:
    """A CONNECT with a clean start; `will` is topic and payload, QoS 1 and retained."""
    flags = 2 | (128 if user is not None else 0) | (64 if password is not None else 0)
    flags |= 0b101100 if will else 0
    body = text("MQTT") + bytes([5, flags]) + struct.pack(">H", keep_alive)
    body += properties({}) + text(client_id)
    if will:
        topic, payload = will
        body += properties({}) + text(topic) + struct.pack(">H", len(payload)) + payload
    body += b"".join(text(part) for part in (user, password) if part is not None)
    return packet(CONNECT, body)


def puback(packet_id: int, reason: int = 0) -> bytes:
    """The answer to a QoS 1 PUBLISH; success in its short form, as brokers send it."""
    body = struct.pack(">H", packet_id)
    return packet(PUBACK, body if reason == 0 else body + bytes([reason]))


def suback(packet_id: int, reasons: list[int]) -> bytes:
    """The answer to SUBSCRIBE."""
    return packet(SUBACK, struct.pack(">H", packet_id) + properties({}) + bytes(reasons))


def publish(
    topic: str,
    payload: bytes,
    packet_id: int = 0,
    retain: bool = False,
    props: dict[int, int] | None = None,
) -> bytes:
    """A PUBLISH of QoS 1, or of QoS 0 when `packet_id` is 0."""
    body = text(topic) + (struct.pack(">H", packet_id) if packet_id else b"")
    flags = (2 if packet_id else 0) | retain
    return packet(PUBLISH, body + properties(props or {}) + payload, flags)


def subscribe(packet_id: int, filters: list[str]) -> bytes:
    """A SUBSCRIBE with QoS 1 for each filter."""
    body = struct.pack(">H", packet_id) + properties({})
    return packet(SUBSCRIBE, body + b"".join(text(one) + b"\1" for one in filters), 2)


@dataclass(frozen=True)
class Published:
    """What a PUBLISH carries."""

    topic: str
    packet_id: int
    retain: bool
    payload: bytes


def read_publish(found: Packet) -> Published | None:
    """The fields of a PUBLISH; None when it is none or cannot be read."""
    if found.kind != PUBLISH or len(found.body) < 2:
        return None
    at = 2 + int.from_bytes(found.body[:2], "big")
    topic = found.body[2:at].decode("utf-8", "replace")
    packet_id = 0
    if found.flags & 6:
        packet_id = int.from_bytes(found.body[at : at + 2], "big")
        at += 2
    head = read_varint(found.body, at)
    if head is None:
        return None
    length, start = head
    return Published(topic, packet_id, bool(found.flags & 1), found.body[start + length :])


def read_answer(found: Packet) -> tuple[int, int] | None:
    """Packet id and reason of a PUBACK; None when it is none."""
    if found.kind != PUBACK or len(found.body) < 2:
        return None
    return int.from_bytes(found.body[:2], "big"), found.body[2] if len(found.body) > 2 else 0


def read_subscribe(found: Packet) -> tuple[int, list[str]]:
    """Packet id and filters of a SUBSCRIBE."""
    packet_id = int.from_bytes(found.body[:2], "big")
    head = read_varint(found.body, 2)
    length, at = head if head else (0, len(found.body))
    at += length
    filters = []
    while at + 2 <= len(found.body):
        size = int.from_bytes(found.body[at : at + 2], "big")
        filters.append(found.body[at + 2 : at + 2 + size].decode("utf-8", "replace"))
        at += 2 + size + 1
    return packet_id, filters


def client_id(found: Packet) -> str:
    """The client identifier in a CONNECT of MQTT 5."""
    head = read_varint(found.body, 10)
    if head is None:
        return ""
    at = head[0] + head[1]
    size = int.from_bytes(found.body[at : at + 2], "big")
    return found.body[at + 2 : at + 2 + size].decode("utf-8", "replace")
