"""`GET /v1/jobs/{id}/metrics`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from sqlalchemy.ext.asyncio import AsyncSession

from api.conditional import IfNoneMatch, is_known
from api.db import Database
from api.dependencies import Reader, Shared
from api.errors import invalid
from api.jobs import service as jobs
from api.jobs.models import Job
from api.metrics import service
from api.metrics.schemas import MetricsPage

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["metrics"])

_POINTS = 1000
_PARQUET = "application/vnd.apache.parquet"

Format = Literal["json", "csv", "parquet"]
Names = Annotated[
    list[str], Query(max_length=256, description="Only these metrics, repeated or by comma; none: all.")
]
Since = Annotated[int, Query(ge=-1, le=10_000_000, description="Only steps after this one.")]
MaxPoints = Annotated[
    int | None,
    Query(ge=3, le=100_000, description=f"Points per curve at most; JSON only, default {_POINTS}."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which part of the metrics, and how."""

    names: list[str]
    since_step: int
    max_points: int
    format: Format


def wish(
    names: Names = [],  # noqa: B006
    since_step: Since = -1,
    max_points: MaxPoints = None,
    format: Format = "json",  # noqa: A002 - the name in the URL
) -> Wish:
    if format != "json" and max_points is not None:
        raise invalid("query.max_points", "tables are whole; leave it out, or ask for format=json")
    each = [name for given in names for name in given.split(",") if name]
    return Wish(names=each, since_step=since_step, max_points=max_points or _POINTS, format=format)


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"model": MetricsPage, "content": {"text/csv": {}, _PARQUET: {}}},
        304: {"description": "Nothing new since the answer with this ETag."},
    },
)
async def get_metrics(
    job_id: str,
    caller: Reader,
    shared: Shared,
    wanted: Annotated[Wish, Depends(wish)],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Curves as JSON, thinned for drawing, or the whole table as CSV or Parquet. Without news, a 304.

    A curve of more than `max_points` is shown by the lowest and the highest value in each of equally wide
    ranges of steps, and by its newest. A range that held NaN or an infinity keeps one null, but nulls are
    no more than a quarter of the points.
    """
    async with shared.context.database.read() as session:
        job = await jobs.get(session, caller.project_id, job_id)
        headers = {"etag": f'W/"{job.event_count}"', "cache-control": "private, no-cache"}
        if is_known(if_none_match, headers["etag"]):
            return Response(status_code=304, headers=headers)
        response = await _ANSWERS[wanted.format](shared.context.database, session, job, wanted)
    response.headers.update(headers)
    return response


async def _json(_: Database, session: AsyncSession, job: Job, wanted: Wish) -> Response:
    page = await service.curves(
        session, job, wanted.names, since_step=wanted.since_step, max_points=wanted.max_points
    )
    return Response(orjson.dumps(page), media_type="application/json")


async def _csv(database: Database, _: AsyncSession, job: Job, wanted: Wish) -> Response:
    columns = service.columns_of(job, wanted.names)
    lines = service.csv_lines(database, job.id, columns, since_step=wanted.since_step)
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=_file_name(job, "csv"))


async def _parquet(_: Database, session: AsyncSession, job: Job, wanted: Wish) -> Response:
    columns = service.columns_of(job, wanted.names)
    table = await service.parquet(session, job.id, columns, since_step=wanted.since_step)
    return Response(table, media_type=_PARQUET, headers=_file_name(job, "parquet"))


def _file_name(job: Job, extension: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{job.id}-metrics.{extension}"'}


_ANSWERS: dict[Format, Callable[[Database, AsyncSession, Job, Wish], Awaitable[Response]]] = {
    "json": _json,
    "csv": _csv,
    "parquet": _parquet,
}
