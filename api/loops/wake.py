"""Wakes the dispatcher when another process has news; without it a job waits for the next poll."""

from __future__ import annotations

from api.loops.context import Context
from espo_contracts.wire import NUDGE_CHANNEL

LISTEN_SECONDS = 1.0


class DispatchWaker:
    """Every nudge may be a new job: the dispatcher's look is cheaper than telling them apart."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def step(self) -> None:
        """Listens until the order to stop."""
        async with self._context.redis.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(NUDGE_CHANNEL)
            while not self._context.stop.is_set:
                if await subscription.get_message(timeout=LISTEN_SECONDS) is not None:
                    self._context.dispatch_wanted.set()
