"""Keeps and shows who did what."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from api.audit import repository
from api.audit.models import AuditEntry
from api.audit.schemas import AuditFilter, AuditObject
from api.auth.service import Principal
from api.errors import invalid
from api.ids import new_id
from api.pages import Page, page_of

_OBJECT = "audit_object"


def concerns(session: AsyncSession, object_id: str) -> None:
    """Notes which object the call of this session makes or changes, where its path does not say."""
    session.info[_OBJECT] = object_id


def record_call(session: AsyncSession, caller: Principal, scope: Mapping[str, Any]) -> None:
    """Adds the entry of a request to the transaction of its changes."""
    named = next(iter(scope["path_params"].values()), None)
    record(
        session,
        project_id=caller.project_id,
        key_id=caller.key_id,
        action=scope["route"].name,
        object_id=session.info.get(_OBJECT, named),
        request_id=scope["state"]["request_id"],
    )


def record(
    session: AsyncSession,
    *,
    project_id: str,
    action: str,
    object_id: str | None,
    key_id: str | None = None,
    request_id: str | None = None,
) -> None:
    """Adds an entry to the session's transaction."""
    entry = AuditEntry(
        id=new_id("audit"),
        project_id=project_id,
        key_id=key_id,
        action=action[:64],
        object_id=None if object_id is None else object_id[:128],
        request_id=request_id,
        created_at=time.time(),
    )
    session.add(entry)


async def page(
    session: AsyncSession, project_id: str, wanted: AuditFilter, *, after: str | None, limit: int
) -> Page[AuditObject]:
    """Entries, newest first."""
    cursor = await repository.get(session, project_id, after) if after is not None else None
    if after is not None and cursor is None:
        raise invalid("query.after", f"no audit entry {after!r}")
    rows = await repository.newest(session, project_id, wanted, after=cursor, limit=limit + 1)
    shown = [AuditObject.model_validate(row) for row in rows[:limit]]
    return page_of(shown, has_more=len(rows) > limit)
