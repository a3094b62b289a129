"""Summarises the metrics of long jobs, chunk by chunk, so that a page of a million points is quick.

Not while events are stored: what is behind is read step by step meanwhile, so being late costs only speed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.db import Database
from api.jobs.lifecycle import lock_job
from api.jobs.models import Job
from api.loops.context import Context
from api.metrics import repository
from api.metrics.blocks import CHUNK, LARGEST, Block, chunk_blocks, joined
from api.metrics.models import MetricBlock

PERIOD_SECONDS = 1.0
MOST_CHUNKS = 16
"""A round's, so that a job of millions of steps, or a service that was down, takes no more than its share."""
LOOK_SECONDS = 60.0
"""Between two looks for jobs that ended before they were summarised: that looks at every job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """What is to be summarised, and of which attempt it was read."""

    job_id: str
    start: int
    attempt: int

    @property
    def stop(self) -> int:
        return self.start + CHUNK

    def is_next_of(self, job: Job) -> bool:
        """Whether the job has all of these steps, none of which may change any more but by a new attempt."""
        return (job.attempt, job.summarised) == (self.attempt, self.start) and job.step >= self.stop


class Summariser:
    """Any number of them may run: each chunk is written under the job's lock, once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._looked_at = float("-inf")

    async def step(self) -> None:
        """One round, then a rest."""
        await self.round()
        await self._context.stop.wait(PERIOD_SECONDS)

    async def round(self) -> None:
        """Summarises the next chunks of the jobs that have some, at most as many as its share allows."""
        is_look = time.monotonic() - self._looked_at > LOOK_SECONDS
        async with self._context.database.read() as session:
            jobs = await repository.behind(session, is_running=not is_look, limit=MOST_CHUNKS)
        if is_look and len(jobs) < MOST_CHUNKS:
            self._looked_at = time.monotonic()
        for _ in range(MOST_CHUNKS // max(1, len(jobs))):
            jobs = [job_id for job_id in jobs if await summarise(self._context.database, job_id)]


async def summarise(database: Database, job_id: str) -> bool:
    """Whether the next chunk of a job was summarised; not so when its steps are not all there."""
    async with database.read() as session:
        job = await session.get(Job, job_id)
        if job is None or job.step - job.summarised < CHUNK:
            return False
        chunk = _Chunk(job_id=job_id, start=job.summarised, attempt=job.attempt)
        steps = repository.steps(session, job_id, since_step=chunk.start - 1, before=chunk.stop)
        blocks = dict(chunk_blocks([row async for row in steps], chunk.start))
    async with database.write() as session:
        job = await lock_job(session, job_id)
        if job is None or not chunk.is_next_of(job):
            return False
        await _join(session, blocks, chunk)
        rows = [
            {"job_id": job_id, "size": size, "start": start, "data": data}
            for (size, start), data in blocks.items()
        ]
        await session.execute(insert(MetricBlock), rows)
        job.summarised = chunk.stop
    return True


async def _join(session: AsyncSession, blocks: dict[tuple[int, int], Block], chunk: _Chunk) -> None:
    """Adds the larger blocks that this chunk completes."""
    size, start = CHUNK, chunk.start
    while size < LARGEST and chunk.stop % (2 * size) == 0:
        first = await session.get_one(MetricBlock, (chunk.job_id, size, start - size))
        blocks[2 * size, start - size] = joined(first.data, blocks[size, start])
        size, start = 2 * size, start - size
