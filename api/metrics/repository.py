"""Queries on metrics. The caller has made sure that the job is the project's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.events.models import JobEvent
from api.jobs.models import Job
from api.metrics.blocks import SIZES, SMALLEST
from api.metrics.models import MetricBlock
from api.metrics.steps import StepMetrics
from espo_contracts.job import JobStatus

_BATCH = 1000


async def steps(
    session: AsyncSession, job_id: str, *, since_step: int, before: int | None = None
) -> AsyncIterator[StepMetrics]:
    """Every step after `since_step` and before `before`, in order, each once: of the newest attempt.

    Figures that came in several events (of a step and of the evaluation after it) are merged.
    """
    current: StepMetrics | None = None
    async for row in _rows(session, job_id, since_step, before):
        if current is None or row.step != current.step:
            if current is not None:
                yield current
            current = row
        else:
            current.values |= row.values
            current.non_finite |= row.non_finite
    if current is not None:
        yield current


async def _rows(
    session: AsyncSession, job_id: str, since_step: int, before: int | None
) -> AsyncIterator[StepMetrics]:
    query = (
        select(JobEvent.step, JobEvent.time, JobEvent.attempt, JobEvent.data)
        .where(JobEvent.job_id == job_id, JobEvent.type == "metrics", JobEvent.is_superseded.is_(False))
        .where(JobEvent.step > since_step)
        .order_by(JobEvent.step, JobEvent.number)
        .execution_options(yield_per=_BATCH)
    )
    result = await session.stream(query if before is None else query.where(JobEvent.step < before))
    # By batches: each wait for the driver costs as much as ten rows.
    async for rows in result.partitions():
        for step, time, attempt, data in rows:
            values, non_finite = data["values"], data.get("non_finite", {})
            yield StepMetrics(step=step, time=time, attempt=attempt, values=values, non_finite=non_finite)


async def blocks(
    session: AsyncSession, job_id: str, size: int, *, start: int, before: int
) -> Sequence[dict[str, Any]]:
    """Blocks of a size that begin from `start` to before `before`, in order."""
    query = select(MetricBlock.data).where(MetricBlock.job_id == job_id, MetricBlock.size == size)
    within = query.where(MetricBlock.start >= start, MetricBlock.start < before)
    return (await session.scalars(within.order_by(MetricBlock.start))).all()


async def forget_blocks(session: AsyncSession, job: Job, *, after_step: int) -> None:
    """Deletes what summarises steps after this one, which will be done again. The job is locked."""
    start = (after_step + 1) // SMALLEST * SMALLEST
    if job.summarised <= start:
        return
    job.summarised = start
    # By size, so that the primary key finds them.
    ends_later = (and_(MetricBlock.size == size, MetricBlock.start > start - size) for size in SIZES)
    statement = delete(MetricBlock).where(MetricBlock.job_id == job.id, or_(*ends_later))
    await session.execute(statement, execution_options={"synchronize_session": False})


async def behind(session: AsyncSession, *, is_running: bool, limit: int) -> list[str]:
    """Ids of jobs that have a block of steps to summarise, of the running ones or of all."""
    is_due: ColumnElement[bool] = Job.step - Job.summarised >= SMALLEST
    query = select(Job.id).where(is_due).limit(limit)
    if is_running:
        query = query.where(Job.status == JobStatus.RUNNING.value)
    return list(await session.scalars(query))
