"""Everything that is published below `hcc/`, as raw topics and bytes; verifies and judges nothing.

with Listener(port) as ear:
    ear.wait(lambda messages: len(messages) >= 3, seconds)
    ear.messages
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import paho.mqtt.client as mqtt
import process

Messages = list[tuple[str, bytes]]


class Listener:
    """One subscriber; also publishes, so that a test can send what no device would."""

    def __init__(self, port: int):
        self._lock = threading.Lock()
        self._messages: Messages = []
        self._subscribed = threading.Event()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.max_queued_messages_set(0)
        self._client.on_connect = lambda client, *_: client.subscribe("hcc/#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port, clean_start=True)
        self._client.loop_start()
        if not self._subscribed.wait(20):
            raise RuntimeError(f"cannot subscribe at port {port}")

    def _on_message(self, _client, _userdata, message) -> None:
        with self._lock:
            self._messages.append((message.topic, bytes(message.payload)))

    @property
    def messages(self) -> Messages:
        """What came so far."""
        with self._lock:
            return list(self._messages)

    def wait(self, holds: Callable[[Messages], bool], seconds: float) -> bool:
        """Whether the messages were as wanted in time."""
        return process.wait_until(lambda: holds(self.messages), seconds)

    def publish(self, messages: Messages, seconds: float) -> None:
        """Publishes in this order and returns when the broker has them all."""
        sent = [self._client.publish(topic, data, qos=1) for topic, data in messages]
        for information in sent:
            information.wait_for_publish(seconds)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
