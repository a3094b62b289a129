"""Every fault that the campaign knows."""

from __future__ import annotations

from tests.chaos.fault import Fault
from tests.chaos.faults import database, doubles, pauses, processes, redis

FAULTS: tuple[Fault, ...] = (
    *processes.FAULTS,
    *pauses.FAULTS,
    *redis.FAULTS,
    *database.FAULTS,
    *doubles.FAULTS,
)
