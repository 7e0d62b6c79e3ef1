"""An MQTT 5 server that misbehaves by script towards one device.

`Script` is an honest broker; a subclass or a hook changes one thing. The `Liar` runs a script on a
port and keeps the ledger that the device is judged by: which results it really acknowledged, that
is with reason 0x00 and under the packet id they were sent with (`acknowledged`).
"""

import asyncio
import contextlib
import random
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import mqtt5
from background import Background

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import verify  # noqa: E402 - the folder above is not a package

SEQ_KEY = 4
READ_BYTES = 65536


def seq_of(cose: bytes) -> int:
    """The sequence number in a signed result; its signature is not looked at."""
    _, _, payload, _ = verify.parse_cbor(cose).value
    return verify.parse_cbor(payload)[SEQ_KEY]


@dataclass
class Ledger:
    """What happened between the device and the script."""

    connects: list[float] = field(default_factory=list)
    acknowledged: set[int] = field(default_factory=set)
    results: list[int] = field(default_factory=list)
    alarms: dict[str, list[bytes]] = field(default_factory=dict)
    lies: int = 0
    most_on_the_way: int = 0


class Peer:
    """One connection of the device."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ledger: Ledger) -> None:
        self.reader, self.writer, self.ledger = reader, writer, ledger
        self.outstanding: dict[int, int] = {}
        self.unanswered: set[int] = set()

    async def send(self, data: bytes) -> None:
        """Bytes as they are. Every PUBACK among them is entered in the ledger, lies included."""
        for packet in mqtt5.Splitter().feed(data):
            answer = mqtt5.read_answer(packet)
            if answer is None:
                continue
            self.unanswered.discard(answer[0])
            seq = self.outstanding.pop(answer[0], None)
            if seq is not None and answer[1] == 0:
                self.ledger.acknowledged.add(seq)
        self.writer.write(data)
        await self.writer.drain()

    async def lie(self, data: bytes) -> None:
        """Bytes that an honest broker would not have sent here."""
        self.ledger.lies += 1
        await self.send(data)

    def close(self) -> None:
        """FIN."""
        self.writer.close()

    def reset(self) -> None:
        """RST."""
        line = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Script:
    """Honest towards everything; a liar overrides what it lies about."""

    async def on_open(self, peer: Peer) -> None:
        """The connection is there, nothing was read yet."""

    async def on_connect(self, peer: Peer) -> None:
        """The device said CONNECT."""
        await peer.send(mqtt5.connack())

    async def on_subscribe(self, peer: Peer, packet_id: int, filters: list[str]) -> None:
        """The device subscribes."""
        await peer.send(mqtt5.suback(packet_id, [1] * len(filters)))

    async def on_result(self, peer: Peer, sent: mqtt5.Published) -> None:
        """The device publishes a result."""
        await peer.send(mqtt5.puback(sent.packet_id))

    async def on_other(self, peer: Peer, sent: mqtt5.Published) -> None:
        """The device publishes something else with QoS 1."""
        await peer.send(mqtt5.puback(sent.packet_id))

    async def on_ping(self, peer: Peer) -> None:
        """The device asks whether the line is up."""
        await peer.send(mqtt5.packet(mqtt5.PINGRESP))


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
        for alias in range(1, 501):
            topic = "x" * 2000
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
    limits the unanswered messages; `passes` says that small results must have got through.
    """

    name: str
    make: Callable[[], Script]
    seconds: float = 3.0
    short: bool = False
    sends: bool = True
    alarm: tuple[str, str] | None = None
    at_most: int = 40
    passes: bool = False


