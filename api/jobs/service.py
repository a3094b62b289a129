"""Decisions about jobs."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncSession

from api.errors import Code, DomainError, invalid, not_found
from api.ids import new_id
from api.jobs import lifecycle, repository
from api.jobs.document import Submission
from api.jobs.estimate import estimate
from api.jobs.models import Job
from api.jobs.prepare import Checker, prepare
from api.jobs.schemas import JobFilter, JobObject, JobSummary, Validation, summary_fields
from api.limits.quotas import admit_job, running_limit_reason
from api.loops.context import Context
from api.loops.workers import present
from api.pages import Page, page_of
from espo_contracts.job import JobSpec, JobStatus
from espo_contracts.validation import SpecError
from espo_contracts.wire import resource_class

_PRESENCE_SECONDS = 0.5


async def submit(checker: Checker, submission: Submission, *, reason: str = "submitted") -> tuple[Job, bool]:
    """The job of a submission, and whether it is new; `reason` is for its first event.

    Raises:
        DomainError: the document has errors, the key was used for another document, or the project has
            reached a limit.
    """
    known = await _replay(checker, submission)
    if known is not None:
        return known, False
    resolved = await _prepared(checker, submission.document)
    await admit_job(checker.session, checker.project_id)
    job = _new_job(checker, submission.document, resolved)
    if await _store(checker.session, job, submission, lifecycle.Cause(actor="user", reason=reason)):
        return job, True
    winner = await _replay(checker, submission)
    if winner is None:
        raise DomainError(Code.UNAVAILABLE, "a request with the same key was undone; send this one again")
    return winner, False


async def _prepared(checker: Checker, document: Any) -> JobSpec:
    try:
        return (await prepare(checker, document)).resolved
    except SpecError as error:
        count = len(error.errors)
        message = f"the job has {count} error{'s' * (count > 1)}: {error}"[:4000]
        raise DomainError(Code.INVALID_SPEC, message, errors=error.errors) from None


async def _replay(checker: Checker, submission: Submission) -> Job | None:
    """The job that this key already made; None when it is new or there is no key."""
    if submission.idempotency_key is None:
        return None
    row = await repository.remembered(checker.session, checker.project_id, submission.idempotency_key)
    if row is None:
        return None
    if row.body_sha256 != submission.body_sha256:
        message = f"this Idempotency-Key belongs to {row.job_id}, which was submitted with another body"
        raise DomainError(Code.IDEMPOTENCY_CONFLICT, message)
    return await get(checker.session, checker.project_id, row.job_id)


async def _store(session: AsyncSession, job: Job, submission: Submission, cause: lifecycle.Cause) -> bool:
    """Whether the job was stored; not so when a request with the same key was faster."""
    if submission.idempotency_key is None:
        await lifecycle.submit(session, job, cause)
        return True
    savepoint = await session.begin_nested()
    await lifecycle.submit(session, job, cause)
    is_ours = await repository.remember(session, job, submission.idempotency_key, submission.body_sha256)
    await (savepoint.commit() if is_ours else savepoint.rollback())
    return is_ours


def _new_job(checker: Checker, document: Any, resolved: JobSpec) -> Job:
    return Job(
        id=new_id("job"),
        project_id=checker.project_id,
        name=resolved.name,
        tags=resolved.tags,
        spec=document,
        resolved=resolved.model_dump(mode="json"),
        algorithm=resolved.algorithm.name,
        model=_model_name(resolved),
        device=resource_class(resolved.resources.device, resolved.resources.devices),
        file_id=resolved.data.file,
        priority=0,
        max_attempts=checker.settings.max_attempts,
        step=0,
        total_steps=resolved.schedule.steps,
        latest={},
        created_at=time.time(),
    )


def _model_name(spec: JobSpec) -> str:
    model = spec.model
    if model.hub is not None:
        return f"{model.hub.id}@{model.hub.revision}"
    if model.checkpoint is not None:
        return f"{model.checkpoint.job}:{model.checkpoint.step}"
    return str(model.name)


async def validate(checker: Checker, document: Any) -> Validation:
    """What submitting the document would do."""
    try:
        prepared = await prepare(checker, document)
    except SpecError as error:
        return Validation(is_valid=False, errors=error.errors, resolved=None, estimate=None)
    return Validation(
        is_valid=True,
        errors=[],
        resolved=prepared.resolved.model_dump(mode="json"),
        estimate=estimate(prepared.resolved, prepared.facts, prepared.data),
    )


async def get(session: AsyncSession, project_id: str, job_id: str) -> Job:
    """The project's job.

    Raises:
        DomainError: there is none of this id.
    """
    job = await repository.get(session, project_id, job_id)
    if job is None:
        raise not_found("job", job_id)
    return job


async def page(
    session: AsyncSession, project_id: str, wanted: JobFilter, *, after: str | None, limit: int
) -> Page[JobSummary]:
    """Jobs, newest first."""
    cursor = await repository.get(session, project_id, after) if after is not None else None
    if after is not None and cursor is None:
        raise invalid("query.after", f"no job {after!r}")
    jobs = await repository.newest(session, project_id, wanted, after=cursor, limit=limit + 1)
    shown = [JobSummary(**summary_fields(job)) for job in jobs[:limit]]
    return page_of(shown, has_more=len(jobs) > limit)


async def shown(session: AsyncSession, job: Job, context: Context) -> JobObject:
    """The job as the API shows it, with its place in the queue."""
    position = reason = None
    if job.status == JobStatus.QUEUED:
        before = await repository.jobs_before(session, job)
        position = before + 1
        reason = await running_limit_reason(session, job) or await _waiting_reason(context, job, before)
    documents = {"spec": job.spec, "resolved": job.resolved}
    return JobObject(**summary_fields(job), **documents, queue_position=position, waiting_reason=reason)


async def _waiting_reason(context: Context, job: Job, before: int) -> str:
    try:
        async with asyncio.timeout(_PRESENCE_SECONDS):
            workers = [worker for worker in await present(context.redis) if worker.serves(job.device)]
    except (RedisError, OSError, TimeoutError):
        return "Redis does not answer"
    if not workers:
        device, _, devices = job.device.partition(".")
        return f"no {device} worker{f' with {devices} devices' * bool(devices)} is connected"
    if before:
        return f"{before} job{'s' * (before > 1)} before this one"
    return "next; every worker is busy" if all(w.state == "busy" for w in workers) else "about to start"
