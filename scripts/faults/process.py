"""What /proc says about a process of ours."""

import os
import signal
import time
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def children(pid: int) -> list[int]:
    """The children of all its threads."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        pass  # It ended while we looked.
    return found


def descendants(pid: int) -> list[int]:
    """Children, their children and so on, nearest first."""
    found = children(pid)
    for child in list(found):
        found += descendants(child)
    return found


def in_session(leader: int) -> list[int]:
    """The processes of the session that `leader` began, whether it still runs or not."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            pid = int(entry.name)
            try:
                if os.getsid(pid) == leader:
                    found.append(pid)
            except ProcessLookupError:
                pass  # It ended while we looked.
    return found


def arguments(pid: int) -> list[str]:
    """Its command line; empty when it has ended."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [part.decode(errors="replace") for part in raw.split(b"\0")[:-1]]


def rss_mib(pid: int) -> float:
    """Resident memory; 0 when it has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0.0


def open_files(pid: int) -> int:
    """Number of file descriptors; 0 when it has ended."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def send(pid: int, number: int = signal.SIGKILL) -> None:
    """A signal; a process that has ended does not need it."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def wait_until(holds, seconds: float, pause: float = 0.02) -> bool:
    """Whether `holds()` became true in time."""
    deadline = time.monotonic() + seconds
    while not (answer := holds()) and time.monotonic() < deadline:
        time.sleep(pause)
    return bool(answer)
