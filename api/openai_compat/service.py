"""Decisions of the OpenAI face: it makes and shows the jobs of `/v1/jobs`."""

from __future__ import annotations

import time
from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncSession

from api.checkpoints import service as checkpoints
from api.errors import Code, DomainError, invalid
from api.files import repository as files
from api.jobs import service as jobs
from api.jobs.document import Submission
from api.jobs.models import Job
from api.jobs.prepare import Checker
from api.openai_compat import repository
from api.openai_compat.mapping import job_document
from api.openai_compat.models import FineTuningRequest
from api.openai_compat.objects import event_id, event_object, fine_tuning_checkpoint, job_object
from api.openai_compat.request import CreateFineTuningJob
from api.openai_compat.schemas import FineTuningCheckpoint, FineTuningEvent, FineTuningJob
from api.pages import Page, page_of

RESENT_SECONDS = 600.0
"""The SDK sends a request again without an idempotency key; its time-out is ten minutes."""


async def create(
    checker: Checker,
    request: CreateFineTuningJob,
    *,
    body_sha256: str,
    idempotency_key: str | None,
    is_resent: bool,
) -> tuple[Job, bool]:
    """The job of a request, and whether it is new.

    Raises:
        DomainError: the job has errors, or the key was used for another body.
    """
    if is_resent and idempotency_key is None:
        since = time.time() - RESENT_SECONDS
        known = await repository.sent_before(checker.session, checker.project_id, body_sha256, since=since)
        if known is not None:
            return await jobs.get(checker.session, checker.project_id, known), False
    file = await files.get(checker.session, checker.project_id, request.training_file)
    document = job_document(request, rows=file.rows if file is not None else 0)
    submission = Submission(document=document, body_sha256=body_sha256, idempotency_key=idempotency_key)
    job, is_new = await jobs.submit(checker, submission, reason="submitted as a fine-tuning job")
    if is_new:
        checker.session.add(_row(job, request, body_sha256))
        await checker.session.flush()
    return job, is_new


def _row(job: Job, request: CreateFineTuningJob, body_sha256: str) -> FineTuningRequest:
    return FineTuningRequest(
        job_id=job.id,
        project_id=job.project_id,
        body=request.model_dump(mode="json", exclude_unset=True),
        labels=request.metadata,
        body_sha256=body_sha256,
        created_at=time.time(),
    )


async def shown(session: AsyncSession, job: Job) -> FineTuningJob:
    """The job with this face."""
    return job_object(job, await repository.request_of(session, job.id), now=time.time())


async def page(
    session: AsyncSession,
    project_id: str,
    *,
    after: str | None,
    limit: int,
    labels: Mapping[str, str] | None,
) -> Page[FineTuningJob]:
    """Jobs, newest first."""
    cursor = None
    if after is not None:
        cursor = await _known(session, project_id, after)
    found = await repository.newest(session, project_id, after=cursor, limit=limit + 1, labels=labels)
    items = [job_object(job, request, now=time.time()) for job, request in found[:limit]]
    return page_of(items, has_more=len(found) > limit)


async def _known(session: AsyncSession, project_id: str, job_id: str) -> Job:
    try:
        return await jobs.get(session, project_id, job_id)
    except DomainError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        raise invalid("query.after", f"no job {job_id!r}") from None


async def events(
    session: AsyncSession, project_id: str, job_id: str, *, after: str | None, limit: int
) -> Page[FineTuningEvent]:
    """The job's log, newest first, without samples."""
    job = await jobs.get(session, project_id, job_id)
    rows = await repository.events_before(session, job.id, before=_number(job.id, after), limit=limit + 1)
    return page_of([event_object(row) for row in rows[:limit]], has_more=len(rows) > limit)


def _number(job_id: str, cursor: str | None) -> int | None:
    if cursor is None:
        return None
    number = cursor.removeprefix(event_id(job_id, 0)[:-1])
    if not (number.isascii() and number.isdigit() and len(number) <= 18):
        raise invalid("query.after", f"no event {cursor!r}")
    return int(number)


async def checkpoint_page(
    session: AsyncSession, project_id: str, job_id: str, *, after: str | None, limit: int
) -> Page[FineTuningCheckpoint]:
    """The job's checkpoints, newest first."""
    found = await checkpoints.page(session, project_id, job_id, after=after, limit=limit)
    return page_of([fine_tuning_checkpoint(item) for item in found.data], has_more=found.has_more)
