"""Keeps the store free of bytes that nothing refers to."""

from __future__ import annotations

import asyncio
import time

from api.db import Database
from api.store import repository
from api.store.store import Store

GRACE_SECONDS = 3600.0


async def sweep(database: Database, store: Store, *, limit: int = 100) -> int:
    """Deletes unreferenced bytes that nobody touched for an hour, and returns how many were deleted."""
    before = time.time() - GRACE_SECONDS
    async with database.read() as session:
        candidates = await repository.unreferenced(session, before=before, limit=limit)
    return sum([await _delete(database, store, sha256, before=before) for sha256 in candidates])


async def _delete(database: Database, store: Store, sha256: str, *, before: float) -> bool:
    async with database.write() as session:
        is_ours = await repository.forget(session, sha256, before=before)
        if is_ours:
            # Inside the transaction: whoever stores the same bytes again waits for its row, then finds none.
            await asyncio.to_thread(store.delete, sha256)
    return is_ours
