"""Summarises the metrics of long jobs, block by block, so that a page of a million points is quick.

Not while events are stored: what is behind is read step by step meanwhile, so being late costs only speed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from api.db import Database
from api.jobs.lifecycle import lock_job
from api.jobs.models import Job
from api.loops.context import Context
from api.metrics import repository
from api.metrics.blocks import LARGEST, SMALLEST, Block, block_of, joined
from api.metrics.models import MetricBlock

PERIOD_SECONDS = 1.0
MOST_BLOCKS = 16
"""A round's, so that a job of millions of steps, or a service that was down, takes no more than its share."""
LOOK_SECONDS = 60.0
"""Between two looks for jobs that ended before they were summarised: that looks at every job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where the next block of a job begins, and of which attempt its steps were read."""

    job_id: str
    start: int
    attempt: int

    @property
    def stop(self) -> int:
        return self.start + SMALLEST

    def is_next_of(self, job: Job) -> bool:
        """Whether the job has all of these steps, none of which may change any more but by a new attempt."""
        return (job.attempt, job.summarised) == (self.attempt, self.start) and job.step >= self.stop


class Summariser:
    """Any number of them may run: each block is written under the job's lock, once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._looked_at = float("-inf")

    async def step(self) -> None:
        """One round, then a rest."""
        await self.round()
        await self._context.stop.wait(PERIOD_SECONDS)

    async def round(self) -> None:
        """Summarises the next steps of the jobs that have enough, at most as many as its share allows."""
        is_look = time.monotonic() - self._looked_at > LOOK_SECONDS
        async with self._context.database.read() as session:
            jobs = await repository.behind(session, is_running=not is_look, limit=MOST_BLOCKS)
        if is_look and len(jobs) < MOST_BLOCKS:
            self._looked_at = time.monotonic()
        for _ in range(MOST_BLOCKS // max(1, len(jobs))):
            jobs = [job_id for job_id in jobs if await summarise(self._context.database, job_id)]


async def summarise(database: Database, job_id: str) -> bool:
    """Whether the next steps of a job were summarised; not so when they are not all there."""
    async with database.read() as session:
        job = await session.get(Job, job_id)
        if job is None or job.step - job.summarised < SMALLEST:
            return False
        place = _Place(job_id=job_id, start=job.summarised, attempt=job.attempt)
        steps = repository.steps(session, job_id, since_step=place.start - 1, before=place.stop)
        block = block_of([row async for row in steps], SMALLEST)
    async with database.write() as session:
        job = await lock_job(session, job_id)
        if job is None or not place.is_next_of(job):
            return False
        await _store(session, place, block)
        job.summarised = place.stop
    return True


async def _store(session: AsyncSession, place: _Place, block: Block) -> None:
    """Stores a block, and the larger ones that it completes."""
    size, start = SMALLEST, place.start
    session.add(MetricBlock(job_id=place.job_id, size=size, start=start, data=block))
    while size < LARGEST and place.stop % (2 * size) == 0:
        start, size = start - size, 2 * size
        first = await session.get_one(MetricBlock, (place.job_id, size // 2, start))
        block = joined(first.data, block, size)
        session.add(MetricBlock(job_id=place.job_id, size=size, start=start, data=block))
