"""Queries on uploaded files. Each is about one project's rows."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.files.models import File
from api.jobs.models import Job
from api.pages import by_age
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
    query = by_age(query, File, after=after, limit=limit, is_ascending=is_ascending)
    return (await session.scalars(query)).all()


async def live_job_of(session: AsyncSession, file_id: str) -> str | None:
    """Id of a job that has not ended and needs the file."""
    query = select(Job.id).where(Job.file_id == file_id, Job.status.not_in(_ENDED)).limit(1)
    return (await session.execute(query)).scalar_one_or_none()
