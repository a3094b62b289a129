"""`GET /v1/jobs/{id}/events`, `/samples`, `/logs`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse

from api.dependencies import Reader, ReadSession, Shared
from api.errors import invalid
from api.events import service
from api.events.repository import Wanted
from api.events.schemas import Event, EventType, LogLine, Sample, event_of, log_line_of, sample_of
from api.jobs import service as jobs
from api.pages import Page

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["events"])

_LARGEST = 2**62
Cursor = Annotated[int, Query(ge=0, le=_LARGEST, description="Id of the last entry that is known.")]
ManyLimit = Annotated[int, Query(ge=1, le=1000, description="Entries of this page at most.")]
Types = Annotated[list[EventType], Query(max_length=8, description="Only these types; none: all.")]
LastEventId = Annotated[str | None, Header(description="Where a broken stream goes on.", max_length=20)]


def start_of(after: Cursor = 0, last_event_id: LastEventId = None) -> int:
    """Number after which to read: what a reconnecting EventSource saw last, else `after`."""
    if not last_event_id:
        return after
    if not (last_event_id.isascii() and last_event_id.isdigit()):
        raise invalid("header.Last-Event-ID", "not the id of an event")
    return min(int(last_event_id), _LARGEST)


@router.get(
    "/events",
    response_model=Page[Event],
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def list_events(  # noqa: PLR0913, PLR0917 - one query parameter each
    request: Request,
    job_id: str,
    caller: Reader,
    shared: Shared,
    start: Annotated[int, Depends(start_of)],
    types: Types = [],  # noqa: B006
    limit: ManyLimit = 100,
) -> Page[Event] | StreamingResponse:
    """The job's log, oldest first; with `Accept: text/event-stream` live until the job has ended."""
    if "text/event-stream" in request.headers.get("accept", ""):
        stream = await service.open_stream(
            shared, project_id=caller.project_id, job_id=job_id, types=tuple(types), after=start
        )
        return StreamingResponse(stream, media_type="text/event-stream", headers=_STREAM_HEADERS)
    async with shared.context.database.read() as session:
        job = await jobs.get(session, caller.project_id, job_id)
        wanted = Wanted(types=tuple(types), after=start, limit=limit)
        return await service.page(session, job.id, wanted, event_of)


# A proxy that buffers would hold back what is live.
_STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


@router.get("/samples")
async def list_samples(
    job_id: str,
    caller: Reader,
    session: ReadSession,
    step: Annotated[int | None, Query(ge=0, le=10_000_000, description="Of this step only.")] = None,
    after: Cursor = 0,
    limit: ManyLimit = 100,
) -> Page[Sample]:
    """Recorded responses, oldest first, with what their advantage came from."""
    job = await jobs.get(session, caller.project_id, job_id)
    wanted = Wanted(types=("sample",), after=after, limit=limit, step=step, is_effective=True)
    return await service.page(session, job.id, wanted, sample_of)


@router.get("/logs")
async def list_logs(
    job_id: str, caller: Reader, session: ReadSession, after: Cursor = 0, limit: ManyLimit = 100
) -> Page[LogLine]:
    """The run's log lines, oldest first. One that failed ends with an error, and what it last printed."""
    job = await jobs.get(session, caller.project_id, job_id)
    wanted = Wanted(types=("log", "failed"), after=after, limit=limit)
    return await service.page(session, job.id, wanted, log_line_of)
