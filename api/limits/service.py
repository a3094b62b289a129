"""Shows what a project may use and uses."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from api.limits import quotas, repository
from api.limits.schemas import LimitObject, LimitsObject, RateObject
from api.limits.settings import LimitSettings


async def limits_of(session: AsyncSession, project_id: str, settings: LimitSettings) -> LimitsObject:
    """Limits of the project, each beside its use."""
    allowed = await quotas.quotas_of(session, project_id)
    used: dict[Any, float | None] = {
        "queued_jobs": await repository.queued_jobs(session, project_id),
        "running_jobs": await repository.live_jobs(session, project_id),
        "device_hours": round(await quotas.device_hours(session, project_id), 4),
        "stored_bytes": await repository.stored_bytes(session, project_id),
        "upload_bytes": None,
    }
    ends = {"device_hours": quotas.month(time.time())[1]}
    rows = [
        LimitObject(name=name, limit=getattr(allowed, name), used=use, frees_at=ends.get(name))
        for name, use in used.items()
    ]
    return LimitsObject(limits=rows, rate=_rate(settings))


def _rate(settings: LimitSettings) -> RateObject | None:
    if not settings.rate_limit_requests:
        return None
    return RateObject(requests=settings.rate_limit_requests, seconds=settings.rate_limit_seconds)
