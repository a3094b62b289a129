"""Gives queued jobs their next attempt, by priority and age, about as many at once as there are idle workers.

Order lives in SQL; the broker is kept shallow, so that a job of high priority overtakes those that wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from kombu.exceptions import OperationalError
from pydantic import ValidationError
from redis.exceptions import RedisError
from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.jobs.lifecycle import Cause, end_attempt, fail, lock_job
from api.jobs.models import Attempt, Job
from api.limits.quotas import bind, may_run
from api.limits.repository import has_room
from api.loops.attempt_keys import nudge, open_keys
from api.loops.attempts import CannotStartError, assignment, cannot_start, next_attempt
from api.loops.context import Context
from api.loops.hints import Hints
from api.loops.workers import free_places
from espo_contracts.job import Desired, JobStatus
from espo_contracts.wire import Assignment, Hint

POLL_SECONDS = 0.5
LEAST_PAUSE_SECONDS = 0.02
"""Between two looks, however many commits announce news."""
MOST_AT_ONCE = 64

log = logging.getLogger(__name__)


class Dispatcher:
    """Any number of them may run: the job's row decides who makes an attempt."""

    def __init__(self, context: Context, hints: Hints) -> None:
        self._context = context
        self._hints = hints

    async def step(self) -> None:
        """One round over the resource classes, then a wait for news."""
        await self.dispatch()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._context.dispatch_wanted.wait(), POLL_SECONDS)
        await self._context.stop.wait(LEAST_PAUSE_SECONDS)
        self._context.dispatch_wanted.clear()

    async def dispatch(self) -> None:
        """Hints as many waiting jobs as workers may take now."""
        async with self._context.database.read() as session:
            default = self._context.settings.max_running_jobs
            waiting = {name: await _waiting(session, name, default) for name in await _wanted(session)}
        for resources, jobs in waiting.items():
            places = await free_places(self._context, resources)
            for job_id in jobs[:places]:
                await self._start(job_id, resources)

    async def _start(self, job_id: str, resources: str) -> None:
        """Attempt committed, keys opened, hint sent: after a crash in between the reconciler goes on."""
        order = await self._claim(job_id)
        if order is None:
            return
        try:
            if await open_keys(self._context.redis, job_id, order):
                await self._hints.send(Hint(job=job_id, attempt=order.attempt), resources)
                await nudge(self._context.redis, job_id)
        except (RedisError, OperationalError, TimeoutError) as error:
            log.warning("attempt %d of %s waits for the reconciler: %s", order.attempt, job_id, error)

    async def _claim(self, job_id: str) -> Assignment | None:
        """The committed next attempt; None when the job no longer waits, or can never start."""
        async with self._context.database.write() as session:
            bind(session, self._context.settings)
            job = await lock_job(session, job_id)
            if job is None or not await _is_waiting(session, job):
                return None
            if not await may_run(session, job.project_id):
                return None
            attempt = await next_attempt(session, job)
            try:
                return await assignment(session, job, attempt)
            except (CannotStartError, ValidationError) as error:
                await session.flush()
                await end_attempt(session, job, "failed")
                fail(session, job, cannot_start(error), Cause(actor="dispatcher", reason="it cannot start"))
                return None


def _is_waiting_row() -> ColumnElement[bool]:
    """True of jobs that wait for an attempt."""
    lives = select(Attempt.number).where(
        Attempt.job_id == Job.id, Attempt.number == Job.attempt, Attempt.ended_at.is_(None)
    )
    is_queued = and_(Job.status == JobStatus.QUEUED.value, Job.desired == Desired.RUN.value)
    return and_(is_queued, ~lives.exists())


async def _wanted(session: AsyncSession) -> list[str]:
    """Resource classes of the jobs that wait for an attempt."""
    return list(await session.scalars(select(Job.device).where(_is_waiting_row()).distinct()))


async def _waiting(session: AsyncSession, resources: str, default: int | None) -> list[str]:
    """Ids of jobs of a class that wait for an attempt, in the order in which they get one; not of projects
    that run as many as they may, which `default` says where a project does not."""
    query = (
        select(Job.id)
        .where(_is_waiting_row(), Job.device == resources, has_room(default))
        .order_by(Job.priority.desc(), Job.created_at, Job.id)
        .limit(MOST_AT_ONCE)
    )
    return list(await session.scalars(query))


async def _is_waiting(session: AsyncSession, job: Job) -> bool:
    """Whether the locked job still waits: another dispatcher may have been here since."""
    if job.status != JobStatus.QUEUED or job.desired != Desired.RUN:
        return False
    last = await session.get(Attempt, (job.id, job.attempt))
    return last is None or last.ended_at is not None
