"""What every background loop works with, and the one order to end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from redis.asyncio import Redis

from api.db import Database
from api.settings import Settings
from api.store.store import Store, open_store


class Stop:
    """An order to end that coroutines and threads both see; given in the event loop."""

    def __init__(self) -> None:
        self.thread = threading.Event()
        self._task = asyncio.Event()

    def set(self) -> None:
        self.thread.set()
        self._task.set()

    @property
    def is_set(self) -> bool:
        return self.thread.is_set()

    async def wait(self, seconds: float | None = None) -> None:
        """Returns when the order is given, or after so many seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._task.wait(), seconds)


class Pulses:
    """When each loop of this process last did a good round, by name."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.process = uuid.uuid4().hex
        self._clock = clock
        self._good_at: dict[str, float] = {}

    def note(self, name: str) -> None:
        """A loop begins, or has done a round."""
        self._good_at[name] = self._clock()

    def ages(self) -> dict[str, float]:
        """Seconds since each loop's last good round."""
        now = self._clock()
        return {name: now - moment for name, moment in self._good_at.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Opened once by the process and shared by its loops; `redis` answers bytes."""

    settings: Settings
    database: Database
    redis: Redis
    store: Store
    stop: Stop = field(default_factory=Stop)
    pulses: Pulses = field(default_factory=Pulses)
    dispatch_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set after a commit that made a job runnable, so that the dispatcher of this process need not poll."""


@contextlib.asynccontextmanager
async def open_context(settings: Settings) -> AsyncIterator[Context]:
    """A context of its own, closed at the end."""
    database = Database(settings.database_url)
    redis = Redis.from_url(settings.redis_url, health_check_interval=25)
    try:
        yield Context(settings=settings, database=database, redis=redis, store=open_store(settings.store_url))
    finally:
        await redis.aclose()
        await database.close()
