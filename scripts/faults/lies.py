"""The lies a broker may tell: scripts for liar.py, each under a name."""

import asyncio
import random
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import mqtt5
from liar import Peer, Script

# What a flood of topic aliases would fill the device's memory with: 60 MB.
ALIASES, ALIAS_BYTES = 1_000, 60_000

Hook = Callable[[Peer, mqtt5.Published], Awaitable[None]]


class AnswersResults(Script):
    """Lies in the answer to every result."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook

    async def on_result(self, peer: Peer, sent: mqtt5.Published) -> None:
        peer.ledger.lies += 1
        await self.hook(peer, sent)


class AnswersConnect(Script):
    """Lies in the answer to CONNECT: these bytes, one write per piece, then possibly the end."""

    def __init__(self, *pieces: bytes, pause_s: float = 0.0, close: bool = False) -> None:
        self.pieces, self.pause_s, self.close = pieces, pause_s, close

    async def on_connect(self, peer: Peer) -> None:
        peer.ledger.lies += 1
        for piece in self.pieces:
            await asyncio.sleep(self.pause_s)
            await peer.send(piece)
        if self.close:
            peer.close()


class SpeaksFirst(Script):
    """Sends bytes before the device has said CONNECT."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def on_open(self, peer: Peer) -> None:
        await peer.lie(self.data)


class AnswersSubscribe(Script):
    """Answers SUBSCRIBE with these bytes, made from its packet id."""

    def __init__(self, make: Callable[[int], bytes]) -> None:
        self.make = make

    async def on_subscribe(self, peer: Peer, packet_id: int, filters: list[str]) -> None:
        await peer.lie(self.make(packet_id))


class NeverPongs(Script):
    """Takes results and says nothing at all any more, not even to a ping."""

    async def on_result(self, peer: Peer, sent: mqtt5.Published) -> None:
        peer.ledger.lies += 1

    async def on_other(self, peer: Peer, sent: mqtt5.Published) -> None:
        pass

    async def on_ping(self, peer: Peer) -> None:
        peer.ledger.lies += 1


class Reversed(Script):
    """Acknowledges results in the opposite order, four at a time."""

    def __init__(self) -> None:
        self.held: list[int] = []

    async def on_connect(self, peer: Peer) -> None:
        self.held = []
        await super().on_connect(peer)

    async def on_result(self, peer: Peer, sent: mqtt5.Published) -> None:
        self.held.append(sent.packet_id)
        if len(self.held) == 3:
            for packet_id in reversed(self.held):
                await peer.lie(mqtt5.puback(packet_id))
            self.held = []


class OthersOnly(Script):
    """Acknowledges everything but results, and those as if they had been other packets."""

    async def on_result(self, peer: Peer, sent: mqtt5.Published) -> None:
        peer.ledger.lies += 1
        await peer.send(mqtt5.puback(sent.packet_id - 1))


class AliasFlood(Script):
    """Sends messages under topic aliases, which the device never allowed."""

    async def on_subscribe(self, peer: Peer, packet_id: int, filters: list[str]) -> None:
        await super().on_subscribe(peer, packet_id, filters)
        for alias in range(1, ALIASES + 1):
            topic = "x" * ALIAS_BYTES
            await peer.lie(mqtt5.publish(topic, b"", props={mqtt5.TOPIC_ALIAS: alias}))


class CommandFlood(Script):
    """Sends commands and acknowledgements that nobody signed, retained ones among them."""

    async def on_subscribe(self, peer: Peer, packet_id: int, filters: list[str]) -> None:
        await super().on_subscribe(peer, packet_id, filters)
        base = filters[0].removesuffix("cmd/+")
        for i in range(1, 401):
            verb = ("ping", "resend", "check", "rescan", "reboot")[i % 5]
            body = bytes(i % 251 for _ in range(i))
            await peer.lie(mqtt5.publish(f"{base}cmd/{verb}", body, packet_id=i, retain=i % 7 == 0))
            await peer.lie(mqtt5.publish(f"{base}ack", body, packet_id=1000 + i))

    async def on_result(self, peer: Peer, sent: mqtt5.Published) -> None:
        pass


def _then(answer: Callable[[Peer, mqtt5.Published], bytes], end: str = "") -> AnswersResults:
    """Answers a result with bytes made from it, then `close` or `reset`, if that is asked for."""

    async def hook(peer: Peer, sent: mqtt5.Published) -> None:
        await peer.send(answer(peer, sent))
        if end == "close":
            peer.close()
        elif end == "reset":
            peer.reset()

    return AnswersResults(hook)


