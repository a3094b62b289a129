"""What a user may want of a job that exists: cancel, pause, resume, retry, and another one like it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from api.errors import Code, DomainError, invalid, not_found
from api.jobs import lifecycle, service
from api.jobs.document import Submission
from api.jobs.lifecycle import Cause, IllegalTransitionError
from api.jobs.models import Job
from api.jobs.prepare import Checker
from api.limits.quotas import admit_job
from espo_contracts.job import JobStatus

_DEEPEST = 32
"""Levels of a clone's changes; a job has six."""


async def cancel(session: AsyncSession, project_id: str, job_id: str) -> Job:
    """The job, cancelled or about to be.

    Raises:
        DomainError: there is none, or it has ended otherwise.
    """

    async def act(job: Job) -> None:
        await lifecycle.request_cancel(session, job, Cause(actor="user", reason="cancel requested"))

    return await _change(session, project_id, job_id, "cancelled", act)


async def pause(session: AsyncSession, project_id: str, job_id: str) -> Job:
    """The job, paused or about to be.

    Raises:
        DomainError: there is none, or it is over or being cancelled.
    """

    async def act(job: Job) -> None:
        await lifecycle.request_pause(session, job, Cause(actor="user", reason="pause requested"))

    return await _change(session, project_id, job_id, "paused", act)


async def resume(session: AsyncSession, project_id: str, job_id: str) -> Job:
    """The job, which waits or runs.

    Raises:
        DomainError: there is none, it is over or being cancelled, or the project has reached a limit.
    """

    async def act(job: Job) -> None:
        if job.status == JobStatus.PAUSED:
            await admit_job(session, project_id)
        lifecycle.request_resume(session, job, Cause(actor="user", reason="resume requested"))

    return await _change(session, project_id, job_id, "resumed", act)


async def retry(session: AsyncSession, project_id: str, job_id: str, *, attempts: int) -> Job:
    """The job, which waits or runs, with so many attempts from now on.

    Raises:
        DomainError: there is none, it has neither failed nor been cancelled, or the project has reached a
            limit.
    """

    async def act(job: Job) -> None:
        if job.status in {JobStatus.FAILED, JobStatus.CANCELLED}:
            await admit_job(session, project_id)
        cause = Cause(actor="user", reason="retry requested")
        lifecycle.request_retry(session, job, cause, attempts=attempts)

    return await _change(session, project_id, job_id, "retried", act)


async def clone(checker: Checker, job_id: str, changes: Submission) -> tuple[Job, bool]:
    """A new job of the same document with changes, as JSON merge patch (RFC 7396), and whether it is new.

    Raises:
        DomainError: there is no such job, or the changed document has errors.
    """
    job = await service.get(checker.session, checker.project_id, job_id)
    submission = replace(changes, document=merged(job.spec, changes.document))
    return await service.submit(checker, submission, reason=f"cloned from {job_id}")


def merged(document: Any, changes: Any, *, depth: int = 0) -> Any:
    """The document after a merge patch: null removes, an object changes what it names, all else replaces.

    Raises:
        DomainError: the patch is nested too deeply.
    """
    if depth > _DEEPEST:
        raise invalid("body", "the changes are nested too deeply")
    if not isinstance(changes, dict):
        return changes
    kept = dict(document) if isinstance(document, dict) else {}
    for name, change in changes.items():
        if change is None:
            kept.pop(name, None)
        else:
            kept[name] = merged(kept.get(name), change, depth=depth + 1)
    return kept


async def _change(
    session: AsyncSession, project_id: str, job_id: str, verb: str, act: Callable[[Job], Awaitable[None]]
) -> Job:
    """The project's job after `act` on it, locked."""
    await service.get(session, project_id, job_id)
    job = await lifecycle.lock_job(session, job_id)
    if job is None:
        raise not_found("job", job_id)
    try:
        await act(job)
    except IllegalTransitionError as error:
        message = f"{job_id} is {error.state} and cannot be {verb}"
        raise DomainError(Code.STATE_CONFLICT, message) from None
    await session.flush()
    return job
