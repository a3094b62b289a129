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

Outcome = Literal["succeeded", "failed", "cancelled", "paused", "handed_back", "lost", "replaced"]

# Where a job comes to rest when its attempt ended but the user had already asked it to stop.
_RESTS = {Desired.CANCEL: JobStatus.CANCELLED, Desired.PAUSE: JobStatus.PAUSED}
# What a running job is about to become, in words.
_UNDER_WAY = {Desired.CANCEL: " and about to be cancelled", Desired.PAUSE: " and about to be paused"}
# Ends that are no failure of the job, and use up none of its attempts.
_UNBLAMED: frozenset[Outcome] = frozenset({"paused", "handed_back", "replaced"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Who changed a job, and why, in words for its owner."""

    actor: Literal["user", "dispatcher", "worker", "reconciler"]
    reason: str


class IllegalTransitionError(Exception):
    """The job cannot go from its status to the wanted one."""

    def __init__(self, job: Job, wanted: JobStatus) -> None:
        wish = _wish_of(job)
        self.state = f"{job.status}{_UNDER_WAY.get(wish, '') if wish else ''}"
        super().__init__(f"job {job.id} is {self.state} and cannot become {wanted}")


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
    status = JobStatus(job.status)
    if status is JobStatus.CANCELLED:
        return
    if status.is_terminal:
        raise IllegalTransitionError(job, JobStatus.CANCELLED)
    await _request_stop(session, job, Desired.CANCEL, cause)


async def request_pause(session: AsyncSession, job: Job, cause: Cause) -> None:
    """Pauses at once what waits; leaves the wish for a run, whose worker saves and ends it. Idempotent.

    Raises:
        IllegalTransitionError: the job is over, or about to be cancelled.
    """
    status = JobStatus(job.status)
    if status is JobStatus.PAUSED:
        return
    if status.is_terminal or _wish_of(job) is Desired.CANCEL:
        raise IllegalTransitionError(job, JobStatus.PAUSED)
    await _request_stop(session, job, Desired.PAUSE, cause)


def request_resume(session: AsyncSession, job: Job, cause: Cause) -> None:
    """Makes a paused job wait for its next attempt; takes a pause back that is not done yet. Idempotent:
    nothing happens to a job that waits or runs anyway.

    Raises:
        IllegalTransitionError: the job is over, or about to be cancelled.
    """
    status = JobStatus(job.status)
    if status.is_terminal or _wish_of(job) is Desired.CANCEL:
        raise IllegalTransitionError(job, JobStatus.QUEUED)
    if job.desired == Desired.RUN:
        return
    job.desired = Desired.RUN.value
    if status is JobStatus.RUNNING:
        log_state(session, job, cause, previous=status)
        return
    # Whoever resumes wants one more, also after failures before the pause.
    job.max_attempts = max(job.max_attempts, job.attempt + 1)
    move(session, job, JobStatus.QUEUED, cause)


def request_retry(session: AsyncSession, job: Job, cause: Cause, *, attempts: int) -> None:
    """Makes a job that failed or was cancelled wait again, with so many attempts to come; the next one goes
    on from its newest checkpoint. Idempotent: nothing happens to a job that waits or runs already.

    Raises:
        IllegalTransitionError: the job has succeeded, or is paused, or about to be paused or cancelled.
    """
    status = JobStatus(job.status)
    if status in {JobStatus.QUEUED, JobStatus.RUNNING} and job.desired == Desired.RUN:
        return
    if status not in {JobStatus.FAILED, JobStatus.CANCELLED}:
        raise IllegalTransitionError(job, JobStatus.QUEUED)
    job.desired, job.error, job.finished_at = Desired.RUN.value, None, None
    job.max_attempts = job.attempt + attempts
    move(session, job, JobStatus.QUEUED, cause)


def _wish_of(job: Job) -> Desired | None:
    """What a running job is to become; elsewhere a wish has been met, or came too late."""
    return Desired(job.desired) if job.status == JobStatus.RUNNING else None


async def _request_stop(session: AsyncSession, job: Job, desired: Desired, cause: Cause) -> None:
    if _wish_of(job) is desired:
        return
    job.desired = desired.value
    if job.status == JobStatus.RUNNING:
        log_state(session, job, cause, previous=JobStatus.RUNNING)
        return
    await end_attempt(session, job, "paused" if desired is Desired.PAUSE else "cancelled")
    move(session, job, _RESTS[desired], cause)


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
    return allot_numbers(job, 1)[0]


def allot_numbers(job: Job, count: int) -> range:
    """The numbers of the job's next so many events."""
    first = job.event_count + 1
    job.event_count += count
    return range(first, first + count)


async def end_attempt(session: AsyncSession, job: Job, outcome: Outcome) -> bool:
    """Closes the job's live attempt; False when there is none. From then on its events are refused."""
    statement = (
        update(Attempt)
        .where(Attempt.job_id == job.id, Attempt.number == job.attempt, Attempt.ended_at.is_(None))
        .values(outcome=outcome, ended_at=time.time())
    )
    result: Any = await session.execute(statement, execution_options={"synchronize_session": False})
    has_ended = bool(result.rowcount)
    if has_ended and outcome in _UNBLAMED:
        job.max_attempts += 1
    return has_ended


def retry_or_fail(session: AsyncSession, job: Job, error: dict[str, Any], cause: Cause) -> None:
    """After an attempt that was lost or failed for a passing reason: the next one, or the end of the job.

    `error` ({code, message, hint}) is kept only when the attempts are used up.
    """
    if job.desired == Desired.RUN and job.attempt >= job.max_attempts:
        fail(session, job, error, cause)
    else:
        requeue(session, job, cause)


def requeue(session: AsyncSession, job: Job, cause: Cause) -> None:
    """Makes the job wait for its next attempt, or rest where its user wants it.

    One that had not started waits on, with the reason logged.
    """
    status = _RESTS.get(Desired(job.desired), JobStatus.QUEUED)
    if status is JobStatus.QUEUED and job.status == status:
        log_state(session, job, cause, previous=status)
    else:
        move(session, job, status, cause)


def fail(session: AsyncSession, job: Job, error: dict[str, Any], cause: Cause) -> None:
    """Ends the job as failed, with `error` ({code, message, hint}) for its owner."""
    job.error = error
    move(session, job, JobStatus.FAILED, cause)
