"""Looks at database, store and Redis for the operator: bounded in time, at most once in a moment."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from redis.asyncio import Redis

from api.loops.context import Context
from api.observability.bounded import within
from api.observability.database_figures import DatabaseFigures, look_at_database
from api.observability.probes import loop_ages
from api.observability.redis_figures import RedisFigures, hints_waiting, look_at_redis
from espo_contracts.wire import queue_name

LOOK_SECONDS = 2.0
FRESH_SECONDS = 1.5
"""Scrapes within this time share one look: several Prometheus servers cost no more than one."""

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One look; None for what could not be asked."""

    database: DatabaseFigures | None
    redis: RedisFigures | None
    hints: Mapping[str, int] | None
    loops: Mapping[str, list[float]]
    is_store_up: bool
    seconds: float
    """How long the look took."""


class Observer:
    """Of one process; close it at the end."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._broker = Redis.from_url(context.settings.broker_url, socket_connect_timeout=2)
        self._lock = asyncio.Lock()
        self._view: View | None = None
        self._looked_at = 0.0

    async def view(self) -> View:
        """A look that is no older than a moment."""
        async with self._lock:
            if self._view is None or time.monotonic() - self._looked_at > FRESH_SECONDS:
                self._view = await self._look()
                self._looked_at = time.monotonic()
            return self._view

    async def close(self) -> None:
        await self._broker.aclose()

    async def _look(self) -> View:
        begin = time.perf_counter()
        context = self._context
        database, redis, loops, store = await asyncio.gather(
            _ask("database", look_at_database(context.database)),
            _ask("redis", look_at_redis(context.redis)),
            loop_ages(context),
            _ask("store", _is_usable(context)),
        )
        classes = {"cpu", "gpu"} | set(database.queues if database else ())
        hints = await _ask(
            "broker", hints_waiting(self._broker, {name: queue_name(name) for name in classes})
        )
        return View(
            database=database,
            redis=redis,
            hints=hints,
            loops=loops,
            is_store_up=store is True,
            seconds=time.perf_counter() - begin,
        )


async def _is_usable(context: Context) -> bool:
    await asyncio.to_thread(context.store.probe)
    return True


async def _ask(name: str, question: Coroutine[Any, Any, T]) -> T | None:
    try:
        return await within(LOOK_SECONDS, question)
    except Exception as error:  # noqa: BLE001 - a scrape says what is down, it does not fail with it
        log.warning("no figures of the %s now: %s", name, type(error).__name__)
        return None