def cases(seed: int, result_bytes: int) -> list[Case]:
    """Every script. `result_bytes` is a packet size between a small result's and a large one's."""
    noise = random.Random(seed).randbytes
    return [
        Case("puback_unknown_id", lambda: _then(lambda _, s: mqtt5.puback(s.packet_id + 90)), short=True),
        Case("puback_id_out_of_range", lambda: _then(lambda _, s: mqtt5.puback(65000))),
        Case("puback_id_zero", lambda: _bytes(mqtt5.puback(0))),
        Case("puback_of_the_view_twice", OthersOnly, short=True),
        Case("puback_twice", lambda: _then(lambda _, s: 2 * mqtt5.puback(s.packet_id)), short=True),
        Case("puback_never", lambda: _bytes(b""), short=True),
        Case("puback_0x10", lambda: _reason(0x10), alarm=("delivery", "no_subscriber"), short=True),
        Case("puback_0x80", lambda: _reason(0x80), alarm=("auth", "Unspecified"), short=True),
        Case("puback_0x87", lambda: _reason(0x87), alarm=("auth", "NotAuthorized"), short=True),
        Case("puback_0x97", lambda: _reason(0x97), alarm=("auth", "Quota"), short=True),
        Case("puback_0x99", lambda: _reason(0x99), alarm=("auth", "Payload")),
        Case("puback_undefined_reason", lambda: _reason(0x42), short=True),
        Case("puback_reversed", Reversed),
        Case("puback_then_close", lambda: _then(lambda _, s: mqtt5.puback(s.packet_id), "close"), short=True),
        Case("puback_then_reset", lambda: _then(lambda _, s: mqtt5.puback(s.packet_id), "reset")),
        Case("half_a_puback_then_close", lambda: _then(lambda _, s: mqtt5.puback(s.packet_id)[:3], "close")),
        Case("pubrec_for_puback", lambda: _instead(mqtt5.PUBREC), short=True),
        Case("pubcomp_for_puback", lambda: _instead(mqtt5.PUBCOMP)),
        Case("pubrel_for_puback", lambda: _instead(mqtt5.PUBREL, 2)),
        Case("suback_for_puback", lambda: _instead(mqtt5.SUBACK, 0, b"\0\0")),
        Case("puback_with_flags", lambda: _instead(mqtt5.PUBACK, 3)),
        Case("puback_of_one_byte", lambda: _bytes(mqtt5.packet(mqtt5.PUBACK, b"\0"))),
        Case("puback_with_bad_properties", lambda: _instead(mqtt5.PUBACK, 0, b"\x80\xff\xff\xff\xff"), short=True),
        Case("publish_of_qos_3", lambda: _bytes(mqtt5.packet(mqtt5.PUBLISH, b"\0\1a\0\1\0", 6))),
        Case("publish_topic_too_long", lambda: _bytes(mqtt5.packet(mqtt5.PUBLISH, b"\xff\xffabc", 2)), short=True),
        Case("packet_kind_0", lambda: _bytes(b"\0\0")),
        Case("length_of_five_bytes", lambda: _bytes(b"\x40\xff\xff\xff\xff\xff"), short=True),
        Case("huge_remaining_length", lambda: _bytes(b"\x30\xff\xff\xff\x7f" + bytes(4096)), short=True),
        Case("noise", lambda: _bytes(noise(512)), short=True),
        Case("server_says_connect", lambda: _bytes(mqtt5.connect("x"))),
        Case("second_connack", lambda: _bytes(mqtt5.connack())),
        Case("disconnect_taken_over", lambda: _bytes(mqtt5.packet(mqtt5.DISCONNECT, b"\x8e"))),
        Case("disconnect_shutting_down", lambda: _bytes(mqtt5.packet(mqtt5.DISCONNECT, b"\x8b")), short=True),
        Case("connack_0x86", lambda: AnswersConnect(mqtt5.connack(0x86)), short=True, sends=False),
        Case("connack_0x88", lambda: AnswersConnect(mqtt5.connack(0x88)), sends=False),
        Case("connack_0x9f", lambda: AnswersConnect(mqtt5.connack(0x9F)), sends=False),
        Case("connack_undefined_reason", lambda: AnswersConnect(mqtt5.connack(0x42)), sends=False),
        Case("connack_truncated", lambda: AnswersConnect(b"\x20\1\0", close=True), sends=False),
        Case("session_present", lambda: AnswersConnect(mqtt5.connack(session_present=True)), short=True),
        Case("slow_connack", lambda: AnswersConnect(*_single(mqtt5.connack()), pause_s=0.4), seconds=5.0),
        Case("no_connack", lambda: AnswersConnect(), seconds=34.0, sends=False),
        Case("maximum_packet_size", lambda: _with({mqtt5.MAXIMUM_PACKET_SIZE: result_bytes}), short=True, alarm=("delivery", "limit"), passes=True),
        Case("maximum_packet_size_40", lambda: _with({mqtt5.MAXIMUM_PACKET_SIZE: 40}), sends=False),
        Case("receive_maximum_1", lambda: _with({mqtt5.RECEIVE_MAXIMUM: 1}), short=True, at_most=1),
        Case("receive_maximum_0", lambda: _with({mqtt5.RECEIVE_MAXIMUM: 0}), sends=False),
        Case("topic_alias_maximum", lambda: _with({mqtt5.TOPIC_ALIAS_MAXIMUM: 10})),
        Case("server_keep_alive_1", lambda: _with({mqtt5.SERVER_KEEP_ALIVE: 1})),
        Case("server_keep_alive_0", lambda: _with({mqtt5.SERVER_KEEP_ALIVE: 0})),
        Case("garbage_before_connack", lambda: SpeaksFirst(b"HTTP/1.1 400 Bad Request\r\n\r\n"), short=True, sends=False),
        Case("puback_before_connack", lambda: SpeaksFirst(b"".join(map(mqtt5.puback, range(1, 21)))), sends=False),
        Case("suback_refused", lambda: AnswersSubscribe(lambda i: mqtt5.suback(i, [0x87, 0x87])), alarm=("auth", "subscribe_refused")),
        Case("pubacks_for_everything_to_come", lambda: AnswersSubscribe(lambda i: b"".join(map(mqtt5.puback, range(50, 90)))), sends=False),
        Case("topic_alias_flood", AliasFlood, sends=False),
        Case("unsigned_commands", CommandFlood, short=True),
        Case("silent_after_connack", NeverPongs, seconds=14.0),
    ]


