"""The device under test: the real program with a state directory of its own.

    edge = Edge(binary, folder, port, {"limits.attempts": 5}, trusted=[consumer_key])
    edge.start(); edge.wait_running()       start(wrapper=[...], environment={...}) for one start
    edge.drop(study)                        prepared beside the inbox, moved in by rename
    edge.kill(); edge.stop(); edge.wait_end(seconds)
    edge.journal(), edge.claims(), edge.finished(), edge.log(), edge.rss_mib()

Settings are dotted keys of the configuration (`hcc-edge config doc` lists them). The state
directory is `folder/state` unless `state` says otherwise; studies are prepared in the folder beside
it, which must be on the same file system.
"""

import json
import os
import signal
import shutil
import subprocess
import time
from pathlib import Path

import process
from outcome import NotCheckedHere
from signing import ConsumerKey
from studies import Study

SITE, DEVICE = "ward", "box-1"

# Limit on every wait; generous, because it only decides how long a failure takes.
PATIENCE = 60.0

# What it logs when it has started.
RUNNING = "is running, boot"

SETTINGS = {
    "site": SITE,
    "device": DEVICE,
    "mode": "demonstration",
    "mqtt.reconnect_max_s": 2,
    "inbox.settle_s": 1,
    "inbox.rescan_s": 1,
    "inbox.deadline_s": 30,
    # A kill counts as an attempt; only a test of poison studies wants few of them.
    "limits.attempts": 10,
    "limits.min_free_mib": 16,
    "sandbox.rule": "best_effort",
}


