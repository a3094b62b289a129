"""What a project may use, and the refusal of what is more.

A limit is the project's own, else the settings', else there is none. What counts rows locks the project
first, so that two requests at once cannot both take the last place.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from api.errors import Code, DomainError
from api.jobs.models import Job
from api.limits import repository
from api.limits.settings import LimitSettings

_DEFAULTS = "limit_defaults"
_NAMES = ("queued_jobs", "running_jobs", "device_hours", "stored_bytes", "upload_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """Limits that hold for a project; None: unlimited."""

    queued_jobs: int | None = None
    running_jobs: int | None = None
    device_hours: float | None = None
    stored_bytes: int | None = None
    upload_bytes: int | None = None


def bind(session: AsyncSession, settings: LimitSettings) -> None:
    """Has the session's checks know what holds for projects without limits of their own."""
    session.info[_DEFAULTS] = settings


async def quotas_of(session: AsyncSession, project_id: str) -> Quotas:
    """The limits of a project."""
    sources = (await repository.project(session, project_id), session.info.get(_DEFAULTS))
    found = {}
    for name in _NAMES:
        given = (getattr(source, f"max_{name}", None) for source in sources)
        found[name] = next((value for value in given if value is not None), None)
    return Quotas(**found)


async def admit_job(session: AsyncSession, project_id: str) -> None:
    """Makes sure that one more job of the project may wait for a worker.

    Raises:
        DomainError: it waits with as many as it may, its month's hours are used up, or its storage is full.
    """
    quotas = await quotas_of(session, project_id)
    if (quotas.queued_jobs, quotas.device_hours, quotas.stored_bytes) == (None, None, None):
        return
    await repository.lock_project(session, project_id)
    if quotas.queued_jobs is not None:
        _check_queue(quotas.queued_jobs, await repository.queued_jobs(session, project_id))
    if quotas.device_hours is not None:
        _check_hours(quotas.device_hours, await device_hours(session, project_id))
    if quotas.stored_bytes is not None:
        _check_bytes(quotas.stored_bytes, await repository.stored_bytes(session, project_id), 1)


async def admit_upload(session: AsyncSession, project_id: str, size: int) -> None:
    """Makes sure that a file of that size may be kept.

    Raises:
        DomainError: it is larger than one may be, or than what is left.
    """
    quotas = await quotas_of(session, project_id)
    if quotas.upload_bytes is not None and size > quotas.upload_bytes:
        raise upload_too_large(quotas.upload_bytes)
    if quotas.stored_bytes is not None:
        await repository.lock_project(session, project_id)
        _check_bytes(quotas.stored_bytes, await repository.stored_bytes(session, project_id), size)


async def may_run(session: AsyncSession, project_id: str) -> bool:
    """Whether the project may run one more job now; the answer holds until the transaction ends."""
    limit = (await quotas_of(session, project_id)).running_jobs
    if limit is None:
        return True
    await repository.lock_project(session, project_id)
    return await repository.live_jobs(session, project_id) < limit


async def running_limit_reason(session: AsyncSession, job: Job) -> str | None:
    """Why a waiting job may not run yet, where that is the project's limit."""
    limit = (await quotas_of(session, job.project_id)).running_jobs
    if limit is None or await repository.live_jobs(session, job.project_id) < limit:
        return None
    return f"the project runs as many jobs as it may: {limit}"


async def device_hours(session: AsyncSession, project_id: str) -> float:
    """Hours of devices that the project has used in this calendar month (UTC)."""
    now = time.time()
    return await repository.device_seconds(session, project_id, since=month(now)[0], now=now) / 3600


def month(now: float) -> tuple[float, float]:
    """Begin and end of the calendar month (UTC) of a time."""
    begin = datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    year, number = divmod(begin.year * 12 + begin.month, 12)
    return begin.timestamp(), begin.replace(year=year, month=number + 1).timestamp()


def upload_too_large(limit: int) -> DomainError:
    """The answer to an upload that is larger than the project's may be."""
    message = f"this file is larger than {limit} bytes, the project's limit upload_bytes"
    return DomainError(Code.TOO_LARGE, message, members={"limit": _member("upload_bytes", limit)})


def _check_queue(limit: int, used: int) -> None:
    if used < limit:
        return
    message = (
        f"{used} jobs of this project wait and its limit queued_jobs is {limit}; "
        "a place is free when one of them starts, or is paused or cancelled"
    )
    raise _refusal(Code.QUOTA_EXCEEDED, message, _member("queued_jobs", limit, used))


def _check_hours(limit: float, used: float) -> None:
    if used < limit:
        return
    now = time.time()
    frees_at = month(now)[1]
    when = datetime.fromtimestamp(frees_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    message = f"this project used {used:.2f} of its limit device_hours, {limit:g} a month; it frees at {when}"
    headers = {"retry-after": str(math.ceil(frees_at - now))}
    member = _member("device_hours", limit, round(used, 4), frees_at)
    raise _refusal(Code.QUOTA_EXCEEDED, message, member, headers)


def _check_bytes(limit: int, used: int, wanted: int) -> None:
    if used + wanted <= limit:
        return
    message = (
        f"this project stores {used} bytes and its limit stored_bytes is {limit}; "
        "it frees when files, checkpoints or jobs are deleted"
    )
    raise _refusal(Code.STORAGE_FULL, message, _member("stored_bytes", limit, used))


def _member(
    name: str, limit: float, used: float | None = None, frees_at: float | None = None
) -> dict[str, object]:
    return {"name": name, "limit": limit, "used": used, "frees_at": frees_at}


def _refusal(
    code: Code, message: str, limit: dict[str, object], headers: dict[str, str] | None = None
) -> DomainError:
    # A client that repeats by itself would only ask again, in vain.
    headers = (headers or {}) | {"x-should-retry": "false"}
    return DomainError(code, message, headers=headers, members={"limit": limit})
