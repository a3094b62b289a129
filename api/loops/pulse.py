"""Whether the loops get on: each counts its last good round, and every process tells Redis of its loops.

A loop that hangs goes on being told of, with an age that grows; one whose process is gone or stuck is not.
"""

from __future__ import annotations

import json
from typing import Any

from redis.asyncio import Redis

from api.loops.context import Context
from espo_contracts.wire import loops_key

PULSE_SECONDS = 2.0
GONE_SECONDS = 15
"""Without news for so long a process is taken for dead."""
HANGING_SECONDS = 30.0
"""Age of the last good round at which a loop is in trouble: a round takes seconds at most."""


class Publisher:
    """Tells Redis every two seconds; what it told expires soon after this process has stopped telling."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def step(self) -> None:
        """Tells once, then waits; takes it back at the order to stop."""
        pulses, redis = self._context.pulses, self._context.redis
        await redis.set(loops_key(pulses.process), json.dumps(pulses.ages()), ex=GONE_SECONDS)
        await self._context.stop.wait(PULSE_SECONDS)
        if self._context.stop.is_set:
            await redis.delete(loops_key(pulses.process))


async def told(redis: Redis, *, besides: str) -> dict[str, list[float]]:
    """By loop: the age of its last good round in every other process that tells of it."""
    found = [key async for key in redis.scan_iter(match=loops_key("*"), count=1000)]
    keys = [key for key in found if key != loops_key(besides).encode()]
    documents: list[Any] = await redis.mget(keys) if keys else []
    ages: dict[str, list[float]] = {}
    for document in documents:
        for name, age in json.loads(document or "{}").items():
            ages.setdefault(name, []).append(float(age))
    return ages
