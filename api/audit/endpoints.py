"""`/v1/audit`: who did what."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api.audit import service
from api.audit.schemas import AuditFilter, AuditObject
from api.dependencies import Admin, ReadSession
from api.pages import After, Limit, Page

router = APIRouter(prefix="/v1/audit", tags=["keys"])

_Text = Annotated[str | None, Query(max_length=128)]


def audit_filter(action: _Text = None, object_id: _Text = None, key_id: _Text = None) -> AuditFilter:
    return AuditFilter(action=action, object_id=object_id, key_id=key_id)


@router.get("")
async def list_audit_entries(
    caller: Admin,
    session: ReadSession,
    wanted: Annotated[AuditFilter, Depends(audit_filter)],
    after: After = None,
    limit: Limit = 20,
) -> Page[AuditObject]:
    """Calls that changed something in the project, newest first. Wants the scope admin."""
    return await service.page(session, caller.project_id, wanted, after=after, limit=limit)
