"""Reads the streams of all open runs and puts their events into the database, in order and exactly once.

The watermark in the database is the only cursor: stream ids are `<attempt>-<seq>`, so a reader that starts
anew asks for what follows it, and a batch that another ingester committed first fails its compare-and-swap.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from api.jobs.models import Attempt
from api.loops.absorb import Absorbed, absorb
from api.loops.attempt_keys import acknowledge, close_keys, nudge
from api.loops.batch import Cursor, Entry, read_batch
from api.loops.context import Context
from espo_contracts.wire import RUNS_KEY, job_key, run_key, stream_id

BLOCK_MS = 100
"""How soon a newly opened stream is seen: a blocked read does not know it yet."""
ENTRIES_PER_READ = 2048
"""Of all its streams together: with the bound of an entry this bounds the memory that one read can take."""
STREAMS_PER_READ = 32
CURSOR_SECONDS = 1.0
"""Age at which cursors are read again, since other ingesters move them too."""

log = logging.getLogger(__name__)


class Ingester:
    """One task for all runs; any number of ingesters may run at once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._cursors: dict[str, Cursor] = {}
        self._checked_at = 0.0

    async def step(self) -> None:
        """Takes what all streams have now; waits a moment for the next entry when they have none."""
        await self._refresh()
        if not self._cursors:
            await self._context.stop.wait(BLOCK_MS / 1000)
            return
        jobs = list(self._cursors)
        starts = range(0, len(jobs), STREAMS_PER_READ)
        for start in starts:
            group = jobs[start : start + STREAMS_PER_READ]
            for job_id, entries in await self._read(group, block_ms=max(1, BLOCK_MS // len(starts))):
                await self._take(job_id, entries)

    async def _refresh(self) -> None:
        """Cursors of all open runs, from the database where they are unknown or old."""
        members: set[Any] = await self._context.redis.smembers(RUNS_KEY)
        jobs = {member.decode() for member in members}
        is_old = time.monotonic() - self._checked_at > CURSOR_SECONDS
        if not is_old and jobs == self._cursors.keys():
            return
        self._cursors = await self._load(jobs)
        self._checked_at = time.monotonic()

    async def _load(self, jobs: set[str]) -> dict[str, Cursor]:
        if not jobs:
            return {}
        query = select(Attempt.job_id, Attempt.number, Attempt.last_seq).where(
            Attempt.ended_at.is_(None), Attempt.job_id.in_(jobs)
        )
        async with self._context.database.read() as session:
            rows = (await session.execute(query)).all()
        return {job_id: Cursor(attempt=number, last_seq=last_seq) for job_id, number, last_seq in rows}

    async def _read(self, jobs: Sequence[str], *, block_ms: int) -> list[tuple[str, list[Entry]]]:
        cursors = {run_key(job): (job, self._cursors[job]) for job in jobs}
        ids: dict[Any, Any] = {
            key: stream_id(cursor.attempt, cursor.last_seq) for key, (_, cursor) in cursors.items()
        }
        found: Any = await self._context.redis.xread(ids, count=ENTRIES_PER_READ // len(ids), block=block_ms)
        return [(cursors[key.decode()][0], entries) for key, entries in found]

    async def _take(self, job_id: str, entries: list[Entry]) -> None:
        batch = read_batch(self._cursors[job_id], entries)
        if batch.is_broken and not batch.events:
            await self._break(job_id)
            return
        absorbed = await absorb(self._context.database, job_id, batch)
        if absorbed is None:
            del self._cursors[job_id]  # read again at the next step
            return
        attempt = batch.cursor.attempt
        self._cursors[job_id] = Cursor(attempt=attempt, last_seq=absorbed.last_seq)
        if absorbed.is_over:
            del self._cursors[job_id]
        await self._report(job_id, attempt, absorbed)

    async def _break(self, job_id: str) -> None:
        """Forgets a stream with a gap, as Redis itself might: the sender waits for the next opening.

        The hash goes with it, because a hash without a stream says that the attempt is over.
        """
        seen = self._cursors.pop(job_id)
        if (await self._load({job_id})).get(job_id) == seen:  # else only our cursor was old
            log.warning("the stream of %s does not go on after %d-%d", job_id, seen.attempt, seen.last_seq)
            await self._context.redis.delete(run_key(job_id), job_key(job_id))

    async def _report(self, job_id: str, attempt: int, absorbed: Absorbed) -> None:
        """Tells Redis what is committed. If that fails the reconciler does it: the commit is what counts."""
        redis = self._context.redis
        await acknowledge(redis, job_id, attempt, absorbed.last_seq)
        if absorbed.is_over:
            await close_keys(redis, job_id, attempt)
        if absorbed.is_queued:
            self._context.dispatch_wanted.set()
        await nudge(redis, job_id)
