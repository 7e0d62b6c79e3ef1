"""A TCP proxy between an MQTT client and its broker that breaks the line on request.

It forwards whole MQTT packets in order, so that a fault can be aimed at a byte of a packet, and
keeps count of what it saw (`Traffic`). One `Fault` is in force at a time, `Fault()` being none.
Of the two ways, UP is from the client to the broker, DOWN is back.
"""

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import mqtt5
from background import Background

UP, DOWN = "up", "down"
QUEUE = 4096
READ_BYTES = 65536
# How long one way stays open after the other has ended.
AFTER_HALF_S = 1.0
# How long a slow line stays slow.
LASTS_S = 1.5


@dataclass
class Traffic:
    """What went through the proxy, with times of `time.monotonic`."""

    connects: list[float] = field(default_factory=list)
    connacks: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    results_up: int = 0
    round_trips_s: list[float] = field(default_factory=list)

    def reconnects_s(self) -> list[float]:
        """How long the line was down after each loss, from the loss to the next CONNACK."""
        gaps, waiting = [], None
        marks = [(at, "lost") for at in self.losses] + [(at, "back") for at in self.connacks]
        for at, what in sorted(marks):
            if what == "lost":
                waiting = at if waiting is None else waiting
            elif waiting is not None:
                gaps.append(at - waiting)
                waiting = None
        return gaps


class Link:
    """One connection of the client and the one to the broker that belongs to it.

    Plain sockets: a stream of asyncio throws away what it has read when a reset follows.
    """

    def __init__(self, client: socket.socket, broker: socket.socket) -> None:
        self.sources = {UP: client, DOWN: broker}
        self.sinks = {UP: broker, DOWN: client}
        self.queues: dict[str, asyncio.Queue] = {way: asyncio.Queue(QUEUE) for way in (UP, DOWN)}
        self.sent_at: dict[int, float] = {}
        self.connected = False
        self.over = asyncio.Event()
        self._with_reset = False

    async def read(self, way: str) -> bytes:
        """What came next; empty at the end."""
        return await asyncio.get_running_loop().sock_recv(self.sources[way], READ_BYTES)

    async def write(self, way: str, data: bytes) -> None:
        """Sends bytes on."""
        await asyncio.get_running_loop().sock_sendall(self.sinks[way], data)

    def finish(self, way: str) -> None:
        """FIN on one way; the other stays open."""
        with contextlib.suppress(OSError):
            self.sinks[way].shutdown(socket.SHUT_WR)

    def end(self, reset: bool) -> None:
        """Ends both connections soon, with RST or with FIN."""
        self._with_reset = reset
        self.over.set()

    def close(self) -> None:
        """Closes the sockets; nobody reads or writes any more."""
        for line in self.sinks.values():
            if self._with_reset:
                with contextlib.suppress(OSError):
                    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.close()


class Fault:
    """No fault: every packet goes on as it came."""

    lasts_s = 0.0  # how long it is to be in force after it has struck

    def __init__(self) -> None:
        self.fired = threading.Event()

    def name(self) -> str:
        """For a line in the log."""
        return type(self).__name__

    async def begin(self, links: list[Link]) -> None:
        """Called once, when the fault comes into force."""

    async def carry(self, link: Link, way: str, arrived: float, packet: mqtt5.Packet) -> None:
        """Called for every packet, in order, per way."""
        await link.write(way, packet.raw)


class Reset(Fault):
    """RST on both sides at once; where there is no connection, at the next packet."""

    async def begin(self, links: list[Link]) -> None:
        for link in links:
            link.end(reset=True)
            self.fired.set()

    async def carry(self, link: Link, way: str, arrived: float, packet: mqtt5.Packet) -> None:
        if self.fired.is_set():
            await link.write(way, packet.raw)
        else:
            self.fired.set()
            link.end(reset=True)


class BlackHole(Fault):
    """Nothing arrives for a while, and nobody is told; then what was held goes on."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = self.lasts_s = seconds
        self.until = 0.0

    def name(self) -> str:
        return f"BlackHole {self.seconds:g} s"

    async def begin(self, links: list[Link]) -> None:
        self.until = time.monotonic() + self.seconds
        self.fired.set()

    async def carry(self, link: Link, way: str, arrived: float, packet: mqtt5.Packet) -> None:
        await asyncio.sleep(max(0.0, self.until - time.monotonic()))
        await link.write(way, packet.raw)


class Swallow(Fault):
    """Everything on one way disappears: whoever sends believes that it arrived."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    async def carry(self, link: Link, way: str, arrived: float, packet: mqtt5.Packet) -> None:
        if way == self.way:
            self.fired.set()
        else:
            await link.write(way, packet.raw)


