"""How much of resources.max_hours the attempts of a job have used."""

from __future__ import annotations

import time

import pytest

from api.jobs.lifecycle import Cause, fail, lock_job, move, request_retry
from api.jobs.models import Attempt, Job
from api.loops.context import Context
from api.loops.trained import trained_seconds
from espo_contracts.job import JobStatus
from tests.api.loops.conftest import MakeJob

CAUSE = Cause(actor="user", reason="test")


async def add_attempt(
    context: Context, job_id: str, *, trained: float | None, beats: int | None = 1000
) -> None:
    """An attempt that is over, after it trained for so many seconds."""
    now = time.time()
    async with context.database.write() as session:
        job = await session.get_one(Job, job_id)
        job.attempt += 1
        attempt = Attempt(
            job_id=job_id,
            number=job.attempt,
            opened="",
            created_at=now,
            started_at=None if trained is None else now,
            ended_at=now + (trained or 0.0),
            beat=None if beats is None else {"count": beats},
        )
        session.add(attempt)


async def used(context: Context, job_id: str) -> float:
    async with context.database.read() as session:
        job = await session.get_one(Job, job_id)
        return await trained_seconds(session, Attempt(job_id=job_id, number=job.attempt + 1))


async def test_the_attempts_of_a_job_add_up(context: Context, make_job: MakeJob) -> None:
    job_id, other = await make_job(), await make_job()
    assert await used(context, job_id) == 0
    for trained in (100.0, None, 20.0):
        await add_attempt(context, job_id, trained=trained)
    await add_attempt(context, other, trained=1000.0)
    assert await used(context, job_id) == pytest.approx(120.0)


async def test_a_clock_that_steps_adds_nothing(context: Context, make_job: MakeJob) -> None:
    job_id = await make_job()
    await add_attempt(context, job_id, trained=3600.0, beats=3)  # 15 s of beats
    await add_attempt(context, job_id, trained=-3600.0)
    await add_attempt(context, job_id, trained=1.0, beats=None)
    assert await used(context, job_id) == 15.0


async def test_a_retry_allows_the_time_anew(context: Context, make_job: MakeJob) -> None:
    job_id = await make_job()
    await add_attempt(context, job_id, trained=100.0)
    async with context.database.write() as session:
        job = await lock_job(session, job_id)
        assert job is not None
        move(session, job, JobStatus.RUNNING, CAUSE)
        fail(session, job, {"code": "timeout", "message": "", "hint": ""}, CAUSE)
        request_retry(session, job, CAUSE, attempts=3)
    assert await used(context, job_id) == 0
    await add_attempt(context, job_id, trained=7.0)
    assert await used(context, job_id) == pytest.approx(7.0)
