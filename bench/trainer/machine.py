"""One core for whoever takes a turn, its clocks, and the memory that a process took at most."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")


def use_one_core(core: int) -> None:
    """Binds this process and what it starts to one core, and torch to one thread."""
    if hasattr(os, "sched_setaffinity"):  # of Linux
        os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)


def some_core() -> int:
    """A core that this process may use: the last, for what else runs tends to the first."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """A moment, by the wall and by the processor time of this process."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Clock:
        return cls(wall=time.perf_counter(), cpu=time.process_time())

    def since(self) -> dict[str, float]:
        """Seconds from this moment on, `wall` and `cpu`."""
        now = Clock.now()
        return {"wall": now.wall - self.wall, "cpu": now.cpu - self.cpu}


def peak_bytes() -> int:
    """The most that this process was resident; where it uses a GPU, had allocated there.

    Not of `getrusage` where there is /proc: after a fork and exec it begins at the parent's peak.
    """
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return torch.cuda.max_memory_allocated()
    if (kibibytes := _status("VmHWM")) is not None:
        return kibibytes << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def resident_bytes() -> int:
    """What this process has resident now; its peak where that cannot be told."""
    kibibytes = _status("VmRSS")
    return peak_bytes() if kibibytes is None else kibibytes << 10


def _status(name: str) -> int | None:
    if not STATUS.is_file():
        return None
    lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)
