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
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.jobs.lifecycle import Cause, end_attempt, fail, lock_job
from api.jobs.models import Attempt, Job
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
DEVICES = ("cpu", "gpu")

log = logging.getLogger(__name__)


class Dispatcher:
    """Any number of them may run: the job's row decides who makes an attempt."""

    def __init__(self, context: Context, hints: Hints) -> None:
        self._context = context
        self._hints = hints

    async def step(self) -> None:
        """One round over the device classes, then a wait for news."""
        await self.dispatch()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._context.dispatch_wanted.wait(), POLL_SECONDS)
        await self._context.stop.wait(LEAST_PAUSE_SECONDS)
        self._context.dispatch_wanted.clear()

    async def dispatch(self) -> None:
        """Hints as many waiting jobs as workers may take now."""
        for device in DEVICES:
            async with self._context.database.read() as session:
                waiting = await _waiting(session, device, limit=64)
            if waiting:
                places = await free_places(self._context, device)
                for job_id in waiting[:places]:
                    await self._start(job_id, device)

    async def _start(self, job_id: str, device: str) -> None:
        """Attempt committed, keys opened, hint sent: after a crash in between the reconciler goes on."""
        order = await self._claim(job_id)
        if order is None:
            return
        try:
            await open_keys(self._context.redis, job_id, order)
            await self._hints.send(Hint(job=job_id, attempt=order.attempt), device)
            await nudge(self._context.redis, job_id)
        except (RedisError, OperationalError, TimeoutError) as error:
            log.warning("attempt %d of %s waits for the reconciler: %s", order.attempt, job_id, error)

    async def _claim(self, job_id: str) -> Assignment | None:
        """The committed next attempt; None when the job no longer waits, or can never start."""
        async with self._context.database.write() as session:
            job = await lock_job(session, job_id)
            if job is None or not await _is_waiting(session, job):
                return None
            attempt = await next_attempt(session, job)
            try:
                return await assignment(session, job, attempt)
            except (CannotStartError, ValidationError) as error:
                await session.flush()
                await end_attempt(session, job, "failed")
                fail(session, job, cannot_start(error), Cause(actor="dispatcher", reason="it cannot start"))
                return None


async def _waiting(session: AsyncSession, device: str, *, limit: int) -> list[str]:
    """Ids of jobs that wait for an attempt, in the order in which they get one."""
    lives = select(Attempt.number).where(
        Attempt.job_id == Job.id, Attempt.number == Job.attempt, Attempt.ended_at.is_(None)
    )
    query = (
        select(Job.id)
        .where(Job.status == JobStatus.QUEUED.value, Job.desired == Desired.RUN.value)
        .where(Job.device == device, ~lives.exists())
        .order_by(Job.priority.desc(), Job.created_at, Job.id)
        .limit(limit)
    )
    return list(await session.scalars(query))


async def _is_waiting(session: AsyncSession, job: Job) -> bool:
    """Whether the locked job still waits: another dispatcher may have been here since."""
    if job.status != JobStatus.QUEUED or job.desired != Desired.RUN:
        return False
    last = await session.get(Attempt, (job.id, job.attempt))
    return last is None or last.ended_at is not None
