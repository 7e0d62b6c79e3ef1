"""Small file systems that can be filled up, or whose power can be cut. All of them need root."""

import fcntl
import os
import subprocess
from pathlib import Path

from outcome import NotCheckedHere
from process import wait_until

# _IOR('X', 125, __u32) and the flag that leaves the log unflushed: what was not synced is gone.
EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
# Seconds until a loop device must be free after its file system was unmounted.
RELEASE = 120.0


def command(*words) -> str:
    """Runs a tool of the system; its output, or an exception that holds it."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}: {done.stderr}{done.stdout}")
    return done.stdout


class Disk:
    """Something mounted at `folder`; unmounted when the `with` ends."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.mounted = False

    def mount(self) -> None:
        raise NotImplementedError

    def unmount(self) -> None:
        if self.mounted:
            command("umount", self.folder)
            self.mounted = False

    def free(self) -> int:
        """Bytes that can still be written."""
        numbers = os.statvfs(self.folder)
        return numbers.f_bavail * numbers.f_frsize

    def __enter__(self):
        if os.geteuid() != 0:
            raise NotCheckedHere("mounting needs root")
        try:
            self.mount()
        except (RuntimeError, FileNotFoundError) as why:
            raise NotCheckedHere(f"a file system cannot be mounted: {why}") from None
        return self

    def __exit__(self, *_):
        self.unmount()


class Tmpfs(Disk):
    """A file system in memory of a fixed size, and a balloon that fills it up."""

    def __init__(self, folder: Path, mib: int):
        super().__init__(folder)
        self.mib = mib

    def mount(self) -> None:
        command("mount", "-t", "tmpfs", "-o", f"size={self.mib}m", "tmpfs", self.folder)
        self.mounted = True

    @property
    def balloon(self) -> Path:
        return self.folder / "balloon"

    def fill(self, leave: int = 0) -> None:
        """Takes all space but `leave` bytes."""
        with self.balloon.open("ab", buffering=0) as file:
            try:
                while (surplus := self.free() - leave) > 0:
                    file.write(bytes(min(surplus, 1 << 20)))
            except OSError:
                pass  # Full to the last byte.

    def release(self) -> None:
        """Gives the space back."""
        self.balloon.unlink(missing_ok=True)


class Ext4(Disk):
    """An ext4 in a file, mounted through a loop device."""

    def __init__(self, folder: Path, image: Path, mib: int):
        super().__init__(folder)
        self.image = image
        with image.open("wb") as file:
            file.truncate(mib << 20)

    def __enter__(self):
        try:
            command("mkfs.ext4", "-q", "-F", self.image)
        except FileNotFoundError as why:
            raise NotCheckedHere(f"{why.filename} is not installed") from None
        return super().__enter__()

    def mount(self) -> None:
        command("mount", "-o", "loop", self.image, self.folder)
        self.mounted = True

    def unmount(self) -> None:
        """Gone for everybody: a process with mounts of its own may hold a copy for a while, and a
        new mount would then show the file system that was cut off instead of what the disk has."""
        super().unmount()
        if not wait_until(lambda: not command("losetup", "-j", self.image), RELEASE, 0.05):
            raise RuntimeError(f"somebody still uses {self.image} after {RELEASE} s")

    def sync(self) -> None:
        """What was written so far survives a cut."""
        command("sync", "-f", self.folder)

    def cut_power(self) -> None:
        """From now on nothing reaches the disk, and what was not synced is gone."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH.to_bytes(4, "little"))
        finally:
            os.close(descriptor)

    def check(self) -> None:
        """The file system is sound, judged without repairing anything. Not while it is mounted."""
        command("e2fsck", "-f", "-n", self.image)
