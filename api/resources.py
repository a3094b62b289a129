"""What the requests of one process share; opened once at start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.auth.use import KeyUses
from api.catalogue.catalogue import Catalogue
from api.db import Database
from api.events.live import Live
from api.jobs.models import Job
from api.limits.rate import Limiter, open_limiter
from api.loops.attempt_keys import announce
from api.loops.context import Context
from api.observability.observer import Observer
from api.settings import Settings
from api.store.store import open_store

log = logging.getLogger(__name__)

_ANNOUNCE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """`context` is also what the background loops of this process work with."""

    context: Context
    live: Live
    catalogue: Catalogue
    registry: CollectorRegistry
    """Figures of this process alone."""
    observer: Observer
    """Figures of the whole service."""
    key_uses: KeyUses
    limiter: Limiter

    @property
    def settings(self) -> Settings:
        return self.context.settings

    def wake_dispatcher(self) -> None:
        """Tells the dispatcher of this process that a job may be runnable."""
        self.context.dispatch_wanted.set()

    async def announce(self, jobs: Iterable[Job]) -> None:
        """Carries committed changes of jobs to their workers and listeners, as far as Redis allows now.

        Without Redis nothing is lost: the reconciler compares it with the database, and listeners poll.
        """
        self.wake_dispatcher()
        try:
            async with asyncio.timeout(_ANNOUNCE_SECONDS):
                for job in jobs:
                    self.live.wake(job.id)
                    await announce(self.context.redis, job)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("a change waits for the reconciler: %s", error)


@asynccontextmanager
async def open_resources(settings: Settings, registry: CollectorRegistry) -> AsyncIterator[Resources]:
    """Opens database, store and Redis, and listens for news; closes them at the end."""
    context = Context(
        settings=settings,
        database=Database(settings.database_url),
        redis=Redis.from_url(settings.redis_url, socket_connect_timeout=2, health_check_interval=15),
        store=await asyncio.to_thread(open_store, settings.store_url),
    )
    live, observer = Live(context.redis), Observer(context)
    key_uses = KeyUses(context.database)
    listening = asyncio.create_task(live.run())
    try:
        catalogue = Catalogue.load()
        yield Resources(
            context=context,
            live=live,
            catalogue=catalogue,
            registry=registry,
            observer=observer,
            key_uses=key_uses,
            limiter=open_limiter(settings, context.redis),
        )
    finally:
        await key_uses.close()
        await _end(listening)
        await observer.close()
        await context.redis.aclose()
        await context.database.close()


async def _end(task: asyncio.Task[None]) -> None:
    """Cancels a task until it has ended: redis-py loses a cancellation that comes while it connects."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.2)
