"""Curves of a job, as JSON or as a table."""

from __future__ import annotations

import asyncio
import csv
import io
import math
from array import array
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from api.db import Database
from api.jobs.models import Job
from api.metrics import repository
from api.metrics.downsample import thin
from api.metrics.repository import StepMetrics
from api.metrics.schemas import MetricsPage

_COLUMNS = ("step", "time", "attempt")


@dataclass(slots=True)
class Curve:
    """Points of one metric; 16 bytes each, so that a long run of many metrics fits in memory."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    non_finite: dict[str, str] = field(default_factory=dict)

    def add(self, row: StepMetrics, name: str) -> None:
        value = row.values[name]
        self.steps.append(row.step)
        self.values.append(math.nan if value is None else value)
        if name in row.non_finite:
            self.non_finite[str(row.step)] = row.non_finite[name]

    def shown(self, most: int) -> dict[str, Any]:
        """The curve by at most `most` points."""
        kept = thin(self.steps, self.values, most)
        steps = [self.steps[index] for index in kept]
        values = [None if math.isnan(self.values[index]) else self.values[index] for index in kept]
        marks = {str(step): self.non_finite[str(step)] for step in steps if str(step) in self.non_finite}
        return {"steps": steps, "values": values, "non_finite": marks}


async def curves(
    session: AsyncSession, job: Job, names: Collection[str], *, since_step: int, max_points: int
) -> dict[str, Any]:
    """A MetricsPage as plain values. Nothing is read when there can be nothing new."""
    found: dict[str, Curve] = {}
    if since_step < job.step or job.step == 0:
        async for row in repository.steps(session, job.id, since_step=since_step):
            for name in row.values.keys() & names if names else row.values:
                found.setdefault(name, Curve()).add(row, name)
    last = max((curve.steps[-1] for curve in found.values()), default=since_step)
    series = await asyncio.to_thread(_shown, found, max_points)
    page = MetricsPage(job_id=job.id, since_step=since_step, last_step=last, series={})
    return page.model_dump() | {"series": series}


def _shown(found: dict[str, Curve], max_points: int) -> dict[str, Any]:
    return {name: found[name].shown(max_points) for name in sorted(found)}


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
