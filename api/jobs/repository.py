"""Queries on jobs. Each is about one project's rows, or counts of all."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, String, and_, cast, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from api.jobs.models import IdempotencyKey, Job
from api.jobs.schemas import JobFilter
from api.pages import by_age
from espo_contracts.job import JobStatus

KEY_SECONDS = 25 * 3600.0
"""A day is promised; an hour more, since a clock that steps forward must not make a second job of a retry."""

_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


async def get(session: AsyncSession, project_id: str, job_id: str) -> Job | None:
    query = select(Job).where(Job.id == job_id, Job.project_id == project_id)
    return (await session.execute(query)).scalar_one_or_none()


async def newest(
    session: AsyncSession, project_id: str, wanted: JobFilter, *, after: Job | None, limit: int
) -> Sequence[Job]:
    """At most `limit` jobs, newest first, older than `after`."""
    query = select(Job).where(Job.project_id == project_id, *_conditions(wanted))
    return (await session.scalars(by_age(query, Job, after=after, limit=limit))).all()


def _conditions(wanted: JobFilter) -> list[ColumnElement[bool]]:
    # A tag is looked for as it stands in the JSON text of the list, in quotes.
    tags = cast(Job.tags, String)
    conditions = [tags.contains(json.dumps(tag), autoescape=True) for tag in wanted.tag]
    if wanted.status:
        conditions.append(Job.status.in_(wanted.status))
    if wanted.algorithm is not None:
        conditions.append(Job.algorithm == wanted.algorithm)
    if wanted.model is not None:
        conditions.append(Job.model == wanted.model)
    if wanted.text is not None:
        by_name = Job.name.icontains(wanted.text, autoescape=True)
        conditions.append(or_(by_name, Job.id.contains(wanted.text, autoescape=True)))
    return conditions


async def jobs_before(session: AsyncSession, job: Job) -> int:
    """How many waiting jobs of the same resource class come before this one, whoever's they are."""
    earlier = or_(
        Job.priority > job.priority,
        and_(Job.priority == job.priority, Job.created_at < job.created_at),
    )
    is_waiting = and_(Job.status == JobStatus.QUEUED, Job.device == job.device)
    return int(await session.scalar(select(func.count()).where(is_waiting, earlier)) or 0)


async def counts(session: AsyncSession) -> dict[tuple[str, str], int]:
    """Number of jobs by status and resource class, of all projects."""
    query = select(Job.status, Job.device, func.count()).group_by(Job.status, Job.device)
    return {(status, device): count for status, device, count in await session.execute(query)}


async def remembered(session: AsyncSession, project_id: str, key: str) -> IdempotencyKey | None:
    """The submission that used this key within a day."""
    fresh = IdempotencyKey.created_at > time.time() - KEY_SECONDS
    query = select(IdempotencyKey).where(
        IdempotencyKey.project_id == project_id, IdempotencyKey.key == key, fresh
    )
    return (await session.execute(query)).scalar_one_or_none()


async def remember(session: AsyncSession, job: Job, key: str, body_sha256: str) -> bool:
    """Whether the key is this job's now. False: another request took it first, and has committed."""
    stale = IdempotencyKey.created_at <= time.time() - KEY_SECONDS
    await session.execute(
        delete(IdempotencyKey).where(
            IdempotencyKey.project_id == job.project_id, IdempotencyKey.key == key, stale
        )
    )
    insert = _INSERT[session.get_bind().dialect.name](IdempotencyKey)
    row = {"project_id": job.project_id, "key": key, "body_sha256": body_sha256, "job_id": job.id}
    statement = insert.values(**row, created_at=time.time()).on_conflict_do_nothing()
    # Not by rowcount, which a driver may not know of an INSERT.
    return await session.scalar(statement.returning(IdempotencyKey.job_id)) is not None
