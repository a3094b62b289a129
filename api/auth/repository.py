"""Queries on projects and keys."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth.models import ApiKey, Project
from api.pages import by_age


async def key_by_digest(session: AsyncSession, sha256: str) -> ApiKey | None:
    return await session.scalar(select(ApiKey).where(ApiKey.sha256 == sha256))


async def project_by_name(session: AsyncSession, name: str) -> Project | None:
    return await session.scalar(select(Project).where(Project.name == name).order_by(Project.created_at))


async def all_keys(session: AsyncSession) -> Sequence[tuple[ApiKey, Project]]:
    """Every key with its project, oldest first."""
    query = select(ApiKey, Project).join(Project, Project.id == ApiKey.project_id).order_by(ApiKey.created_at)
    return [(key, project) for key, project in await session.execute(query)]


async def key(session: AsyncSession, project_id: str, key_id: str) -> ApiKey | None:
    query = select(ApiKey).where(ApiKey.id == key_id, ApiKey.project_id == project_id)
    return (await session.execute(query)).scalar_one_or_none()


async def newest_keys(
    session: AsyncSession, project_id: str, *, after: ApiKey | None, limit: int
) -> Sequence[ApiKey]:
    """At most `limit` keys of a project, newest first, older than `after`."""
    query = select(ApiKey).where(ApiKey.project_id == project_id)
    return (await session.scalars(by_age(query, ApiKey, after=after, limit=limit))).all()
