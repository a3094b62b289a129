"""When keys were last used: to the minute, and never in anybody's way."""

from __future__ import annotations

import asyncio
import logging
import time

from sqlalchemy import Update, or_, update
from sqlalchemy.exc import SQLAlchemyError

from api.auth.models import ApiKey
from api.db import Database

EVERY_SECONDS = 60.0
_MOST_KEYS = 10_000
_END_SECONDS = 2.0

log = logging.getLogger(__name__)


class KeyUses:
    """Writes the uses of keys beside the requests, of each key at most once a minute."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tried: dict[str, float] = {}
        self._waiting: dict[str, float] = {}
        self._writing: asyncio.Task[None] | None = None

    def note(self, key_id: str, last_used_at: float | None) -> None:
        """Notes a use now of a key that was last used then, as far as the database knows."""
        now = time.time()
        known = max(last_used_at or 0.0, self._tried.get(key_id, 0.0))
        if abs(now - known) < EVERY_SECONDS:  # a clock that was set back does not stop the notes for long
            return
        if len(self._tried) >= _MOST_KEYS:
            self._tried.clear()
        self._tried[key_id] = self._waiting[key_id] = now
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Ends the writing; what a hanging database does not take soon is given up."""
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=_END_SECONDS)
            self._writing.cancel()

    async def _write(self) -> None:
        while self._waiting:
            uses, self._waiting = self._waiting, {}
            try:
                async with self._database.write() as session:
                    for key_id, now in uses.items():
                        await session.execute(_statement(key_id, now))
            except (SQLAlchemyError, OSError) as error:
                # A figure for people: the next minute's use is written instead.
                log.warning("when a key was last used was not written: %s", type(error).__name__)


def _statement(key_id: str, now: float) -> Update:
    # Another process may have written a later one.
    is_older = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < now)
    return update(ApiKey).where(ApiKey.id == key_id, is_older).values(last_used_at=now)
