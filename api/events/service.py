"""Reading a job's log, once or live."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from api.errors import Code, DomainError
from api.events import repository
from api.events.models import JobEvent
from api.events.repository import Wanted
from api.events.schemas import event_of
from api.jobs import service as jobs
from api.pages import Page, page_of
from api.resources import Resources
from espo_contracts.job import JobStatus

Item = TypeVar("Item", bound=BaseModel)

HEARTBEAT_SECONDS = 15.0
LONGEST_SECONDS = 3600.0
"""A stream ends after that; the client's next one goes on where it ended."""
MOST_STREAMS = 1000
_BATCH = 200


async def page(
    session: AsyncSession, job_id: str, wanted: Wanted, show: Callable[[JobEvent], Item]
) -> Page[Item]:
    """One page of a job's entries."""
    rows = await repository.of_job(session, job_id, replace(wanted, limit=wanted.limit + 1))
    return page_of([show(row) for row in rows[: wanted.limit]], has_more=len(rows) > wanted.limit)


async def open_stream(
    shared: Resources, *, project_id: str, job_id: str, types: tuple[str, ...], after: int
) -> AsyncIterator[bytes]:
    """The job's entries from `after` on as server-sent events, until it has ended.

    Raises:
        DomainError: there is no such job, or this process has too many streams.
    """
    if shared.live.listener_count >= MOST_STREAMS:
        raise DomainError(Code.TOO_MANY_STREAMS, "too many live streams", headers={"retry-after": "5"})
    async with shared.context.database.read() as session:
        await jobs.get(session, project_id, job_id)
    return _stream(shared, project_id, job_id, Wanted(types=types, after=after, limit=_BATCH))


async def _stream(shared: Resources, project_id: str, job_id: str, wanted: Wanted) -> AsyncIterator[bytes]:
    ends_at = time.monotonic() + LONGEST_SECONDS
    with shared.live.listen(job_id) as news:
        while not shared.live.is_closed and time.monotonic() < ends_at:
            news.clear()
            rows, status = await _read(shared, project_id, job_id, wanted)
            for row in rows:
                yield _entry(row)
            if rows:
                wanted = replace(wanted, after=rows[-1].number)
            elif status.is_terminal:
                yield format_sse_event(event="end", data_str=json.dumps({"status": status}))
                return
            elif await _is_quiet(news):
                yield KEEPALIVE_COMMENT


async def _read(
    shared: Resources, project_id: str, job_id: str, wanted: Wanted
) -> tuple[Sequence[JobEvent], JobStatus]:
    """The next entries, and the status at that time or before: an end seen here has no entry left unseen."""
    async with shared.context.database.read() as session:
        status = JobStatus((await jobs.get(session, project_id, job_id)).status)
        return await repository.of_job(session, job_id, wanted), status


def _entry(row: JobEvent) -> bytes:
    event = event_of(row)
    return format_sse_event(id=event.id, event=event.type, data_str=event.model_dump_json())


async def _is_quiet(news: asyncio.Event) -> bool:
    """Whether a whole heartbeat passed without news."""
    try:
        async with asyncio.timeout(HEARTBEAT_SECONDS):
            await news.wait()
    except TimeoutError:
        return True
    return False
