"""The state machine of a job: every change of status or wish goes through here and is an event of its log.

All functions want the job as `lock_job` gives it: its row is locked until the transaction ends, and whoever
changes a job or its attempts locks the job first, so two writers never wait for each other in a circle.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.events.models import JobEvent
from api.jobs.models import Attempt, Job
from espo_contracts.job import TRANSITIONS, Desired, JobStatus

Outcome = Literal["succeeded", "failed", "cancelled", "paused", "handed_back", "lost"]

# Where a job comes to rest when its attempt ended in trouble but the user had already asked it to stop.
_RESTS = {Desired.CANCEL: JobStatus.CANCELLED, Desired.PAUSE: JobStatus.PAUSED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Who changed a job, and why, in words for its owner."""

    actor: Literal["user", "dispatcher", "worker", "reconciler"]
    reason: str


class IllegalTransitionError(Exception):
    """The job cannot go from its status to the wanted one."""

    def __init__(self, job: Job, wanted: JobStatus) -> None:
        super().__init__(f"job {job.id} is {job.status} and cannot become {wanted}")
        self.job_id = job.id
        self.status = JobStatus(job.status)
        self.wanted = wanted


async def lock_job(session: AsyncSession, job_id: str) -> Job | None:
    """The job as it is now, its row locked until the transaction ends; None when there is none.

    SQLite knows no row locks; there a writing session holds the one write lock from its first statement.
    """
    query = select(Job).where(Job.id == job_id).with_for_update().execution_options(populate_existing=True)
    return (await session.execute(query)).scalar_one_or_none()


async def submit(session: AsyncSession, job: Job, cause: Cause) -> None:
    """Stores a new job as queued, with the first event of its log."""
    job.status, job.desired, job.attempt, job.event_count = JobStatus.QUEUED.value, Desired.RUN.value, 0, 0
    session.add(job)
    await session.flush()  # events refer to the job, and the unit of work does not know that
    log_state(session, job, cause, previous=None)


async def request_cancel(session: AsyncSession, job: Job, cause: Cause) -> None:
    """Cancels at once what does not run; leaves the wish for a run, whose worker stops it. Idempotent.

    Raises:
        IllegalTransitionError: the job has succeeded or failed.
    """
    if job.status == JobStatus.CANCELLED or job.desired == Desired.CANCEL:
        return
    if JobStatus(job.status).is_terminal:
        raise IllegalTransitionError(job, JobStatus.CANCELLED)
    job.desired = Desired.CANCEL.value
    if job.status == JobStatus.RUNNING:
        log_state(session, job, cause, previous=JobStatus.RUNNING)
        return
    await end_attempt(session, job, "cancelled")
    move(session, job, JobStatus.CANCELLED, cause)


def move(session: AsyncSession, job: Job, status: JobStatus, cause: Cause) -> None:
    """Changes the status, with its times and its event.

    Raises:
        IllegalTransitionError: the transition table does not have this change.
    """
    previous = JobStatus(job.status)
    if status not in TRANSITIONS[previous]:
        raise IllegalTransitionError(job, status)
    job.status = status.value
    if status is JobStatus.RUNNING and job.started_at is None:
        job.started_at = time.time()
    if status.is_terminal:
        job.finished_at = time.time()
    log_state(session, job, cause, previous=previous)


def log_state(session: AsyncSession, job: Job, cause: Cause, *, previous: JobStatus | None) -> None:
    """Adds a `state` event with the job's status and wish as they are now."""
    data = {
        "status": job.status,
        "previous": previous and previous.value,
        "desired": job.desired,
        "actor": cause.actor,
        "reason": cause.reason,
    }
    event = JobEvent(
        job_id=job.id,
        number=allot_number(job),
        attempt=job.attempt or None,
        seq=None,
        time=time.time(),
        type="state",
        step=None,
        is_superseded=False,
        data=data,
    )
    session.add(event)


def allot_number(job: Job) -> int:
    """The number of the job's next event. Gapless, because the job is locked and the count is its column."""
    job.event_count += 1
    return job.event_count


async def end_attempt(session: AsyncSession, job: Job, outcome: Outcome) -> bool:
    """Closes the job's live attempt; False when there is none. From then on its events are refused."""
    statement = (
        update(Attempt)
        .where(Attempt.job_id == job.id, Attempt.number == job.attempt, Attempt.ended_at.is_(None))
        .values(outcome=outcome, ended_at=time.time())
    )
    result: Any = await session.execute(statement, execution_options={"synchronize_session": False})
    return bool(result.rowcount)


def retry_or_fail(session: AsyncSession, job: Job, error: dict[str, Any], cause: Cause) -> None:
    """After an attempt that was lost or failed for a passing reason: the next one, or the end of the job.

    `error` ({code, message, hint}) is kept only when the attempts are used up.
    """
    rest = _RESTS.get(Desired(job.desired))
    if rest is not None:
        move(session, job, rest, cause)
    elif job.attempt >= job.max_attempts:
        fail(session, job, error, cause)
    else:
        requeue(session, job, cause)


def requeue(session: AsyncSession, job: Job, cause: Cause) -> None:
    """Makes the job wait for its next attempt; one that had not started waits on, with the reason logged."""
    if job.status == JobStatus.QUEUED:
        log_state(session, job, cause, previous=JobStatus.QUEUED)
    else:
        move(session, job, JobStatus.QUEUED, cause)


def fail(session: AsyncSession, job: Job, error: dict[str, Any], cause: Cause) -> None:
    """Ends the job as failed, with `error` ({code, message, hint}) for its owner."""
    job.error = error
    move(session, job, JobStatus.FAILED, cause)
