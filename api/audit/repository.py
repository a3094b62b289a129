"""Queries on the audit log. Each is about one project's rows."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.audit.models import AuditEntry
from api.audit.schemas import AuditFilter


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
    if after is not None:
        same_time = and_(AuditEntry.created_at == after.created_at, AuditEntry.id < after.id)
        query = query.where(or_(AuditEntry.created_at < after.created_at, same_time))
    query = query.order_by(AuditEntry.created_at.desc(), AuditEntry.id.desc()).limit(limit)
    return (await session.scalars(query)).all()
