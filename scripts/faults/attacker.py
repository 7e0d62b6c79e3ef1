"""A plain MQTT 5 client that says what it was told: for replays, and for forgers.

with Attacker(port, "box-2", user="box-2", password="...") as attacker:
    attacker.publish(topic, payload)         reason of the broker's PUBACK
    attacker.subscribe(["hcc/#"])            reasons of the broker's SUBACK
    attacker.received                        what was published to it
"""

import contextlib
import socket
import time

import mqtt5

# Instead of a reason: the broker ended the connection.
CLOSED = -1
TIMEOUT_S = 10.0


class Refused(Exception):
    """The broker did not accept the connection; the text has its reason."""


class Attacker:
    """One connection; every request waits for its answer."""

    def __init__(
        self,
        port: int,
        client_id: str = "",
        user: str | None = None,
        password: str | None = None,
        will: tuple[str, bytes] | None = None,
    ) -> None:
        self.received: list[mqtt5.Published] = []
        self._splitter = mqtt5.Splitter()
        self._waiting: list[mqtt5.Packet] = []
        self._packet_id = 0
        self._line = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        # Otherwise every request after the first waits for the other side's delayed acknowledgement.
        self._line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._line.sendall(mqtt5.connect(client_id, user=user, password=password, will=will))
        answer = self._await(mqtt5.CONNACK)
        if answer is None or answer.body[1] != 0:
            self.close()
            raise Refused("closed" if answer is None else f"0x{answer.body[1]:02x}")

    def publish(self, topic: str, payload: bytes, retain: bool = False, qos: int = 1) -> int:
        """Publishes; the reason in the PUBACK, 0 for QoS 0, or CLOSED."""
        packet_id = self._next_id() if qos else 0
        if not self._send(mqtt5.publish(topic, payload, packet_id, retain)):
            return CLOSED
        if not qos:
            return 0
        answer = self._await(mqtt5.PUBACK, packet_id)
        return CLOSED if answer is None else mqtt5.read_answer(answer)[1]

    def subscribe(self, filters: list[str]) -> list[int]:
        """Subscribes; the reasons in the SUBACK, or one CLOSED for each filter."""
        packet_id = self._next_id()
        self._send(mqtt5.subscribe(packet_id, filters))
        answer = self._await(mqtt5.SUBACK, packet_id)
        return [CLOSED] * len(filters) if answer is None else list(answer.body[-len(filters) :])

    def send_raw(self, data: bytes) -> bool:
        """Sends bytes as they are; whether the connection is still up half a second later."""
        self._send(data)
        return self.listen(0.5)

    def listen(self, seconds: float) -> bool:
        """Takes what comes for so long; whether the connection is still up then."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not self._read(left):
                return False
        return True

    def close(self) -> None:
        """Ends the connection."""
        self._line.close()

    def __enter__(self) -> "Attacker":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _next_id(self) -> int:
        self._packet_id = self._packet_id % 65_535 + 1
        return self._packet_id

    def _send(self, data: bytes) -> bool:
        try:
            self._line.sendall(data)
        except OSError:
            return False
        return True

    def _await(self, kind: int, packet_id: int | None = None) -> mqtt5.Packet | None:
        """The next packet of a kind, with this id if one is given; None when the line ends first."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            for i, packet in enumerate(self._waiting):
                if packet.kind == kind and packet_id in (
                    None,
                    int.from_bytes(packet.body[:2], "big"),
                ):
                    return self._waiting.pop(i)
            if not self._read(deadline - time.monotonic()):
                return None
        raise TimeoutError(f"no packet of kind {kind} within {TIMEOUT_S} s")

    def _read(self, seconds: float) -> bool:
        """Reads once; whether the line is still up."""
        self._line.settimeout(max(seconds, 0.001))
        try:
            data = self._line.recv(65_536)
        except TimeoutError:
            return True
        except OSError:
            return False
        for packet in self._splitter.feed(data):
            published = mqtt5.read_publish(packet)
            if published is None:
                self._waiting.append(packet)
                continue
            self.received.append(published)
            if published.packet_id:
                with contextlib.suppress(OSError):
                    self._line.sendall(mqtt5.puback(published.packet_id))
        return bool(data)