class Trickle(Fault):
    """One byte at a time, each in a segment of its own."""

    def __init__(self, pause_s: float) -> None:
        super().__init__()
        self.pause_s = pause_s
        self.lasts_s = LASTS_S

    async def carry(self, link: Link, way: str, arrived: float, packet: mqtt5.Packet) -> None:
        self.fired.set()
        for i in range(len(packet.raw)):
            await link.write(way, packet.raw[i : i + 1])
            await asyncio.sleep(self.pause_s)


class Latency(Fault):
    """Every packet arrives late by so much, in order."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.lasts_s = LASTS_S

    async def carry(self, link: Link, way: str, arrived: float, packet: mqtt5.Packet) -> None:
        self.fired.set()
        await asyncio.sleep(max(0.0, arrived + self.seconds - time.monotonic()))
        await link.write(way, packet.raw)


class Rate(Fault):
    """A slow line: so many bytes a second on each way."""

    def __init__(self, bytes_per_s: float) -> None:
        super().__init__()
        self.bytes_per_s = bytes_per_s
        self.lasts_s = LASTS_S

    async def carry(self, link: Link, way: str, arrived: float, packet: mqtt5.Packet) -> None:
        self.fired.set()
        await asyncio.sleep(len(packet.raw) / self.bytes_per_s)
        await link.write(way, packet.raw)


class HalfClose(Fault):
    """FIN on one way while the other stays open."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def name(self) -> str:
        return f"HalfClose {self.way}"

    async def carry(self, link: Link, way: str, arrived: float, packet: mqtt5.Packet) -> None:
        if way == self.way and not self.fired.is_set():
            self.fired.set()
            await link.write(way, packet.raw)
            link.finish(way)
        elif way != self.way:
            await link.write(way, packet.raw)


class Aimed(Fault):
    """Strikes once, at the next packet of one kind on one way; a PUBLISH may be chosen by its topic."""

    def __init__(self, way: str, kind: int, topic_end: str = "") -> None:
        super().__init__()
        self.way, self.kind, self.topic_end = way, kind, topic_end

    async def begin(self, links: list[Link]) -> None:
        # The packets of the beginning only come again on a new connection.
        if self.kind in (mqtt5.CONNECT, mqtt5.CONNACK, mqtt5.SUBSCRIBE, mqtt5.SUBACK):
            for link in links:
                link.end(reset=True)

    def hits(self, way: str, packet: mqtt5.Packet) -> bool:
        """Whether this is the packet."""
        if self.fired.is_set() or (way, packet.kind) != (self.way, self.kind):
            return False
        published = mqtt5.read_publish(packet)
        return published is None or published.topic.endswith(self.topic_end)


class Cut(Aimed):
    """The line ends within the packet, after its first `offset` bytes, with RST or with FIN."""

    def __init__(self, way: str, kind: int, topic_end: str, offset: int, reset: bool) -> None:
        super().__init__(way, kind, topic_end)
        self.offset, self.reset = offset, reset

    def name(self) -> str:
        return f"Cut {self.way} kind {self.kind} at {self.offset}"

    async def carry(self, link: Link, way: str, arrived: float, packet: mqtt5.Packet) -> None:
        if not self.hits(way, packet):
            await link.write(way, packet.raw)
            return
        # Never the whole packet, however short it is.
        await link.write(way, packet.raw[: self.offset % len(packet.raw)])
        self.fired.set()
        link.end(self.reset)


class Corrupt(Aimed):
    """One bit of the packet flips, at this part of its length; the rest of the stream is untouched."""

    def __init__(self, way: str, kind: int, topic_end: str, part: float, bit: int) -> None:
        super().__init__(way, kind, topic_end)
        self.part, self.bit = part, bit

    def name(self) -> str:
        return f"Corrupt {self.way} kind {self.kind} at {self.part:.3f} bit {self.bit}"

    async def carry(self, link: Link, way: str, arrived: float, packet: mqtt5.Packet) -> None:
        raw = packet.raw
        if self.hits(way, packet):
            raw = flip(raw, int(self.part * len(raw)), self.bit)
            self.fired.set()
        await link.write(way, raw)