def _reason(code: int) -> AnswersResults:
    return _then(lambda _, sent: mqtt5.puback(sent.packet_id, code))


def _with(props: dict[int, int]) -> AnswersConnect:
    return AnswersConnect(mqtt5.connack(props=props))


def _instead(kind: int, flags: int = 0, tail: bytes = b"") -> AnswersResults:
    """Another packet with the result's packet id in place of the PUBACK."""

    def answer(_: Peer, sent: mqtt5.Published) -> bytes:
        return mqtt5.packet(kind, struct.pack(">H", sent.packet_id) + tail, flags)

    return _then(answer)


def _bytes(data: bytes) -> AnswersResults:
    return _then(lambda _peer, _sent: data)


@dataclass(frozen=True)
class Case:
    """A script under its name.

    It runs for `seconds` from the first connection. `sends` says that results must have come
    meanwhile; `alarm` is the alarm that must stand at its end, with a word of its reason; `at_most`
    limits the unanswered messages; `passes` says that small results must have got through; `stays`
    that one connection must have lasted (the script is odd and within the rules); `gives_up` that
    the device must have tried a second one.
    """

    name: str
    make: Callable[[], Script]
    seconds: float = 3.0
    short: bool = False
    sends: bool = True
    alarm: tuple[str, str] | None = None
    at_most: int = 40
    passes: bool = False
    stays: bool = False
    gives_up: bool = False


def cases(seed: int, result_bytes: int) -> list[Case]:
    """Every script. `result_bytes` is a packet size between a small result's and a large one's."""
    noise = random.Random(seed).randbytes(512)
    return [*acknowledgements(), *packets(noise), *connections(result_bytes)]


def acknowledgements() -> list[Case]:
    """Lies in the answer to a result."""
    return [
        Case(
            "puback_unknown_id",
            lambda: _then(lambda _, s: mqtt5.puback(s.packet_id + 90)),
            short=True,
        ),
        Case("puback_id_out_of_range", lambda: _then(lambda _, s: mqtt5.puback(65000))),
        Case("puback_id_zero", lambda: _bytes(mqtt5.puback(0))),
        Case("puback_of_the_view_twice", OthersOnly, short=True),
        Case("puback_twice", lambda: _then(lambda _, s: 2 * mqtt5.puback(s.packet_id)), short=True),
        Case("puback_never", lambda: _bytes(b""), short=True),
        Case("puback_never_for_long", lambda: _bytes(b""), seconds=100.0, gives_up=True),
        Case("puback_0x10", lambda: _reason(0x10), alarm=("delivery", "no_subscriber"), short=True),
        Case("puback_0x80", lambda: _reason(0x80), alarm=("auth", "Unspecified"), short=True),
        Case("puback_0x87", lambda: _reason(0x87), alarm=("auth", "NotAuthorized"), short=True),
        Case("puback_0x97", lambda: _reason(0x97), alarm=("auth", "Quota"), short=True),
        Case("puback_0x99", lambda: _reason(0x99), alarm=("auth", "Payload")),
        Case("puback_undefined_reason", lambda: _reason(0x42), short=True),
        Case("puback_reversed", Reversed),
        Case(
            "puback_then_close",
            lambda: _then(lambda _, s: mqtt5.puback(s.packet_id), "close"),
            short=True,
        ),
        Case("puback_then_reset", lambda: _then(lambda _, s: mqtt5.puback(s.packet_id), "reset")),
        Case(
            "half_a_puback_then_close",
            lambda: _then(lambda _, s: mqtt5.puback(s.packet_id)[:3], "close"),
        ),
        Case("pubrec_for_puback", lambda: _instead(mqtt5.PUBREC), short=True),
        Case("pubcomp_for_puback", lambda: _instead(mqtt5.PUBCOMP)),
        Case("pubrel_for_puback", lambda: _instead(mqtt5.PUBREL, 2)),
        Case("suback_for_puback", lambda: _instead(mqtt5.SUBACK, 0, b"\0\0")),
        Case("silent_after_connack", NeverPongs, seconds=14.0),
    ]


