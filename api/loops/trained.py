"""How much of the time that a job may take is used up."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.events.models import JobEvent
from api.jobs.models import Attempt
from espo_contracts.job import JobStatus
from espo_contracts.wire import HEARTBEAT_SECONDS

# What only a retry leads out of.
_RETRIED = (JobStatus.FAILED.value, JobStatus.CANCELLED.value)


async def trained_seconds(session: AsyncSession, attempt: Attempt) -> float:
    """How long the attempts before this one trained, since the job was last retried: that allows it its time
    anew. By the calendar, but no longer than the beats say, so that a clock that steps ends no job."""
    retried = (
        select(func.max(JobEvent.attempt))
        .where(JobEvent.job_id == attempt.job_id, JobEvent.type == "state")
        .where(JobEvent.data["previous"].as_string().in_(_RETRIED))
    )
    query = select(Attempt.started_at, Attempt.ended_at, Attempt.beat).where(
        Attempt.job_id == attempt.job_id,
        Attempt.number < attempt.number,
        Attempt.number > (await session.scalar(retried) or 0),
        Attempt.started_at.is_not(None),
    )
    return sum(_between(start, end, beat) for start, end, beat in await session.execute(query))


def _between(started_at: float, ended_at: float | None, beat: dict[str, Any] | None) -> float:
    by_beats = HEARTBEAT_SECONDS * float(beat["count"] if beat is not None else 0)
    return max(0.0, min((ended_at or started_at) - started_at, by_beats))
