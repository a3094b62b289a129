"""What the stack stands on, so that faults can take it away: a network, disks and clocks of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.clocks import Clocks
from tests.chaos.proxy import Proxy
from tests.small_disk import Disk, mount, unmount

DISKS = {"worker": 384 << 20, "database": 256 << 20}
"""Folders under the data folder, and their sizes in bytes. The store has none: it grows with every job."""
CACHE_BYTES = 64 << 20
"""What workers keep, so that their disk is full by a fault only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Opened before the stack starts, closed after its end."""

    proxies: Mapping[str, Proxy]
    """Between each worker and Redis."""
    disks: Mapping[str, Disk]
    """By folder; empty where this process may not mount any."""
    clocks: Clocks

    def environment_of(self, name: str) -> dict[str, str]:
        """What a process needs to stand in these surroundings."""
        environment = self.clocks.environment_of(name)
        if name in self.proxies:
            environment |= {"ESPO_REDIS_URL": self.proxies[name].url}
        return environment | {"ESPO_WORKER_CACHE_BYTES": str(CACHE_BYTES)}


@contextlib.contextmanager
def surroundings(home: Path, redis_url: str, workers: tuple[str, ...]) -> Iterator[Surroundings]:
    """Surroundings inside the block, for a stack whose data folder is `home`."""
    with contextlib.ExitStack() as ending:
        proxies = {name: Proxy(redis_url) for name in workers}
        for proxy in proxies.values():
            ending.callback(proxy.close)
        disks = {}
        for name, size_bytes in DISKS.items():
            disk = mount(home / name, size_bytes)
            if disk is not None:
                disks[name] = disk
                ending.callback(unmount, disk)
        yield Surroundings(proxies=proxies, disks=disks, clocks=Clocks(home / "clocks"))
