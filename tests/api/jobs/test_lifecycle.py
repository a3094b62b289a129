"""The state machine of a job: hand-made cases, and random walks that must never break its laws."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
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
from api.tables import metadata
from espo_contracts.events import Failed, Finished, Started
from espo_contracts.job import TRANSITIONS, FailureCode, JobStatus

JOB = "job-1"
USER = Cause(actor="user", reason="test")
ERROR = {"code": "worker_lost", "message": "gone", "hint": ""}
OUTCOMES = ("succeeded", "cancelled", "paused", "handed_back")
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


@settings(max_examples=100, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck))
class Walk(RuleBasedStateMachine):
    """Anything may happen in any order: nobody who acts on a job waits for the others."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.runner.run(self.open())
        self.final: str | None = None

    async def open(self) -> None:
        self.database = Database("sqlite+aiosqlite:///:memory:")
        async with self.database.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        await submit(self.database)

    def teardown(self) -> None:
        self.runner.run(self.database.close())
        self.runner.close()

    def do(self, act: Act) -> None:
        self.runner.run(locked(self.database, act))

    @rule()
    def user_cancels(self) -> None:
        try:
            self.do(cancel)
        except IllegalTransitionError:
            assert self.final in {"succeeded", "failed"}

    @rule()
    def dispatcher_opens_an_attempt(self) -> None:
        async def open_if_waiting(session: AsyncSession, job: Job) -> None:
            last = await session.get(Attempt, (JOB, job.attempt))
            if job.status == "queued" and (last is None or last.ended_at is not None):
                await next_attempt(session, job)

        self.do(open_if_waiting)

    @rule()
    def worker_starts(self) -> None:
        self.while_live(Started(total_steps=10, device="cpu", parameters=1, trainable_parameters=1))

    @rule(outcome=st.sampled_from(OUTCOMES))
    def worker_finishes(self, outcome: str) -> None:
        self.while_live(Finished.model_validate({"outcome": outcome, "step": 3}))

    @rule(is_retryable=st.booleans())
    def worker_fails(self, is_retryable: bool) -> None:
        self.while_live(Failed(code=FailureCode.INTERNAL, message="x", is_retryable=is_retryable))

    @rule()
    def worker_is_lost(self) -> None:
        self.do(lose)

    def while_live(self, event: Started | Finished | Failed) -> None:
        """Applies an event as the ingester would: only to a live attempt."""

        async def act(session: AsyncSession, job: Job) -> None:
            attempt = await session.get(Attempt, (JOB, job.attempt))
            if attempt is not None and attempt.ended_at is None:
                await apply(session, job, event)

        self.do(act)

    @invariant()
    def laws_hold(self) -> None:
        job, attempts, events = self.runner.run(read(self.database))
        live = [attempt for attempt in attempts if attempt.ended_at is None]
        status = JobStatus(job.status)
        assert [event.number for event in events] == list(range(1, job.event_count + 1))
        assert [attempt.number for attempt in attempts] == list(range(1, job.attempt + 1))
        assert job.attempt <= job.max_attempts
        assert [attempt.number for attempt in live] in ([], [job.attempt])
        assert live or status is not JobStatus.RUNNING
        assert not live or status in {JobStatus.QUEUED, JobStatus.RUNNING}
        assert (job.finished_at is not None) == status.is_terminal
        assert (job.error is not None) == (status is JobStatus.FAILED)
        self.check_log(job, events)
        assert self.final in {None, job.status}, "a terminal state changed"
        self.final = job.status if status.is_terminal else None

    def check_log(self, job: Job, events: list[JobEvent]) -> None:
        previous = None
        for event in events:
            status = JobStatus(event.data["status"])
            assert event.data["previous"] == previous
            assert previous is None or status == previous or status in TRANSITIONS[JobStatus(previous)]
            previous = status
        assert previous == job.status


TestWalk = pytest.mark.slow(Walk.TestCase)
