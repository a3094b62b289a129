"""Queries on the log of a job. The caller has made sure that the job is the project's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.events.models import JobEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries, and how many at most."""

    types: tuple[str, ...] = ()
    """Empty: all."""
    after: int = 0
    limit: int
    step: int | None = None
    is_effective: bool = False
    """Leave out what a later attempt did again."""


async def of_job(session: AsyncSession, job_id: str, wanted: Wanted) -> Sequence[JobEvent]:
    """Entries in order."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.number > wanted.after)
    if wanted.types:
        query = query.where(JobEvent.type.in_(wanted.types))
    if wanted.step is not None:
        query = query.where(JobEvent.step == wanted.step)
    if wanted.is_effective:
        query = query.where(JobEvent.is_superseded.is_(False))
    return (await session.scalars(query.order_by(JobEvent.number).limit(wanted.limit))).all()
