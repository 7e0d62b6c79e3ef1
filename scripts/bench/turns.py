"""Engines as processes that run when they are told to, and what else the machine did meanwhile.

Each engine keeps its network loaded and is stopped (SIGSTOP) while another has its turn, so that no
pool of waiting threads takes time from the one that is measured.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

LOAD_LIMIT_S = 900
RUN_LIMIT_S = 600
TICKS = os.sysconf("SC_CLK_TCK")


class EngineFailed(Exception):
    """An engine ended, or said something else than a result; the text has what it wrote."""


@dataclass(frozen=True)
class Turn:
    """One run of one engine."""

    seconds: float
    cpu_seconds: float  # what its threads used; waiting in a loop is in it
    others: float  # processors that other processes kept busy meanwhile, time stolen by the host included


class Engine:
    """A process that speaks the protocol of `hcc-edge bench engine --serve`."""

    def __init__(self, command: list[str]):
        self.command = command
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, bufsize=0
        )
        self.pending = b""
        try:
            self.facts = self.answer(LOAD_LIMIT_S)
        except BaseException:
            self.close()
            raise
        self.stop()

    def turn(self) -> Turn:
        """One run, alone among the engines."""
        self.signal(signal.SIGCONT)
        started, busy, own = time.monotonic(), busy_seconds(), self.cpu_seconds()
        try:
            self.process.stdin.write(b"run\n")
        except BrokenPipeError as error:
            raise self.failed("ended") from error
        answer = self.answer(RUN_LIMIT_S)
        busy, own = busy_seconds() - busy, self.cpu_seconds() - own
        took = time.monotonic() - started
        self.stop()
        try:
            (seconds,) = answer["seconds"]
            return Turn(float(seconds), own, max(0.0, busy - own) / took)
        except (KeyError, TypeError, ValueError) as error:
            raise self.failed(f"answered {answer}") from error

    def answer(self, limit_s: float) -> dict:
        """The next line of standard output."""
        until = time.monotonic() + limit_s
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.pending:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise self.failed(f"said nothing for {limit_s} s")
                piece = os.read(self.process.stdout.fileno(), 1 << 16)
                if not piece:
                    raise self.failed("ended")
                self.pending += piece
        line, _, self.pending = self.pending.partition(b"\n")
        try:
            return json.loads(line)
        except ValueError as error:
            raise self.failed(f"said {line[:200]!r}") from error

    def failed(self, what: str) -> EngineFailed:
        self.errors.seek(0)
        wrote = self.errors.read().decode(errors="replace").strip()[-2000:]
        return EngineFailed(f"{' '.join(self.command)}: {what}\n{wrote}")

    def cpu_seconds(self) -> float:
        """Processor time of all its threads so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def peak_mib(self) -> int:
        """The most memory it has been resident with."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        return int(peak) // 1024

    def signal(self, number: int) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def stop(self) -> None:
        """Returns when the last of its threads has stopped."""
        self.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def close(self) -> None:
        """Ends the process."""
        self.signal(signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            stream.close()


def busy_seconds() -> float:
    """Processor time of the whole machine so far that was not idle."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = fields
    return (user + nice + system + interrupts + soft_interrupts + stolen) / TICKS


def progress(text: str) -> None:
    """Tells whoever waits; never part of the result."""
    print(text, file=sys.stderr, flush=True)
