"""One batch of a job's events into the database: rows, watermark, job and checkpoints in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

from sqlalchemy import update
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from api.db import Database
from api.events import bulk
from api.jobs.lifecycle import (
    Cause,
    IllegalTransitionError,
    allot_number,
    allot_numbers,
    end_attempt,
    fail,
    lock_job,
)
from api.jobs.models import Attempt, Job
from api.loops.batch import Batch
from api.loops.effects import apply, progress
from espo_contracts.events import Metrics, NumberedEvent
from espo_contracts.job import FailureCode, JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Absorbed:
    """What a committed batch did."""

    last_seq: int
    is_over: bool
    """The attempt has ended."""
    is_queued: bool
    """The job waits for its next attempt."""


async def absorb(database: Database, job_id: str, batch: Batch) -> Absorbed | None:
    """Stores the batch. None, with nothing changed, when another ingester was first or the attempt is over.

    What the database refuses, such as a step beyond its integers, or the state machine, is poison as well:
    otherwise one impossible event would stop the job's stream for ever.
    """
    try:
        return await _absorb(database, job_id, batch)
    except (DataError, IntegrityError, OverflowError, IllegalTransitionError) as error:
        reason = f"the events after {batch.cursor.last_seq} are impossible: {type(error).__name__}"
        return await _absorb(database, job_id, Batch(cursor=batch.cursor, events=(), poison=reason))


async def _absorb(database: Database, job_id: str, batch: Batch) -> Absorbed | None:
    async with database.write() as session:
        job = await lock_job(session, job_id)
        if job is None or not await _advance(session, job, batch):
            return None
        rows = await _take(session, job, batch.events)
        if batch.poison is not None:
            await _poisoned(session, job, batch.poison)
        if rows:
            await bulk.insert(session, rows)
        attempt = await session.get(Attempt, (job_id, batch.cursor.attempt))
        return Absorbed(
            last_seq=batch.last_seq,
            is_over=attempt is None or attempt.ended_at is not None,
            is_queued=job.status == JobStatus.QUEUED,
        )


async def _advance(session: AsyncSession, job: Job, batch: Batch) -> bool:
    """Moves the watermark from where the reader saw it; False when it is elsewhere or the attempt is over."""
    cursor = batch.cursor
    statement = (
        update(Attempt)
        .where(Attempt.job_id == job.id, Attempt.number == cursor.attempt, Attempt.number == job.attempt)
        .where(Attempt.last_seq == cursor.last_seq, Attempt.ended_at.is_(None))
        .values(last_seq=batch.last_seq)
    )
    result: Any = await session.execute(statement, execution_options={"synchronize_session": False})
    return bool(result.rowcount)


async def _take(session: AsyncSession, job: Job, events: Sequence[NumberedEvent]) -> list[bulk.Row]:
    """The events' rows, after their effects on the job; steps in a row are taken together."""
    rows: list[bulk.Row] = []
    for is_progress, some in groupby(events, key=lambda numbered: isinstance(numbered.event, Metrics)):
        group = list(some)
        if is_progress:
            numbers = allot_numbers(job, len(group))
            progress(job, [cast(Metrics, numbered.event) for numbered in group])
            rows += [_row(job.id, *pair) for pair in zip(numbers, group, strict=True)]
            continue
        for numbered in group:
            number = allot_number(job)  # before the effect: what the event causes is logged after it
            await apply(session, job, numbered.event)
            rows.append(_row(job.id, number, numbered))
    return rows


def _row(job_id: str, number: int, numbered: NumberedEvent) -> bulk.Row:
    event = numbered.event
    step = getattr(event, "step", None)
    data = event.model_dump_json(exclude={"type"})
    return (job_id, number, numbered.attempt, numbered.seq, numbered.time, event.type, step, False, data)


async def _poisoned(session: AsyncSession, job: Job, reason: str) -> None:
    """Ends the job: its run speaks another language than this service, and would again after a restart."""
    await end_attempt(session, job, "failed")
    error = {
        "code": FailureCode.INTERNAL.value,
        "message": f"The run sent something that cannot be stored: {reason}.",
        "hint": "Worker and service must have the same version; please report this if they have.",
    }
    fail(session, job, error, Cause(actor="worker", reason=reason))
