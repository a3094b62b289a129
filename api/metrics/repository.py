"""Queries on metrics. The caller has made sure that the job is the project's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.events.models import JobEvent

_BATCH = 1000


@dataclass(slots=True, kw_only=True)
class StepMetrics:
    """All figures of a step: None where one was not finite, `non_finite` then says what it was."""

    step: int
    time: float
    attempt: int
    values: dict[str, float | None]
    non_finite: dict[str, str]


async def steps(session: AsyncSession, job_id: str, *, since_step: int) -> AsyncIterator[StepMetrics]:
    """Every step after `since_step`, in order, each once: of the newest attempt that did it.

    Figures that came in several events (of a step and of the evaluation after it) are merged.
    """
    current: StepMetrics | None = None
    async for row in _rows(session, job_id, since_step):
        if current is None or row.step != current.step:
            if current is not None:
                yield current
            current = row
        else:
            current.values |= row.values
            current.non_finite |= row.non_finite
    if current is not None:
        yield current


async def _rows(session: AsyncSession, job_id: str, since_step: int) -> AsyncIterator[StepMetrics]:
    query = (
        select(JobEvent.step, JobEvent.time, JobEvent.attempt, JobEvent.data)
        .where(JobEvent.job_id == job_id, JobEvent.type == "metrics", JobEvent.is_superseded.is_(False))
        .where(JobEvent.step > since_step)
        .order_by(JobEvent.step, JobEvent.number)
        .execution_options(yield_per=_BATCH)
    )
    result = await session.stream(query)
    async for step, time, attempt, data in result:
        yield _step(step, time, attempt, data)


def _step(step: int, time: float, attempt: int, data: dict[str, Any]) -> StepMetrics:
    return StepMetrics(
        step=step, time=time, attempt=attempt, values=data["values"], non_finite=data.get("non_finite", {})
    )
