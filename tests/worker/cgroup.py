"""A group of processes with a bound of memory, which the kernel enforces; where it may be made."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")


@contextmanager
def memory_cgroup(bound: int) -> Iterator[Path]:
    """The file to which a process writes its id to be in the group. Skips the test where none may be made."""
    is_first_version = (ROOT / "memory").is_dir()
    folder = (ROOT / "memory" if is_first_version else ROOT) / f"espo-test-{uuid.uuid4().hex[:12]}"
    limit = folder / ("memory.limit_in_bytes" if is_first_version else "memory.max")
    try:
        folder.mkdir()
        limit.write_text(str(bound))
        if not is_first_version:
            (folder / "memory.swap.max").write_text("0")
    except OSError as error:
        if folder.is_dir():
            folder.rmdir()
        pytest.skip(f"no cgroup with a bound of memory may be made here: {error}")
    try:
        yield folder / "cgroup.procs"
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """A process that has just died may still be counted for a moment."""
    deadline = time.monotonic() + 10
    while True:
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
