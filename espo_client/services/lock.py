"""One running service per data folder: `$ESPO_HOME/up.lock` is held while it runs and says where it is."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from espo_client.errors import ServiceError

FILE_NAME = "up.lock"
# Longer than any child's grace time: a service that was killed may still be going down.
STOPPING_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A service that runs: process id of its `espo up` and address of its API, empty until it is known."""

    pid: int
    base_url: str


@contextmanager
def hold(home: Path) -> Iterator[int]:
    """The lock's descriptor, to be handed to children: they hold the lock until the last of them is gone.

    Raises:
        ServiceError: another `espo up` runs on this folder.
    """
    descriptor = os.open(home / FILE_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _acquire(descriptor, home)
        os.ftruncate(descriptor, 0)
        yield descriptor
    finally:
        os.close(descriptor)


def announce(descriptor: int, running: Running) -> None:
    """Writes who holds the lock."""
    content = json.dumps(asdict(running)).encode()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, content, 0)


def find_running(home: Path) -> Running | None:
    """The service that runs on this data folder, else None."""
    try:
        descriptor = os.open(home / FILE_NAME, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        holder = None if _try(descriptor) else _holder(descriptor)
        # A dead holder whose children are still going down is no service any more.
        return holder if holder is not None and _is_alive(holder.pid) else None
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, home: Path) -> None:
    deadline = time.monotonic() + STOPPING_SECONDS
    while not _try(descriptor):
        holder = _holder(descriptor)
        is_stopping = holder is not None and not _is_alive(holder.pid)
        # The first moments of a race with a reader of the lock look the same as a service that is starting.
        patience = deadline if is_stopping else deadline - STOPPING_SECONDS + 1.0
        if time.monotonic() > patience:
            where = f" at {holder.base_url} (process {holder.pid})" if holder else ""
            raise ServiceError(
                f"ESPO is already running{where} on the data folder {home}. "
                "Use it, stop it with Ctrl-C there, or set ESPO_HOME to another folder."
            )
        time.sleep(0.05)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> Running | None:
    try:
        return Running(**json.loads(os.pread(descriptor, 4096, 0)))
    except (ValueError, TypeError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
