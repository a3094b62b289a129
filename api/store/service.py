"""Keeps the store free of bytes that nothing refers to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from api.db import Database
from api.store import repository
from api.store.store import Store

GRACE_SECONDS = 3600.0
WATCH_SECONDS = 600.0
"""How long the sweep itself sees bytes lie untouched before it believes their age: a clock that steps forward
makes a checkpoint that arrives now an hour old."""
MOST_AT_ONCE = 1000


class Sweep:
    """Deletes unreferenced bytes that nobody touched for an hour."""

    def __init__(self, database: Database, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._seen: dict[tuple[str, float], float] = {}
        """When hash and time of its last touch were first seen, on our own clock."""

    async def round(self) -> int:
        """How many were deleted now; wants to be called once a minute."""
        async with self._database.read() as session:
            before = time.time() - GRACE_SECONDS
            found = await repository.unreferenced(session, before=before, limit=MOST_AT_ONCE)
        now = self._clock()
        self._seen = {item: self._seen.get(item, now) for item in found.items()}
        due = [item for item, since in self._seen.items() if now - since >= WATCH_SECONDS]
        return sum([await self._delete(sha256, touched_at=touched_at) for sha256, touched_at in due])

    async def _delete(self, sha256: str, *, touched_at: float) -> bool:
        async with self._database.write() as session:
            is_ours = await repository.forget(session, sha256, touched_at=touched_at)
            if is_ours:
                # Inside the transaction: whoever stores the same bytes again waits for its row, then finds
                # none.
                await asyncio.to_thread(self._store.delete, sha256)
        return is_ours
