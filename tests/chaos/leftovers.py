"""What faults may have left behind in Redis, on disk and among the processes, once nothing is to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.chaos.stack import Stack
from tests.e2e.service import wait_until
from tests.processes import lives

SETTLE_SECONDS = 180.0
"""An offer is withdrawn by the second of two rounds of the housekeeper, which are a minute apart."""


def after_the_jobs(stack: Stack) -> list[str]:
    """What is left although every job has ended and every sweeper has had its turn."""
    left: list[str] = []

    def is_clean() -> bool:
        left[:] = [*_keys(stack), *_files(stack)]
        return not left

    try:
        wait_until(is_clean, seconds=SETTLE_SECONDS, what="nothing is left")
    except AssertionError:
        return left
    return []


def processes(stack: Stack) -> list[str]:
    """Processes of the stack that live on after its end; its run processes end a moment after it."""
    try:
        wait_until(lambda: not list(_own(stack)), seconds=10, what="all have ended")
    except AssertionError:
        return [" ".join(process.cmdline()) for process in _own(stack)]
    return []


def _keys(stack: Stack) -> list[str]:
    """Keys that do not expire, but those of the broker's wiring and of nobody's job."""
    with stack.connect() as client:
        keys = [key.decode() for key in client.keys("*") if client.ttl(key) == -1]
        streams = [key.decode() for key in client.keys("*") if client.type(key) == b"stream"]
    return sorted({key for key in keys if not key.startswith(("_kombu", "unacked"))} | set(streams))


def _files(stack: Stack) -> list[str]:
    workers = list((stack.home / "worker").glob("*-1/job-*"))
    return [str(path.relative_to(stack.home)) for path in [*workers, *_temporary(stack)]]


def _temporary(stack: Stack) -> list[Path]:
    """Half-written files, of every process."""
    places = ("tmp/*", "store/.*", "store/*/.*", "worker/cache/.*", "worker/*-1/warm/.*", "scratch/*")
    found = [path for place in places for path in stack.home.glob(place)]
    return [path for path in found if not path.name.startswith("torchinductor")]  # a cache of torch itself


def _own(stack: Stack) -> Iterator[psutil.Process]:
    mark = f"TMPDIR={stack.home / 'scratch'}".encode()
    for process in psutil.process_iter():
        try:
            if mark in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0") and lives(process):
                yield process
        except (OSError, psutil.NoSuchProcess):
            continue
