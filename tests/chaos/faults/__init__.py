"""Every fault that the campaign knows."""

from __future__ import annotations

from tests.chaos.fault import Fault
from tests.chaos.faults import (
    chunks,
    clock,
    database,
    disk,
    doubles,
    hints,
    network,
    pauses,
    processes,
    redis,
)

FAULTS: tuple[Fault, ...] = (
    *network.FAULTS,
    *disk.FAULTS,
    *clock.FAULTS,
    *chunks.FAULTS,
    *hints.FAULTS,
    *processes.FAULTS,
    *pauses.FAULTS,
    *redis.FAULTS,
    *database.FAULTS,
    *doubles.FAULTS,
)
