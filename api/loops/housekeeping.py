"""Clears away what nothing refers to any more, once a minute."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from sqlalchemy import delete, select

from api.jobs.models import Attempt, IdempotencyKey
from api.jobs.repository import KEY_SECONDS
from api.loops.context import Context
from api.store.incoming import clear_incoming
from api.store.service import Sweep
from espo_contracts.wire import UPLOADS_KEY

PERIOD_SECONDS = 60.0


class Housekeeper:
    """Harmless to run in several processes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sweep = Sweep(context.database, context.store)
        self._abandoned: set[Any] = set()
        """Offers that the last round found abandoned."""

    async def step(self) -> None:
        """One round, then a minute's rest."""
        await self.tidy()
        await self._context.stop.wait(PERIOD_SECONDS)

    async def tidy(self) -> None:
        """Sweeps store, temporary files, old idempotency keys and abandoned offers."""
        await self._sweep.round()
        await asyncio.to_thread(self._context.store.tidy)
        await asyncio.to_thread(clear_incoming, self._context.settings.home)
        await self._forget_idempotency_keys()
        await self._withdraw_offers()

    async def _forget_idempotency_keys(self) -> None:
        is_old = IdempotencyKey.created_at < time.time() - KEY_SECONDS
        async with self._context.database.write() as session:
            await session.execute(delete(IdempotencyKey).where(is_old))

    async def _withdraw_offers(self) -> None:
        """Deletes offers whose attempt was over a round ago: no worker comes back for the answer."""
        fields: set[Any] = set(await self._context.redis.hkeys(UPLOADS_KEY))
        jobs = {field.decode().partition(":")[0] for field in fields}
        live = await self._live_attempts(jobs) if jobs else set()
        abandoned = {field for field in fields if field.decode().rpartition(":")[0] not in live}
        for field in abandoned & self._abandoned:
            await self._context.redis.hdel(UPLOADS_KEY, field)
        self._abandoned = abandoned

    async def _live_attempts(self, jobs: set[str]) -> set[str]:
        query = select(Attempt.job_id, Attempt.number).where(
            Attempt.job_id.in_(jobs), Attempt.ended_at.is_(None)
        )
        async with self._context.database.read() as session:
            return {f"{job_id}:{number}" for job_id, number in await session.execute(query)}
