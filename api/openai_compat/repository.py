"""Queries of the OpenAI face. Each is about one project's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.events.models import JobEvent
from api.jobs.models import Job
from api.openai_compat.models import FineTuningRequest
from api.pages import by_age

Found = tuple[Job, FineTuningRequest | None]
_SHOWN = ("state", "started", "metrics", "log", "checkpoint", "finished", "failed")


async def request_of(session: AsyncSession, job_id: str) -> FineTuningRequest | None:
    return await session.get(FineTuningRequest, job_id)


async def newest(
    session: AsyncSession,
    project_id: str,
    *,
    after: Job | None,
    limit: int,
    labels: Mapping[str, str] | None,
) -> Sequence[Found]:
    """At most `limit` jobs, newest first, older than `after`, that have these labels; None: without any."""
    query = select(Job, FineTuningRequest).outerjoin(FineTuningRequest, FineTuningRequest.job_id == Job.id)
    query = query.where(Job.project_id == project_id)
    if labels is None:
        query = query.where(FineTuningRequest.labels.is_(None))
    for key, value in (labels or {}).items():
        query = query.where(FineTuningRequest.labels[key].as_string() == value)
    query = by_age(query, Job, after=after, limit=limit)
    return [(job, request) for job, request in await session.execute(query)]


async def sent_before(
    session: AsyncSession, project_id: str, body_sha256: str, *, since: float
) -> str | None:
    """Id of the newest job of the same body since then."""
    query = select(FineTuningRequest.job_id).where(
        FineTuningRequest.project_id == project_id,
        FineTuningRequest.body_sha256 == body_sha256,
        FineTuningRequest.created_at >= since,
    )
    query = query.order_by(FineTuningRequest.created_at.desc()).limit(1)
    return (await session.execute(query)).scalar_one_or_none()


async def events_before(
    session: AsyncSession, job_id: str, *, before: int | None, limit: int
) -> Sequence[JobEvent]:
    """At most `limit` entries of a log, newest first, without samples."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.type.in_(_SHOWN))
    if before is not None:
        query = query.where(JobEvent.number < before)
    return (await session.scalars(query.order_by(JobEvent.number.desc()).limit(limit))).all()