def _single(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


class Liar:
    """A script on a port, from construction to `close`."""

    def __init__(self, script: Script, port: int) -> None:
        self.script, self.port = script, port
        self.ledger = Ledger()
        self._peers: list[Peer] = []
        self._background = Background()
        self._server = self._background.call(self._listen())

    def close(self) -> None:
        """Ends every connection with RST and gives the port back."""

        async def step() -> None:
            self._server.close()
            for peer in list(self._peers):
                peer.reset()

        self._background.call(step())
        self._background.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, self.ledger)
        self._peers.append(peer)
        splitter = mqtt5.Splitter()
        try:
            await self.script.on_open(peer)
            while data := await reader.read(READ_BYTES):
                packets = splitter.feed(data)
                self._count(peer, packets)
                for packet in packets:
                    await self._handle(peer, packet)
        except OSError:
            pass  # The device has had enough of us, as it may.
        finally:
            self._peers.remove(peer)
            peer.close()

    def _count(self, peer: Peer, packets: list[mqtt5.Packet]) -> None:
        """How many messages the device has sent at once without an answer."""
        sent = map(mqtt5.read_publish, packets)
        peer.unanswered |= {one.packet_id for one in sent if one is not None and one.packet_id}
        self.ledger.most_on_the_way = max(self.ledger.most_on_the_way, len(peer.unanswered))

    async def _handle(self, peer: Peer, packet: mqtt5.Packet) -> None:
        if packet.kind == mqtt5.CONNECT:
            self.ledger.connects.append(time.monotonic())
            await self.script.on_connect(peer)
        elif packet.kind == mqtt5.SUBSCRIBE:
            await self.script.on_subscribe(peer, *mqtt5.read_subscribe(packet))
        elif packet.kind == mqtt5.PINGREQ:
            await self.script.on_ping(peer)
        elif (sent := mqtt5.read_publish(packet)) is not None:
            await self._published(peer, sent)

    async def _published(self, peer: Peer, sent: mqtt5.Published) -> None:
        if "/alarm/" in sent.topic:
            self.ledger.alarms.setdefault(sent.topic.rpartition("/")[2], []).append(sent.payload)
        if sent.topic.endswith("/result"):
            seq = seq_of(sent.payload)
            peer.outstanding[sent.packet_id] = seq
            self.ledger.results.append(seq)
            await self.script.on_result(peer, sent)
        elif sent.packet_id:
            await self.script.on_other(peer, sent)
