"""Clears away what nothing refers to any more, once a minute."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select

from api.jobs.models import Attempt, IdempotencyKey
from api.loops.context import Context
from api.store.service import sweep
from espo_contracts.wire import UPLOADS_KEY

PERIOD_SECONDS = 60.0
TEMPORARY_SECONDS = 3600.0
"""A temporary file that nobody wrote to for so long is left from a crash."""
IDEMPOTENCY_SECONDS = 24 * 3600.0


class Housekeeper:
    """Harmless to run in several processes."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def step(self) -> None:
        """One round, then a minute's rest."""
        await self.tidy()
        await self._context.stop.wait(PERIOD_SECONDS)

    async def tidy(self) -> None:
        """Sweeps store, temporary files, old idempotency keys and abandoned offers."""
        await sweep(self._context.database, self._context.store)
        folder = self._context.settings.home / "tmp"
        await asyncio.to_thread(remove_stale, folder, before=time.time() - TEMPORARY_SECONDS)
        await self._forget_idempotency_keys()
        await self._withdraw_offers()

    async def _forget_idempotency_keys(self) -> None:
        is_old = IdempotencyKey.created_at < time.time() - IDEMPOTENCY_SECONDS
        async with self._context.database.write() as session:
            await session.execute(delete(IdempotencyKey).where(is_old))

    async def _withdraw_offers(self) -> None:
        """Deletes offers of attempts that ended a while ago: no worker comes back for the answer."""
        fields: list[Any] = await self._context.redis.hkeys(UPLOADS_KEY)
        jobs = {field.decode().partition(":")[0] for field in fields}
        if not jobs:
            return
        recent = Attempt.ended_at.is_(None) | (Attempt.ended_at > time.time() - PERIOD_SECONDS)
        query = select(Attempt.job_id, Attempt.number).where(Attempt.job_id.in_(jobs), recent)
        async with self._context.database.read() as session:
            kept = {f"{job_id}:{number}" for job_id, number in await session.execute(query)}
        for field in fields:
            if field.decode().rpartition(":")[0] not in kept:
                await self._context.redis.hdel(UPLOADS_KEY, field)


def remove_stale(folder: Path, *, before: float) -> None:
    """Deletes the folder's files that were last written before a time."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.is_file() and path.stat().st_mtime < before:
            path.unlink(missing_ok=True)
