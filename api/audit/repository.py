"""Queries on the audit log. Each is about one project's rows."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.audit.models import AuditEntry
from api.audit.schemas import AuditFilter
from api.pages import by_age


async def get(session: AsyncSession, project_id: str, entry_id: str) -> AuditEntry | None:
    query = select(AuditEntry).where(AuditEntry.id == entry_id, AuditEntry.project_id == project_id)
    return (await session.execute(query)).scalar_one_or_none()


async def newest(
    session: AsyncSession, project_id: str, wanted: AuditFilter, *, after: AuditEntry | None, limit: int
) -> Sequence[AuditEntry]:
    """At most `limit` entries, newest first, older than `after`."""
    query = select(AuditEntry).where(AuditEntry.project_id == project_id)
    for name, value in wanted.model_dump(exclude_none=True).items():
        query = query.where(getattr(AuditEntry, name) == value)
    return (await session.scalars(by_age(query, AuditEntry, after=after, limit=limit))).all()
