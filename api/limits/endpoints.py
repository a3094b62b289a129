"""`/v1/limits`: what the project may use, and uses."""

from __future__ import annotations

from fastapi import APIRouter

from api.dependencies import Reader, ReadSession, Shared
from api.limits import service
from api.limits.schemas import LimitsObject

router = APIRouter(prefix="/v1/limits", tags=["keys"])


@router.get("")
async def get_limits(caller: Reader, session: ReadSession, shared: Shared) -> LimitsObject:
    """Limits of the project, each beside its use. Device-hours are of this calendar month (UTC)."""
    return await service.limits_of(session, caller.project_id, shared.settings)
