"""An MQTT 5 server that behaves as a script says, towards one device.

`Script` is an honest broker; what lies.py has changes one thing about it. The `Liar` runs a script on
a port and keeps the ledger that the device is judged by: which results were really acknowledged,
that is with reason 0x00 and under the packet id they were sent with (`acknowledged`).
"""

import asyncio
import contextlib
import socket
import struct
import sys
import time
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

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ledger: Ledger
    ) -> None:
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
