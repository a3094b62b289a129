"""What each event of a run does to its job, inside the transaction that stores it. The job is locked."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from api.checkpoints.models import Checkpoint as CheckpointRow
from api.events.models import JobEvent
from api.jobs.lifecycle import Cause, end_attempt, fail, move, requeue, retry_or_fail
from api.jobs.models import Attempt, Job
from api.loops.retention import prune
from api.metrics.repository import forget_blocks
from api.store.models import Blob
from espo_contracts.events import Checkpoint, Event, Failed, Finished, Metrics, Started
from espo_contracts.job import JobStatus

log = logging.getLogger(__name__)


async def apply(session: AsyncSession, job: Job, event: Event) -> None:
    """Changes job, attempt and checkpoints by an event; samples and logs change nothing."""
    match event:
        case Started():
            await _started(session, job, event)
        case Metrics():
            progress(job, [event])
        case Checkpoint():
            await _checkpoint(session, job, event)
        case Finished():
            await _finished(session, job, event)
        case Failed():
            await _failed(session, job, event)


async def _started(session: AsyncSession, job: Job, event: Started) -> None:
    if job.status == JobStatus.QUEUED:
        move(session, job, JobStatus.RUNNING, _worker(f"attempt {job.attempt} began on {event.device}"))
    job.total_steps = event.total_steps
    job.step = event.resumed_from or 0
    await _supersede(session, job, event.resumed_from)
    statement = update(Attempt).where(Attempt.job_id == job.id, Attempt.number == job.attempt)
    await session.execute(
        statement.values(started_at=time.time(), resumed_from=event.resumed_from),
        execution_options={"synchronize_session": False},
    )


async def _supersede(session: AsyncSession, job: Job, resumed_from: int | None) -> None:
    """Hides what earlier attempts measured after the checkpoint from which this one continues."""
    # A run from the beginning measures step 0 again too.
    after_step = -1 if resumed_from is None else resumed_from
    await forget_blocks(session, job, after_step=after_step)
    statement = (
        update(JobEvent)
        .where(JobEvent.job_id == job.id, JobEvent.type.in_(("metrics", "sample")))
        .where(JobEvent.is_superseded.is_(False), JobEvent.attempt < job.attempt)
        .where(JobEvent.step > after_step)
        .values(is_superseded=True)
    )
    await session.execute(statement, execution_options={"synchronize_session": False})


def progress(job: Job, events: Sequence[Metrics]) -> None:
    """Changes a job by the figures of its steps, in order: all at once, since a job may tell of thousands."""
    latest = dict(job.latest)
    for event in events:
        latest |= event.values
    job.step, job.latest = events[-1].step, latest


async def _checkpoint(session: AsyncSession, job: Job, event: Checkpoint) -> None:
    if not await _hold(session, event):
        log.error("checkpoint %d of %s is left out: its bytes are not in the store", event.step, job.id)
        return
    row: dict[str, Any] = {
        "attempt": job.attempt,
        "created_at": time.time(),
        "bytes": sum(file.size for file in event.files),
        "files": [file.model_dump(mode="json") for file in event.files],
        "metrics": event.metrics,
    }
    # The job's lock makes this an upsert: a later attempt may write the same step again.
    await session.merge(CheckpointRow(job_id=job.id, step=event.step, **row))
    await session.flush()
    await prune(session, job)


async def _hold(session: AsyncSession, event: Checkpoint) -> bool:
    """Touches the bytes' rows, so that no sweep takes them before the checkpoint's row refers to them.

    False when some are not there: the announcement lay longer than the sweep waits, in an outage of hours.
    """
    hashes = {file.sha256 for file in event.files}
    statement = update(Blob).where(Blob.sha256.in_(hashes)).values(touched_at=time.time())
    result: Any = await session.execute(statement, execution_options={"synchronize_session": False})
    return bool(result.rowcount == len(hashes))


async def _finished(session: AsyncSession, job: Job, event: Finished) -> None:
    await end_attempt(session, job, event.outcome)
    cause = _worker(f"attempt {job.attempt} ended at step {event.step}")
    match event.outcome:
        case "succeeded":
            if job.status == JobStatus.QUEUED:
                move(session, job, JobStatus.RUNNING, cause)
            move(session, job, JobStatus.SUCCEEDED, cause)
        case "cancelled":
            move(session, job, JobStatus.CANCELLED, cause)
        case "paused" | "handed_back":
            # By the wish of now: since the worker began to end, it may have become another.
            requeue(session, job, cause)


async def _failed(session: AsyncSession, job: Job, event: Failed) -> None:
    await end_attempt(session, job, "failed")
    error = {"code": event.code.value, "message": event.message, "hint": event.hint}
    cause = _worker(f"attempt {job.attempt} failed: {event.code.value}")
    if event.is_retryable:
        retry_or_fail(session, job, error, cause)
    else:
        fail(session, job, error, cause)


def _worker(reason: str) -> Cause:
    return Cause(actor="worker", reason=reason)
