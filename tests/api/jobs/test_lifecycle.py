"""The state machine of a job in hand-made cases; tests/api/loops/test_state_machine.py walks it at random."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth.models import Project
from api.db import Database
from api.events.models import JobEvent
from api.jobs import lifecycle
from api.jobs.lifecycle import Cause, IllegalTransitionError
from api.jobs.models import Attempt, Job
from api.loops.attempts import next_attempt
from api.loops.effects import apply
from espo_contracts.events import Started
from espo_contracts.job import JobStatus

JOB = "job-1"
USER = Cause(actor="user", reason="test")
ERROR = {"code": "worker_lost", "message": "gone", "hint": ""}
Act = Callable[[AsyncSession, Job], Awaitable[None]]


async def submit(database: Database, *, max_attempts: int = 3) -> None:
    """A project with one job in it."""
    async with database.write() as session:
        session.add(Project(id="project", name="project", created_at=0.0))
        await session.flush()
        job = Job(
            id=JOB,
            project_id="project",
            name="job",
            tags=[],
            spec={},
            resolved={},
            algorithm="espo",
            model="tiny",
            device="cpu",
            max_attempts=max_attempts,
            total_steps=10,
            latest={},
            created_at=time.time(),
        )
        await lifecycle.submit(session, job, USER)


async def locked(database: Database, act: Act) -> None:
    async with database.write() as session:
        job = await lifecycle.lock_job(session, JOB)
        assert job is not None
        await act(session, job)


async def start(session: AsyncSession, job: Job) -> None:
    await next_attempt(session, job)
    await session.flush()
    await apply(session, job, Started(total_steps=10, device="cpu", parameters=1, trainable_parameters=1))


async def cancel(session: AsyncSession, job: Job) -> None:
    await lifecycle.request_cancel(session, job, USER)


async def lose(session: AsyncSession, job: Job) -> None:
    if await lifecycle.end_attempt(session, job, "lost"):
        lifecycle.retry_or_fail(session, job, ERROR, Cause(actor="reconciler", reason="silent"))


async def read(database: Database) -> tuple[Job, list[Attempt], list[JobEvent]]:
    async with database.read() as session:
        job = await session.get(Job, JOB)
        assert job is not None
        attempts = list(await session.scalars(select(Attempt).order_by(Attempt.number)))
        events = list(await session.scalars(select(JobEvent).order_by(JobEvent.number)))
    return job, attempts, events


async def test_a_queued_job_is_cancelled_at_once(database: Database) -> None:
    await submit(database)
    await locked(database, cancel)
    job, _, events = await read(database)
    assert (job.status, job.desired, job.finished_at is None) == ("cancelled", "cancel", False)
    assert [event.data["reason"] for event in events] == ["test", "test"]
    await locked(database, cancel)
    assert (await read(database))[0].event_count == 2


async def test_a_running_job_is_asked_to_stop(database: Database) -> None:
    await submit(database)
    await locked(database, start)
    await locked(database, cancel)
    await locked(database, cancel)
    job, attempts, events = await read(database)
    assert (job.status, job.desired) == ("running", "cancel")
    assert attempts[0].ended_at is None
    assert [(event.data["status"], event.data["desired"]) for event in events] == [
        ("queued", "run"),
        ("running", "run"),
        ("running", "cancel"),
    ]


async def test_an_ended_job_cannot_be_cancelled(database: Database) -> None:
    await submit(database, max_attempts=1)
    await locked(database, start)
    await locked(database, lose)
    job, _, _ = await read(database)
    assert (job.status, job.error) == ("failed", ERROR)
    with pytest.raises(IllegalTransitionError, match="is failed and cannot become cancelled"):
        await locked(database, cancel)


async def test_writers_at_once_number_events_without_gap(database: Database) -> None:
    await submit(database)

    async def note(session: AsyncSession, job: Job) -> None:
        lifecycle.log_state(session, job, USER, previous=JobStatus.QUEUED)

    await asyncio.gather(*(locked(database, note) for _ in range(20)))
    job, _, events = await read(database)
    assert [event.number for event in events] == list(range(1, 22))
    assert job.event_count == 21
