"""`/v1/jobs`: submit, validate, list, get; cancel, pause, resume, retry, clone."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from sqlalchemy.ext.asyncio import AsyncSession

from api.dependencies import Reader, ReadSession, Shared, Writer, WriteSession, announce_after_commit
from api.jobs import control, service
from api.jobs.document import Changes, Submitted
from api.jobs.models import Job
from api.jobs.prepare import Checker
from api.jobs.schemas import JobFilter, JobObject, JobSummary, Validation, job_filter
from api.openapi import JOB_CHANGES, JOB_DOCUMENT
from api.pages import After, Limit, Page
from api.resources import Resources

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


def submission_checker(caller: Writer, session: WriteSession, shared: Shared) -> Checker:
    return Checker(
        session=session, project_id=caller.project_id, catalogue=shared.catalogue, settings=shared.settings
    )


def validation_checker(caller: Reader, session: ReadSession, shared: Shared) -> Checker:
    return Checker(
        session=session, project_id=caller.project_id, catalogue=shared.catalogue, settings=shared.settings
    )


@router.post("", status_code=201, openapi_extra=JOB_DOCUMENT)
async def submit_job(
    # Dependencies are solved in order: who may not submit is told so before the body is looked at.
    checker: Annotated[Checker, Depends(submission_checker, scope="function")],
    submission: Submitted,
    shared: Shared,
    response: Response,
) -> JobObject:
    """Submits a job. With an `Idempotency-Key` it is safe to send again."""
    job, is_new = await service.submit(checker, submission)
    return await _made(job, checker, shared, response, is_new=is_new)


@router.post("/validate", openapi_extra=JOB_DOCUMENT)
async def validate_job(
    checker: Annotated[Checker, Depends(validation_checker, scope="function")], submission: Submitted
) -> Validation:
    """Checks a job as a submission would, fills in every default, and estimates its needs. Stores nothing."""
    return await service.validate(checker, submission.document)


@router.get("")
async def list_jobs(
    caller: Reader,
    session: ReadSession,
    wanted: Annotated[JobFilter, Depends(job_filter)],
    after: After = None,
    limit: Limit = 20,
) -> Page[JobSummary]:
    """Jobs of the project, newest first."""
    return await service.page(session, caller.project_id, wanted, after=after, limit=limit)


@router.get("/{job_id}")
async def get_job(job_id: str, caller: Reader, session: ReadSession, shared: Shared) -> JobObject:
    """One job, with its document as given and as resolved."""
    job = await service.get(session, caller.project_id, job_id)
    return await service.shown(session, job, shared.context)


@router.post("/{job_id}/cancel")
async def cancel_job(job_id: str, caller: Writer, session: WriteSession, shared: Shared) -> JobObject:
    """Cancels a job: a waiting one at once, a running one within a second or two. Safe to repeat."""
    return await _changed(await control.cancel(session, caller.project_id, job_id), session, shared)


@router.post("/{job_id}/pause")
async def pause_job(job_id: str, caller: Writer, session: WriteSession, shared: Shared) -> JobObject:
    """Pauses a job: a waiting one at once, a running one once it has saved its last step. Safe to repeat."""
    return await _changed(await control.pause(session, caller.project_id, job_id), session, shared)


@router.post("/{job_id}/resume")
async def resume_job(job_id: str, caller: Writer, session: WriteSession, shared: Shared) -> JobObject:
    """Has a paused job wait for a worker, which goes on exactly where it stopped. Safe to repeat."""
    return await _changed(await control.resume(session, caller.project_id, job_id), session, shared)


@router.post("/{job_id}/retry")
async def retry_job(job_id: str, caller: Writer, session: WriteSession, shared: Shared) -> JobObject:
    """Has a job that failed or was cancelled go on from its newest checkpoint, with all its attempts anew.

    Safe to repeat.
    """
    attempts = shared.settings.max_attempts
    job = await control.retry(session, caller.project_id, job_id, attempts=attempts)
    return await _changed(job, session, shared)


@router.post("/{job_id}/clone", status_code=201, openapi_extra=JOB_CHANGES)
async def clone_job(
    job_id: str,
    checker: Annotated[Checker, Depends(submission_checker, scope="function")],
    changes: Changes,
    shared: Shared,
    response: Response,
) -> JobObject:
    """Submits the same job again, with the body's changes: a JSON merge patch (RFC 7396) of its document.

    With an `Idempotency-Key` it is safe to send again.
    """
    job, is_new = await control.clone(checker, job_id, changes)
    return await _made(job, checker, shared, response, is_new=is_new)


async def _made(
    job: Job, checker: Checker, shared: Resources, response: Response, *, is_new: bool
) -> JobObject:
    """The answer to a submission."""
    if is_new:
        announce_after_commit(checker.session, job)
    response.headers["location"] = f"/v1/jobs/{job.id}"
    response.headers["idempotent-replayed"] = str(not is_new).lower()
    return await service.shown(checker.session, job, shared.context)


async def _changed(job: Job, session: AsyncSession, shared: Resources) -> JobObject:
    """The answer to a wish."""
    announce_after_commit(session, job)
    return await service.shown(session, job, shared.context)