async def cancelled(tasks: list[asyncio.Task]) -> None:
    """Cancels tasks and waits for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def flip(raw: bytes, at: int, bit: int) -> bytes:
    """`raw` with one bit changed."""
    changed = bytearray(raw)
    changed[at] ^= 1 << bit
    return bytes(changed)


class Proxy:
    """Listens on a free port of its own, from construction to `close`."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.traffic = Traffic()
        self.watcher: Callable[[str, mqtt5.Packet], None] | None = None
        self._fault = Fault()
        self._links: list[Link] = []
        self._background = Background()
        self._listening, self.port = self._background.call(self._listen())

    def inject(self, fault: Fault) -> None:
        """Puts a fault into force instead of the one before."""

        async def step() -> None:
            self._fault = fault
            await fault.begin(list(self._links))

        self._background.call(step())

    def clear(self) -> None:
        """No fault from here on."""
        self.inject(Fault())

    def reset(self) -> None:
        """Ends every connection with RST, whatever is in force."""

        async def step() -> None:
            for link in list(self._links):
                link.end(reset=True)

        self._background.call(step())

    def connected(self) -> bool:
        """Whether a connection is up that the broker accepted."""
        links = list(self._links)
        return any(link.connected and not link.over.is_set() for link in links)

    def close(self) -> None:
        """Ends everything."""
        self._background.close()

    async def _listen(self) -> tuple[asyncio.Task, int]:
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        listener.setblocking(False)
        task = asyncio.create_task(self._accept(listener))
        return task, listener.getsockname()[1]

    async def _accept(self, listener: socket.socket) -> None:
        loop, serving = asyncio.get_running_loop(), set()
        with listener:
            while True:
                client, _ = await loop.sock_accept(listener)
                task = asyncio.create_task(self._serve(client))
                # The loop itself holds only weak references to tasks.
                serving.add(task)
                task.add_done_callback(serving.discard)

    async def _serve(self, client: socket.socket) -> None:
        broker = socket.socket()
        link = Link(client, broker)
        for line in (client, broker):
            line.setblocking(False)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().sock_connect(broker, ("127.0.0.1", self.target_port))
        except OSError:
            link.end(reset=True)
            link.close()
            return
        self._links.append(link)
        readers = [asyncio.create_task(self._read(link, way)) for way in (UP, DOWN)]
        writers = [asyncio.create_task(self._write(link, way)) for way in (UP, DOWN)]
        over = asyncio.create_task(link.over.wait())
        try:
            await asyncio.wait([over, *writers], return_when=asyncio.FIRST_COMPLETED)
            # After one way has ended the other may still have something to say.
            busy = [writer for writer in writers if not writer.done()]
            if busy and not link.over.is_set():
                first = asyncio.FIRST_COMPLETED
                await asyncio.wait([over, *busy], timeout=AFTER_HALF_S, return_when=first)
        finally:
            await cancelled([over, *readers, *writers])
            self._links.remove(link)
            # A new connection may be up before the old one has quite ended.
            if link.connected and not self.connected():
                self.traffic.losses.append(time.monotonic())
            link.close()

    async def _read(self, link: Link, way: str) -> None:
        splitter = mqtt5.Splitter()
        queue = link.queues[way]
        with contextlib.suppress(OSError):
            while data := await link.read(way):
                for packet in splitter.feed(data):
                    self._note(link, way, packet)
                    await queue.put((time.monotonic(), packet))
        await queue.put(None)

    async def _write(self, link: Link, way: str) -> None:
        with contextlib.suppress(OSError):
            while (item := await link.queues[way].get()) is not None:
                await self._fault.carry(link, way, *item)
            # The end of one way is passed on like its bytes.
            link.finish(way)

    def _note(self, link: Link, way: str, packet: mqtt5.Packet) -> None:
        now = time.monotonic()
        traffic = self.traffic
        if way == UP and packet.kind == mqtt5.CONNECT:
            traffic.connects.append(now)
        elif way == DOWN and packet.kind == mqtt5.CONNACK and packet.body[1:2] == b"\0":
            traffic.connacks.append(now)
            link.connected = True
        elif way == UP and (sent := mqtt5.read_publish(packet)) and sent.topic.endswith("/result"):
            traffic.results_up += 1
            link.sent_at[sent.packet_id] = now
        elif way == DOWN and (answer := mqtt5.read_answer(packet)) and answer[0] in link.sent_at:
            traffic.round_trips_s.append(now - link.sent_at.pop(answer[0]))
        if self.watcher:
            self.watcher(way, packet)
