"""`hcc-edge subscribe --json` under test: its lines, read all the time, and what they say.

Its words may grow; what is relied on is this. A line of event `result` has a `verdict`; `new`, `gap`
and `filled` mean that the message is shown as a result not known before, `gap` with the `range` that
is missing. A fork is a verdict `fork` or an event `alarm` of kind `fork`. `refused` is a message that
is not believed.
"""

import json
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from edge import environment
from process import wait_until

FRESH = {"new", "gap", "filled"}
PATIENCE = 30.0


@dataclass(frozen=True)
class Shown:
    """One line about a result."""

    epoch: str
    seq: int
    verdict: str
    range: tuple[int, int] | None


class Subscriber:
    """The process, from construction to `close`."""

    def __init__(
        self,
        binary: Path,
        port: int,
        trust: Path,
        folder: Path,
        login: tuple[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "subscribe.log"
        command = [binary, "subscribe", "--json", "--broker", f"mqtt://127.0.0.1:{port}"]
        command += ["--trust", trust, "--state", folder / "seen"]
        if login is not None:
            name, password = login
            (folder / "password").write_text(password)
            command += ["--username", name, "--password-file", folder / "password"]
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                command,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.lines: list[dict] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not wait_until(
            lambda: any(line["event"] == "connected" for line in self.lines), PATIENCE
        ):
            self.close()
            raise RuntimeError(f"the subscriber does not connect: {self.log.read_text()}")

    def _read(self) -> None:
        for line in self.child.stdout:
            self.lines.append(json.loads(line))

    def close(self) -> None:
        """Ends the process; every line it wrote has been read then."""
        self.child.terminate()
        try:
            self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self.child.stdout.close()

    def __enter__(self) -> "Subscriber":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.child.poll() is None

    def looked_at(self) -> int:
        """How many messages it has spoken of."""
        spoken = ("result", "status", "refused", "alarm")
        return sum(line["event"] in spoken for line in list(self.lines))

    def wait_looked_at(self, count: int, seconds: float = PATIENCE) -> bool:
        """Whether it has spoken of so many messages in time."""
        return wait_until(lambda: self.looked_at() >= count, seconds)

    def results(self) -> list[Shown]:
        """The lines about results, in order."""
        return [shown(line) for line in list(self.lines) if line["event"] == "result"]

    def refused(self) -> list[dict]:
        """The lines about messages that were not believed."""
        return [line for line in list(self.lines) if line["event"] == "refused"]

    def fork(self) -> tuple[int, int] | None:
        """Where the first fork was said to be, and at which line; None when none was seen."""
        for at, line in enumerate(list(self.lines)):
            if line["event"] == "alarm" and line.get("kind") == "fork":
                return line["seq"], at
            if line["event"] == "result" and line["verdict"] == "fork":
                return line["range"][0], at
        return None


def shown(line: dict) -> Shown:
    """A line about a result in short."""
    result = line["view"]["result"]
    missing = tuple(line["range"]) if line.get("range") else None
    return Shown(result["epoch"], result["seq"], line["verdict"], missing)
