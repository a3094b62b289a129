"""Wakes listeners when a job has news: one Redis subscription per process, however many listen.

A wake-up carries nothing: the listener reads the database, so a lost one costs time, never an event. While
Redis is away every listener is woken once a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from espo_contracts.wire import NUDGE_CHANNEL

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0


class Live:
    """Listeners by job. `run` is the subscription; it never ends by itself."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._listeners: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.is_closed = False

    @property
    def listener_count(self) -> int:
        return sum(map(len, self._listeners.values()))

    @contextmanager
    def listen(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when the job may have news; the listener clears it before it looks."""
        event = asyncio.Event()
        self._listeners[job_id].add(event)
        try:
            yield event
        finally:
            self._listeners[job_id].discard(event)
            if not self._listeners[job_id]:
                del self._listeners[job_id]

    def wake(self, job_id: str) -> None:
        for event in self._listeners.get(job_id, ()):
            event.set()

    def wake_all(self) -> None:
        for job_id in self._listeners:
            self.wake(job_id)

    def close(self) -> None:
        """Ends every stream, so that the server can stop."""
        self.is_closed = True
        self.wake_all()

    async def run(self) -> None:
        """Passes nudges on, for ever; while Redis is away, polls in its place."""
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(NUDGE_CHANNEL)
                    # Nudges from before the subscription stood are made up for by one look at the database.
                    self.wake_all()
                    await self._pass_on(subscription)
            except (RedisError, OSError) as error:
                log.debug("no subscription, polling: %s", error)
                self.wake_all()
                await asyncio.sleep(POLL_SECONDS)

    async def _pass_on(self, subscription: PubSub) -> None:
        while True:
            message = await subscription.get_message(timeout=30.0)
            if message is not None:
                self.wake(message["data"].decode())