def packets(noise: bytes) -> list[Case]:
    """Packets that break the protocol, or that nobody asked for."""
    return [
        Case("puback_with_flags", lambda: _instead(mqtt5.PUBACK, 3)),
        Case("puback_of_one_byte", lambda: _bytes(mqtt5.packet(mqtt5.PUBACK, b"\0"))),
        Case(
            "puback_with_bad_properties",
            lambda: _instead(mqtt5.PUBACK, 0, b"\x80\xff\xff\xff\xff"),
            short=True,
        ),
        Case("publish_of_qos_3", lambda: _bytes(mqtt5.packet(mqtt5.PUBLISH, b"\0\1a\0\1\0", 6))),
        Case(
            "publish_topic_too_long",
            lambda: _bytes(mqtt5.packet(mqtt5.PUBLISH, b"\xff\xffabc", 2)),
            short=True,
        ),
        Case("packet_kind_0", lambda: _bytes(b"\0\0")),
        Case("length_of_five_bytes", lambda: _bytes(b"\x40\xff\xff\xff\xff\xff"), short=True),
        Case(
            "huge_remaining_length",
            lambda: _bytes(b"\x30\xff\xff\xff\x7f" + bytes(4096)),
            short=True,
        ),
        Case("noise", lambda: _bytes(noise), short=True),
        Case("server_says_connect", lambda: _bytes(mqtt5.connect("x"))),
        Case("second_connack", lambda: _bytes(mqtt5.connack())),
        Case("disconnect_taken_over", lambda: _bytes(mqtt5.packet(mqtt5.DISCONNECT, b"\x8e"))),
        Case(
            "disconnect_shutting_down",
            lambda: _bytes(mqtt5.packet(mqtt5.DISCONNECT, b"\x8b")),
            short=True,
        ),
        Case(
            "suback_refused",
            lambda: AnswersSubscribe(lambda i: mqtt5.suback(i, [0x87, 0x87])),
            alarm=("auth", "subscribe_refused"),
        ),
        Case(
            "pubacks_for_everything_to_come",
            lambda: AnswersSubscribe(lambda i: b"".join(map(mqtt5.puback, range(50, 90)))),
            sends=False,
        ),
        Case("topic_alias_flood", AliasFlood, sends=False),
        Case("unsigned_commands", CommandFlood, short=True),
    ]


def connections(result_bytes: int) -> list[Case]:
    """Lies at the beginning of a connection."""
    return [
        Case("connack_0x86", lambda: AnswersConnect(mqtt5.connack(0x86)), short=True, sends=False),
        Case("connack_0x88", lambda: AnswersConnect(mqtt5.connack(0x88)), sends=False),
        Case("connack_0x9f", lambda: AnswersConnect(mqtt5.connack(0x9F)), sends=False),
        Case("connack_undefined_reason", lambda: AnswersConnect(mqtt5.connack(0x42)), sends=False),
        Case("connack_truncated", lambda: AnswersConnect(b"\x20\1\0", close=True), sends=False),
        Case(
            "session_present",
            lambda: AnswersConnect(mqtt5.connack(session_present=True)),
            short=True,
        ),
        Case(
            "slow_connack",
            lambda: AnswersConnect(*_single(mqtt5.connack()), pause_s=0.4),
            seconds=5.0,
        ),
        Case("no_connack", lambda: AnswersConnect(), seconds=34.0, sends=False),
        Case(
            "maximum_packet_size",
            lambda: _with({mqtt5.MAXIMUM_PACKET_SIZE: result_bytes}),
            short=True,
            alarm=("delivery", "limit"),
            passes=True,
            stays=True,
        ),
        Case("maximum_packet_size_40", lambda: _with({mqtt5.MAXIMUM_PACKET_SIZE: 40}), sends=False),
        Case(
            "receive_maximum_1",
            lambda: _with({mqtt5.RECEIVE_MAXIMUM: 1}),
            short=True,
            at_most=1,
            stays=True,
        ),
        Case(
            "receive_maximum_0",
            lambda: _with({mqtt5.RECEIVE_MAXIMUM: 0}),
            seconds=100.0,
            sends=False,
            gives_up=True,
        ),
        Case("topic_alias_maximum", lambda: _with({mqtt5.TOPIC_ALIAS_MAXIMUM: 10}), stays=True),
        Case("server_keep_alive_1", lambda: _with({mqtt5.SERVER_KEEP_ALIVE: 1}), stays=True),
        Case("server_keep_alive_0", lambda: _with({mqtt5.SERVER_KEEP_ALIVE: 0}), stays=True),
        Case(
            "garbage_before_connack",
            lambda: SpeaksFirst(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            short=True,
            sends=False,
        ),
        Case(
            "puback_before_connack",
            lambda: SpeaksFirst(b"".join(map(mqtt5.puback, range(1, 21)))),
            sends=False,
        ),
    ]


def _single(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]
