"""Ends of attempts that the service decides, not their worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.jobs.lifecycle import Cause, Outcome, end_attempt, fail, lock_job, requeue, retry_or_fail
from api.jobs.models import Attempt, Job
from api.loops.attempt_keys import close_keys, nudge
from api.loops.context import Context
from api.loops.live import Live
from espo_contracts.job import FailureCode, JobStatus
from espo_contracts.wire import job_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an attempt ends, and what its job shows if that is its end too."""

    outcome: Outcome
    error: dict[str, str]
    is_retryable: bool = False


LOST = Ending(
    outcome="lost",
    error={
        "code": FailureCode.WORKER_LOST.value,
        "message": "The worker stopped answering, and the job has no attempts left.",
        "hint": "Look at the worker's log: the machine went down, or its memory was used up.",
    },
    is_retryable=True,
)
TIMEOUT = Ending(
    outcome="failed",
    error={
        "code": FailureCode.TIMEOUT.value,
        "message": "The run took longer than resources.max_hours.",
        "hint": "Raise resources.max_hours or lower schedule.steps, and start from the last checkpoint.",
    },
)


async def end(context: Context, live: Live, ending: Ending) -> bool:
    """Ends a live attempt, then its job or its wait for the next one; False when it had ended already."""
    cause = _cause(f"attempt {live.number} ended as {ending.outcome}: {ending.error['code']}")

    def settle(session: AsyncSession, job: Job) -> None:
        (retry_or_fail if ending.is_retryable else fail)(session, job, ending.error, cause)

    return await _end(context, live, ending.outcome, settle)


async def replace(context: Context, live: Live) -> bool:
    """Gives the job's next attempt in place of one that nobody is known to have; False when it had ended.

    Whoever has it after all is fenced by the next one's number.
    """
    cause = _cause(f"Redis lost attempt {live.number} before a worker was seen with it")
    return await _end(context, live, "replaced", lambda session, job: requeue(session, job, cause))


async def _end(
    context: Context, live: Live, outcome: Outcome, settle: Callable[[AsyncSession, Job], None]
) -> bool:
    async with context.database.write() as session:
        job = await lock_job(session, live.job_id)
        if job is None or job.attempt != live.number or not await end_attempt(session, job, outcome):
            return False
        settle(session, job)
        is_queued = job.status == JobStatus.QUEUED
    if is_queued:
        context.dispatch_wanted.set()
    await close_keys(context.redis, live.job_id, live.number)
    await nudge(context.redis, live.job_id)
    return True


def _cause(reason: str) -> Cause:
    return Cause(actor="reconciler", reason=reason)


async def close_over(context: Context, jobs: Set[str]) -> None:
    """Closes the keys of jobs whose attempt is over, or that are deleted."""
    if not jobs:
        return
    query = select(Job.id, Job.attempt, Attempt.ended_at).outerjoin(
        Attempt, (Attempt.job_id == Job.id) & (Attempt.number == Job.attempt)
    )
    async with context.database.read() as session:
        rows = (await session.execute(query.where(Job.id.in_(jobs)))).all()
    for job_id, number, ended_at in rows:
        if ended_at is not None:
            await close_keys(context.redis, job_id, number)
    for job_id in jobs - {row.id for row in rows}:
        attempt: Any = await context.redis.hget(job_key(job_id), "attempt")
        await close_keys(context.redis, job_id, json.loads(attempt or "0"))
