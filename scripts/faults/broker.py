"""A mosquitto broker on a port of its own, killed and restarted at will.

    broker = Broker(folder)                     nothing is kept on disk, everybody may everything
    broker = Broker(folder, acl="topic ...", passwords={"ct-3": "secret"}, extra="max_...\\n")
    broker.port, broker.kill(), broker.restart(), broker.freeze(), broker.thaw(), broker.close()
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

START = 20.0
PORTS_TRIED = 20

# CONNECT of an MQTT 5 client: clean start, keep-alive 10 s, no client id.
CONNECT = bytes([0x10, 13, 0, 4]) + b"MQTT" + bytes([5, 2, 0, 10, 0, 0, 0])


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(name: str) -> str:
    """Debian installs brokers outside of an ordinary user's PATH."""
    places = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    found = shutil.which(name, path=places)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed: run scripts/chaos, which installs it")
    return found


class Broker:
    """One broker; without persistence a kill forgets sessions, retained and queued messages."""

    def __init__(
        self,
        folder: Path,
        *,
        persistence: bool = False,
        acl: str | None = None,
        passwords: dict[str, str] | None = None,
        extra: str = "",
    ):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        # The queue for a slow subscriber is unlimited: by default mosquitto drops what is beyond
        # 1,000 messages, which would look like a loss of the device's.
        lines = ["log_dest stderr", "max_queued_messages 0"]
        lines.append(f"allow_anonymous {'false' if passwords else 'true'}")
        lines.append(f"persistence {'true' if persistence else 'false'}")
        if persistence:
            lines.append(f"persistence_location {folder}/")
        if os.getuid() == 0:
            lines.append("user root")
        if acl is not None:
            lines.append(f"acl_file {self._private_file('acl', acl)}")
        if passwords:
            lines.append(f"password_file {self._password_file(passwords)}")
        self.settings = "\n".join(lines) + "\n" + extra
        self.process: subprocess.Popen | None = None
        self.port = 0
        self._start_somewhere()

    def _private_file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def _password_file(self, passwords: dict[str, str]) -> Path:
        path = self._private_file("passwords", "")
        for user, password in passwords.items():
            command = [program("mosquitto_passwd"), "-b", str(path), user, password]
            subprocess.run(command, check=True, timeout=30, capture_output=True)
        return path

    def _start_somewhere(self) -> None:
        """Another process may take the port between our look and the start: then the next one."""
        for _ in range(PORTS_TRIED):
            self.port = free_port()
            if self._start():
                return
            self.kill()
        raise RuntimeError(f"mosquitto did not start on any of {PORTS_TRIED} ports:\n{self.log()}")

    def _start(self) -> bool:
        conf = self.folder / "mosquitto.conf"
        conf.write_text(f"listener {self.port} 127.0.0.1\n{self.settings}")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program("mosquitto"), "-c", conf], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and self.process.poll() is None:
            if self._answers():
                return True
            time.sleep(0.01)
        return False

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(CONNECT)
                return connection.recv(1) == b"\x20"
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=10)
            self.process = None

    def restart(self) -> None:
        """Again on the same port, after a kill."""
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            if self._start():
                return
            self.kill()
        raise RuntimeError(f"mosquitto did not come back on port {self.port}:\n{self.log()}")

    def freeze(self) -> None:
        """It stops reading and answering without closing a connection."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self.process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def close(self) -> None:
        self.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
