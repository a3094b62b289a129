"""Full disks: the workers' (spools, checkpoints, cache), the store's, SQLite's; with space in the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

from tests.chaos.fault import Fault, NothingToHarm
from tests.chaos.stack import Stack
from tests.small_disk import Disk, mount, unmount

_REFILL_SECONDS = 0.1


def full(name: str, *, most_seconds: float) -> Callable[[Stack, Random], None]:
    """Every block of the disk is taken, also those that are given back meanwhile."""

    def inject(stack: Stack, rng: Random) -> None:
        if stack.surroundings is None or name not in stack.surroundings.disks:
            raise NothingToHarm
        _keep_full(stack.surroundings.disks[name], rng.uniform(1.0, most_seconds))

    return inject


def store_full(stack: Stack, rng: Random) -> None:
    """What comes in finds no room: a small disk lies over the folder where it waits to be stored."""
    disk = mount(stack.home / "tmp", 64 << 10)
    if disk is None:
        raise NothingToHarm
    try:
        _keep_full(disk, rng.uniform(1.0, 10.0))
    finally:
        unmount(disk)


def _keep_full(disk: Disk, seconds: float) -> None:
    ends_at = time.monotonic() + seconds
    try:
        while time.monotonic() < ends_at:
            disk.fill()
            time.sleep(_REFILL_SECONDS)
    finally:
        disk.free()


FAULTS = (
    Fault(name="disk of the workers full", inject=full("worker", most_seconds=10.0), weight=2),
    Fault(name="disk of the store full", inject=store_full, weight=2),
    Fault(name="disk of SQLite full", inject=full("database", most_seconds=6.0), databases=("sqlite",)),
)