class Ended(Exception):
    """The device ended when it should not have; the text holds the end of its log."""


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """Ours without the program's settings, which would override the configuration file."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("HCC_EDGE_")}
    return plain | (extra or {})


def clock(offset: str) -> dict[str, str]:
    """Environment in which a program's wall clock is off by that much ("+40d"); libfaketime itself
    instead of the command `faketime`, which stays as a parent and hides how its child ended. The
    monotonic clock is left alone: a wait that fakes it may never end."""
    libraries = [*Path("/usr").glob("lib*/faketime/libfaketime.so.1")]
    libraries += Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    if not libraries:
        raise NotCheckedHere("libfaketime is not installed")
    names = {"LD_PRELOAD": str(libraries[0]), "FAKETIME": offset}
    return names | {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def run(binary: Path, *arguments, timeout: float = PATIENCE) -> subprocess.CompletedProcess:
    """Another command of the program, to its end."""
    return subprocess.run(
        [binary, *arguments],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
    )


def to_toml(settings: dict) -> str:
    """Dotted keys as a configuration file. JSON's scalars and strings are TOML's."""
    sections: dict[str, list[str]] = {}
    for path, value in settings.items():
        section, _, name = path.rpartition(".")
        sections.setdefault(section, []).append(f"{name} = {json.dumps(value)}")
    top = sections.pop("", [])
    rest = (f"[{name}]\n" + "\n".join(lines) for name, lines in sections.items())
    return "\n".join([*top, *rest]) + "\n"


class Edge:
    """One device, started and ended many times."""

    def __init__(
        self,
        binary: Path,
        folder: Path,
        port: int,
        settings: dict | None = None,
        *,
        state: Path | None = None,
        trusted: list[ConsumerKey] | tuple = (),
    ):
        self.binary = binary
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.state = state or folder / "state"
        self.settings = SETTINGS | {
            "state_dir": str(self.state),
            "mqtt.url": f"mqtt://127.0.0.1:{port}",
        }
        self.settings |= settings or {}
        self.site, self.device = self.settings["site"], self.settings["device"]
        self.config = folder / "config.toml"
        self.config.write_text(to_toml(self.settings))
        self.child: subprocess.Popen | None = None
        self.starts = 0
        self._log_from = 0
        self._make_keys(trusted)

    def _make_keys(self, trusted) -> None:
        init = ["init", "--site", self.site, "--device", self.device]
        made = run(self.binary, "keys", "--state-dir", self.state, *init)
        if made.returncode != 0:
            raise Ended(made.stderr.decode())
        with self.trust.open("a") as file:
            file.writelines(key.trust_entry(self.site) for key in trusted)
        self.inbox.mkdir(exist_ok=True)

    @property
    def trust(self) -> Path:
        """The trust store that believes this device and the consumers."""
        return self.state / "keys" / "trust.toml"

    @property
    def inbox(self) -> Path:
        return self.state / "inbox"

    # --- Life ------------------------------------------------------------------------------------

    def start(self, wrapper: list = (), environment_extra: dict[str, str] | None = None) -> None:
        """Starts it and returns at once. `wrapper` is put before the command (strace, faketime)."""
        self.end_group()
        self._log_from = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self.child = subprocess.Popen(
                [*wrapper, self.binary, "run", "--config", self.config],
                env=environment(environment_extra),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        self.starts += 1

    @property
    def pid(self) -> int:
        """The daemon's process: the one started, or the wrapper's child that runs the program."""
        for pid in [self.child.pid, *process.descendants(self.child.pid)]:
            command = process.arguments(pid)
            if command[:2] == [str(self.binary), "run"]:
                return pid
        return self.child.pid

    def workers(self) -> list[int]:
        """Processes that have a study at the moment."""
        return [pid for pid in process.children(self.pid) if "worker" in process.arguments(pid)]

    def is_alive(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def wait_running(self, seconds: float = PATIENCE) -> None:
        """Until it says that it runs; Ended when it ends before."""
        if not process.wait_until(lambda: not self.is_alive() or self.is_running(), seconds):
            raise Ended(f"not running after {seconds} s:\n{self.log_tail()}")
        if not self.says(RUNNING):
            raise Ended(f"ended with {self.child.returncode} at the start:\n{self.log_tail()}")

    def is_running(self) -> bool:
        """Whether this start has come so far that it takes studies."""
        return self.is_alive() and self.says(RUNNING)

    def try_running(self, seconds: float = PATIENCE) -> bool:
        """As wait_running, where ending at the start is allowed."""
        try:
            self.wait_running(seconds)
        except Ended:
            return False
        return self.is_running()

    def wait_end(self, seconds: float = PATIENCE) -> int | None:
        """The exit code (negative: the signal), or None when it still runs after that time."""
        try:
            code = self.child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None
        self.end_group()
        return code

    def kill(self) -> None:
        """SIGKILL to the daemon alone; what it leaves behind has to look after itself."""
        if self.is_alive():
            process.send(self.pid, signal.SIGKILL)
            self.child.wait(timeout=PATIENCE)

    def terminate(self) -> None:
        """SIGTERM; returns at once."""
        process.send(self.pid, signal.SIGTERM)

    def stop(self, seconds: float = PATIENCE) -> int:
        """SIGTERM, as a service manager stops it; the exit code."""
        self.terminate()
        code = self.wait_end(seconds)
        if code is None:
            raise Ended(f"no end {seconds} s after SIGTERM:\n{self.log_tail()}")
        return code

    def end_group(self) -> None:
        """Ends whatever is left of the last start: a wrapper, a worker."""
        if self.child is None:
            return
        # A worker has a process group of its own, but stays in the session of this start.
        for pid in process.in_session(self.child.pid):
            process.send(pid, signal.SIGKILL)
        self.child.wait(timeout=PATIENCE)

    def close(self) -> None:
        self.end_group()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- Studies ---------------------------------------------------------------------------------

    def drop(self, study: Study, durable: bool = False) -> None:
        """Puts a study into the inbox in one step; `durable` also makes it survive a power cut."""
        staging = self.state.parent / f"staging-{study.name}"
        staging.mkdir()
        try:
            for name, content in study.files.items():
                with (staging / name).open("wb") as file:
                    file.write(content)
                    if durable:
                        file.flush()
                        os.fsync(file.fileno())
            if durable:
                sync_folder(staging)
            staging.rename(self.inbox / study.name)
        except OSError:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        if durable:
            sync_folder(self.inbox)
            sync_folder(self.state.parent)

    def waiting(self) -> int:
        """Studies in the inbox."""
        return len(os.listdir(self.inbox))

    def claims(self) -> set[str]:
        """Jobs that were accepted: claims in the journal, and the folders of finished studies."""
        jobs = {record["job"] for record in self.journal() if record["type"] == "claim"}
        return jobs | {place.name for place in self.places()}

    def places(self) -> list[Path]:
        """The folders in `done/` and `failed/`."""
        parents = (self.state / "done", self.state / "failed")
        return [place for parent in parents if parent.exists() for place in parent.iterdir()]

    def finished(self) -> dict[str, Path]:
        """Places of the finished studies that have their result, by the dropped folder's name."""
        found = {}
        for place in self.places():
            if (place / "result.cose").exists() and (place / "run.json").exists():
                found[json.loads((place / "run.json").read_text())["study"]] = place
        return found

    # --- What it says ----------------------------------------------------------------------------

    def journal(self) -> list[dict]:
        """The journal's records; it may be read while the daemon writes."""
        arguments = ["--json", "tail", "--records", "100000000"]
        read = run(self.binary, "journal", "--state-dir", self.state, *arguments)
        if read.returncode != 0:
            raise Ended(f"the journal cannot be read: {read.stderr.decode()}")
        return json.loads(read.stdout)["records"]

    def journal_faults(self) -> list[str]:
        """What the program's own check of the journal complains about."""
        checked = run(self.binary, "journal", "--state-dir", self.state, "check")
        return [] if checked.returncode == 0 else [f"the journal: {checked.stderr.decode()}"]

    def backlog(self) -> int:
        """Results that wait for their confirmation, by the journal."""
        waiting = set()
        for record in self.journal():
            if record["type"] in ("result", "duplicate"):
                waiting.add(record["seq"])
            elif record["type"] == "confirm":
                waiting.discard(record["seq"])
        return len(waiting)

    @property
    def log_path(self) -> Path:
        return self.folder / "log"

    def log(self) -> str:
        """Everything it logged, over all starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_since_start(self) -> str:
        """What it logged since the last start."""
        with self.log_path.open("rb") as file:
            file.seek(self._log_from)
            return file.read().decode(errors="replace")

    def log_tail(self, characters: int = 2_000) -> str:
        return self.log()[-characters:]

    def says(self, text: str) -> bool:
        """Whether the log of this start holds the text."""
        return text in self.log_since_start()

    def rss_mib(self) -> float:
        return process.rss_mib(self.pid)

    def open_files(self) -> int:
        return process.open_files(self.pid)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
