"""A disk of a few megabytes that really fills up: a tmpfs of its own. For root on Linux; skips elsewhere."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_BALLAST = ".ballast"


@dataclass(frozen=True, slots=True)
class Disk:
    """A mounted folder."""

    folder: Path

    @property
    def free_bytes(self) -> int:
        status = os.statvfs(self.folder)
        return status.f_bavail * status.f_frsize

    def fill(self, *, but_bytes: int = 0) -> None:
        """Takes every free block, but so many bytes."""
        with (self.folder / _BALLAST).open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            file.truncate(max(0, file.tell() - but_bytes))

    def free(self) -> None:
        """Gives back what `fill` took."""
        (self.folder / _BALLAST).unlink(missing_ok=True)


def mount(folder: Path, size_bytes: int) -> Disk | None:
    """A disk at `folder`; None where this process may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, check=False, capture_output=True)
    except FileNotFoundError:
        return None
    return Disk(folder) if done.returncode == 0 else None


def unmount(disk: Disk) -> None:
    """Takes it away, also from under files that are still open."""
    subprocess.run(["umount", "-l", str(disk.folder)], check=True, capture_output=True)


@contextlib.contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Disk]:
    """A disk inside the block; skips the test where none can be mounted."""
    disk = mount(folder, size_bytes)
    if disk is None:
        pytest.skip("this process may not mount a small disk")
    try:
        yield disk
    finally:
        unmount(disk)
