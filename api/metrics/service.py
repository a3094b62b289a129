"""Curves of a job, as JSON or as a table."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from api.db import Database
from api.jobs.models import Job
from api.metrics import repository
from api.metrics.blocks import cover, size_for
from api.metrics.curves import Curves
from api.metrics.schemas import MetricsPage
from api.metrics.steps import StepMetrics

_COLUMNS = ("step", "time", "attempt")
_BATCH = 1000


async def curves(
    session: AsyncSession, job: Job, names: Collection[str], *, since_step: int, max_points: int
) -> dict[str, Any]:
    """A MetricsPage as plain values. Nothing is read when there can be nothing new."""
    size = size_for(job.step - since_step, max_points)
    found = Curves(names, size=size)
    if since_step < job.step or job.step == 0:
        await _read(session, job, found, since_step=since_step, size=size)
    page = MetricsPage(job_id=job.id, since_step=since_step, last_step=found.last_step(since_step), series={})
    return page.model_dump() | {"series": await asyncio.to_thread(found.shown, max_points)}


async def _read(session: AsyncSession, job: Job, found: Curves, *, since_step: int, size: int) -> None:
    """Reads blocks of at most this size, and step by step what no block covers."""
    if size == 1 or since_step >= job.summarised:
        await _read_steps(session, job, found, since_step=since_step)
        return
    for part, start, stop in cover(since_step + 1, job.summarised, size):
        if part == 1:
            await _read_steps(session, job, found, since_step=start - 1, before=stop)
        else:
            found.add_blocks(await repository.blocks(session, job.id, part, start=start, before=stop))
    await _read_steps(session, job, found, since_step=max(since_step, job.summarised - 1))


async def _read_steps(
    session: AsyncSession, job: Job, found: Curves, *, since_step: int, before: int | None = None
) -> None:
    rows: list[StepMetrics] = []
    async for row in repository.steps(session, job.id, since_step=since_step, before=before):
        rows.append(row)
        if len(rows) == _BATCH:
            found.add_steps(rows)
            rows = []
    found.add_steps(rows)


def columns_of(job: Job, names: Collection[str]) -> list[str]:
    """Names of the table's metrics: those asked for, else all that the job has."""
    return sorted(names or job.latest)


async def csv_lines(
    database: Database, job_id: str, columns: Sequence[str], *, since_step: int
) -> AsyncIterator[str]:
    """A table with a row for each step, streamed; an empty cell is a figure that the step does not have."""
    yield _csv_line([*_COLUMNS, *columns])
    async with database.read() as session:
        async for row in repository.steps(session, job_id, since_step=since_step):
            cells = [row.non_finite.get(name, row.values.get(name)) for name in columns]
            yield _csv_line([row.step, row.time, row.attempt, *cells])


def _csv_line(cells: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


async def parquet(session: AsyncSession, job_id: str, columns: Sequence[str], *, since_step: int) -> bytes:
    """The same table as a Parquet file; NaN and infinities are themselves there."""
    table: dict[str, list[Any]] = {name: [] for name in (*_COLUMNS, *columns)}
    async for row in repository.steps(session, job_id, since_step=since_step):
        for name in _COLUMNS:
            table[name].append(getattr(row, name))
        for name in columns:
            table[name].append(
                float(row.non_finite[name]) if name in row.non_finite else row.values.get(name)
            )
    return await asyncio.to_thread(_write_parquet, table)


def _write_parquet(table: dict[str, list[Any]]) -> bytes:
    # Imported here: it is large, and most processes are never asked for it.
    import pyarrow
    import pyarrow.parquet

    types = {"step": pyarrow.int64(), "attempt": pyarrow.int32()}
    arrays = {name: pyarrow.array(cells, types.get(name, pyarrow.float64())) for name, cells in table.items()}
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(arrays), buffer)
    return buffer.getvalue()
