from __future__ import annotations

import time
from dataclasses import replace

import pytest
from sqlalchemy import select

from api.events.models import JobEvent
from api.jobs.models import Job
from api.loops import sweep
from api.loops.context import Context
from api.loops.sweep import DAY_SECONDS, Sweeper
from tests.api.loops.actors import events_of
from tests.api.loops.conftest import MakeJob


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "BATCH", 4)
    monkeypatch.setattr(sweep, "REST_SECONDS", 0.0)


@pytest.fixture
def strict(context: Context) -> Context:
    """Three samples and two log lines of a job are kept, and of a job that ended two days ago none."""
    settings = {"keep_details_days": 2.0, "max_samples": 3, "max_log_lines": 2}
    return replace(context, settings=context.settings.model_copy(update=settings))


async def add(context: Context, job_id: str, *events: tuple[str, int | None, bool]) -> None:
    """Stores events given as type, step and whether they are superseded."""
    async with context.database.write() as session:
        job = await session.get_one(Job, job_id)
        for kind, step, is_superseded in events:
            job.event_count += 1
            row = JobEvent(
                job_id=job_id,
                number=job.event_count,
                attempt=1,
                seq=job.event_count,
                time=1.0,
                type=kind,
                step=step,
                is_superseded=is_superseded,
                data={},
            )
            session.add(row)


async def ended(context: Context, job_id: str, *, days_ago: float | None, status: str = "succeeded") -> None:
    async with context.database.write() as session:
        job = await session.get_one(Job, job_id)
        job.status = status
        job.finished_at = None if days_ago is None else time.time() - days_ago * DAY_SECONDS


async def left(context: Context, job_id: str) -> list[tuple[str, int | None]]:
    """Type and step of what is left beside the changes of state."""
    async with context.database.read() as session:
        query = select(JobEvent.type, JobEvent.step).where(
            JobEvent.job_id == job_id, JobEvent.type != "state"
        )
        return [(kind, step) for kind, step in await session.execute(query.order_by(JobEvent.number))]


RUN = [("metrics", 1, False), ("sample", 1, False), ("log", None, False), ("checkpoint", 1, False)]


@pytest.mark.parametrize(
    ("status", "days_ago", "is_swept"),
    [("succeeded", 2.1, True), ("failed", 2.1, True), ("succeeded", 1.9, False), ("running", None, False)],
)
async def test_details_of_a_job_that_ended_long_ago_go(
    strict: Context, make_job: MakeJob, status: str, days_ago: float | None, is_swept: bool
) -> None:
    job_id = await make_job()
    await add(strict, job_id, *RUN)
    await ended(strict, job_id, days_ago=days_ago, status=status)
    await Sweeper(strict).round()
    kept = [("metrics", 1), ("checkpoint", 1)]
    assert await left(strict, job_id) == (kept if is_swept else [(kind, step) for kind, step, _ in RUN])


async def test_what_was_done_again_goes_a_day_after_the_end(strict: Context, make_job: MakeJob) -> None:
    fresh, over = await make_job(), await make_job()
    for job_id, days_ago in ((fresh, 0.9), (over, 1.1)):
        await add(strict, job_id, *(("metrics", step, True) for step in range(10)), ("sample", 5, True))
        await add(strict, job_id, *(("metrics", step, False) for step in range(5, 7)))
        await ended(strict, job_id, days_ago=days_ago)
    await Sweeper(strict).round()
    assert await left(strict, over) == [("metrics", 5), ("metrics", 6)]
    assert len(await left(strict, fresh)) == 13


async def test_a_running_job_keeps_its_newest_samples_and_lines(strict: Context, make_job: MakeJob) -> None:
    job_id = await make_job()
    await ended(strict, job_id, days_ago=None, status="running")
    await add(strict, job_id, *(("sample", step, False) for step in range(10)))
    await add(strict, job_id, *(("log", None, False) for _ in range(7)), ("metrics", 9, False))
    before = await events_of(strict.database, job_id)
    await Sweeper(strict).round()
    newest = [("sample", step) for step in (7, 8, 9)] + [("log", None)] * 2 + [("metrics", 9)]
    assert await left(strict, job_id) == newest
    async with strict.database.read() as session:
        lines = select(JobEvent.number).where(JobEvent.type == "log").order_by(JobEvent.number)
        assert list(await session.scalars(lines)) == [row.number for row in before if row.type == "log"][-2:]


async def test_each_ended_job_is_looked_at_once(
    strict: Context, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "JOBS_AT_ONCE", 2)
    jobs = [await make_job() for _ in range(5)]
    for job_id in jobs:
        await add(strict, job_id, *RUN)
        await ended(strict, job_id, days_ago=3)
    async with strict.database.write() as session:  # two that ended at the same time
        first, second = [await session.get_one(Job, job_id) for job_id in jobs[:2]]
        first.finished_at = second.finished_at
    sweeper = Sweeper(strict)
    await sweeper.round()
    assert [len(await left(strict, job_id)) for job_id in jobs] == [2] * 5
    await add(strict, jobs[0], *RUN)
    await sweeper.round()
    assert len(await left(strict, jobs[0])) == 6
    await Sweeper(strict).round()
    assert len(await left(strict, jobs[0])) == 4


async def test_the_order_to_stop_is_heard(strict: Context, make_job: MakeJob) -> None:
    job_id = await make_job()
    await add(strict, job_id, *RUN)
    await ended(strict, job_id, days_ago=3)
    strict.stop.set()
    await Sweeper(strict).round()
    assert len(await left(strict, job_id)) == 4
