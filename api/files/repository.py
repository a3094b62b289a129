"""Queries on uploaded files. Each is about one project's rows."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.files.models import File
from api.jobs.models import Job
from espo_contracts.job import JobStatus

_ENDED = [status.value for status in JobStatus if status.is_terminal]


async def get(session: AsyncSession, project_id: str, file_id: str) -> File | None:
    query = select(File).where(File.id == file_id, File.project_id == project_id, File.deleted_at.is_(None))
    return (await session.execute(query)).scalar_one_or_none()


async def page(
    session: AsyncSession,
    project_id: str,
    *,
    after: File | None,
    limit: int,
    is_ascending: bool,
    purpose: str | None,
) -> Sequence[File]:
    """At most `limit` files beyond `after`, by age."""
    query = select(File).where(File.project_id == project_id, File.deleted_at.is_(None))
    if purpose is not None:
        query = query.where(File.purpose == purpose)
    if after is not None:
        later = or_(
            File.created_at > after.created_at,
            and_(File.created_at == after.created_at, File.id > after.id),
        )
        query = query.where(later if is_ascending else ~later, File.id != after.id)
    age = (File.created_at, File.id) if is_ascending else (File.created_at.desc(), File.id.desc())
    return (await session.scalars(query.order_by(*age).limit(limit))).all()


async def live_job_of(session: AsyncSession, file_id: str) -> str | None:
    """Id of a job that has not ended and needs the file."""
    query = select(Job.id).where(Job.file_id == file_id, Job.status.not_in(_ENDED)).limit(1)
    return (await session.execute(query)).scalar_one_or_none()
