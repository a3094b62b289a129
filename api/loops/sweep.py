"""Sweeps events that nobody will read again: details of jobs that ended long ago, what a later attempt did
anew, and the oldest samples and log lines of a job that has too many. Metrics stay for as long as their job.

In small batches, each a transaction of its own, with a rest between them: SQLite has one writer at a time.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, func, or_, select

from api.events.models import JobEvent
from api.jobs.models import Job
from api.loops.context import Context
from espo_contracts.job import JobStatus

PERIOD_SECONDS = 60.0
REST_SECONDS = 0.05
BATCH = 500
DAY_SECONDS = 24 * 3600.0
DETAILS = ("sample", "log")
JOBS_AT_ONCE = 100


@dataclass(slots=True, kw_only=True)
class _Rule:
    """What happens to a job some time after its end, and how far the rule has come."""

    after_seconds: float
    sweep: Callable[[str], Awaitable[None]]
    finished_at: float = 0.0
    job_id: str = ""
    """Of the last job that was swept. A new process begins with the first: a look at a job that has nothing
    to be swept costs little."""


class Sweeper:
    """Harmless to run in several processes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._rules = (
            _Rule(after_seconds=PERIOD_SECONDS, sweep=self._surplus),
            _Rule(after_seconds=DAY_SECONDS, sweep=self._superseded),
            _Rule(after_seconds=context.settings.keep_details_days * DAY_SECONDS, sweep=self._details),
        )

    async def step(self) -> None:
        """One round, then a minute's rest."""
        await self.round()
        await self._context.stop.wait(PERIOD_SECONDS)

    async def round(self) -> None:
        """Sweeps what is due, until nothing is left or the order to stop."""
        async with self._context.database.read() as session:
            running = await session.scalars(select(Job.id).where(Job.status == JobStatus.RUNNING.value))
            jobs = list(running)
        for job_id in jobs:
            await self._surplus(job_id)
        for rule in self._rules:
            while await self._advance(rule):
                pass

    async def _advance(self, rule: _Rule) -> bool:
        """Whether there were jobs that the rule had not swept."""
        later = and_(Job.finished_at == rule.finished_at, Job.id > rule.job_id)
        query = (
            select(Job.finished_at, Job.id)
            .where(Job.finished_at < time.time() - rule.after_seconds)
            .where(or_(Job.finished_at > rule.finished_at, later))
            .order_by(Job.finished_at, Job.id)
        )
        async with self._context.database.read() as session:
            jobs = (await session.execute(query.limit(JOBS_AT_ONCE))).all()
        for finished_at, job_id in jobs:
            await rule.sweep(job_id)
            if self._context.stop.is_set:
                return False
            rule.finished_at, rule.job_id = finished_at or 0.0, job_id
        return bool(jobs)

    async def _details(self, job_id: str) -> None:
        while await self._delete(job_id, JobEvent.type.in_(DETAILS)):
            pass

    async def _superseded(self, job_id: str) -> None:
        done_again = (JobEvent.type.in_(("metrics", "sample")), JobEvent.is_superseded.is_(True))
        while await self._delete(job_id, *done_again):
            pass

    async def _surplus(self, job_id: str) -> None:
        settings = self._context.settings
        for kind, most in zip(DETAILS, (settings.max_samples, settings.max_log_lines), strict=True):
            is_kind = JobEvent.type == kind
            while (surplus := await self._count(job_id, is_kind) - most) > 0:
                if not await self._delete(job_id, is_kind, limit=min(surplus, BATCH)):
                    break

    async def _count(self, job_id: str, condition: ColumnElement[bool]) -> int:
        query = select(func.count()).select_from(JobEvent).where(JobEvent.job_id == job_id, condition)
        async with self._context.database.read() as session:
            return int(await session.scalar(query) or 0)

    async def _delete(self, job_id: str, *conditions: ColumnElement[bool], limit: int = BATCH) -> bool:
        """Whether the oldest such events were deleted, a batch of them; then rests."""
        if self._context.stop.is_set:
            return False
        # By step first, as the index has it: in a long job's log the oldest may be far from its beginning.
        oldest = select(JobEvent.number).where(JobEvent.job_id == job_id, *conditions)
        async with self._context.database.read() as session:
            numbers = await session.scalars(oldest.order_by(JobEvent.step, JobEvent.number).limit(limit))
            found: Sequence[int] = numbers.all()
        if not found:
            return False
        async with self._context.database.write() as session:
            swept = delete(JobEvent).where(JobEvent.job_id == job_id, JobEvent.number.in_(found))
            await session.execute(swept, execution_options={"synchronize_session": False})
        await self._context.stop.wait(REST_SECONDS)
        return True
