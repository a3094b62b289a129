"""Python imports this first in a process that has this folder on its PYTHONPATH: its wall clock can step.

The file that CHAOS_CLOCK names holds the seconds by which `time.time` is wrong; it may change at any moment.
Steady clocks stay as they are, as they do when a machine's clock is set.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path


def _step(path: Path) -> None:
    with path.open("rb") as file:
        offset = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    right, right_ns = time.time, time.time_ns

    def wrong() -> float:
        return right() + float(struct.unpack("d", offset)[0])

    def wrong_ns() -> int:
        return right_ns() + int(struct.unpack("d", offset)[0] * 1e9)

    time.time, time.time_ns = wrong, wrong_ns


if "CHAOS_CLOCK" in os.environ:
    _step(Path(os.environ["CHAOS_CLOCK"]))
