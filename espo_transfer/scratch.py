"""Folders for half-made files, each with a lock that its process holds as long as it works there.

Whether one is abandoned is asked of the lock, never of a clock: a clock that steps forward would call the
upload of this second an hour old.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, gone at the end of the block; a killed process leaves it to be cleared.

    Raises:
        OSError: the disk is full.
    """
    parent.mkdir(parents=True, exist_ok=True)
    lock, path = _locked(parent)
    folder = path.with_suffix(".part")
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        path.unlink(missing_ok=True)
        lock.close()


def clear_abandoned(parent: Path) -> None:
    """Removes the folders of processes that are no more, and their locks."""
    for path in parent.glob(".*.lock"):
        with suppress(FileNotFoundError, BlockingIOError), path.open("r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.with_suffix(".part"), ignore_errors=True)
            path.unlink()
    for folder in parent.glob(".*.part"):
        if not folder.with_suffix(".lock").exists():  # a lock is made before its folder and removed after it
            shutil.rmtree(folder, ignore_errors=True)


def _locked(parent: Path) -> tuple[IO[bytes], Path]:
    """A new lock that is ours, and its path."""
    while True:
        path = parent / f".{uuid.uuid4().hex}.lock"
        lock = path.open("xb")
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Whoever clears may have come between the two lines above, and found a lock that nobody held.
        if os.fstat(lock.fileno()).st_nlink:
            return lock, path
        lock.close()
