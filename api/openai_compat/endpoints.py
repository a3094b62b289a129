"""`/v1/fine_tuning/jobs`: what OpenAI's SDK calls, over the rows of `/v1/jobs`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from api.dependencies import Reader, ReadSession, Writer, WriteSession, announce_after_commit
from api.errors import invalid
from api.jobs import control
from api.jobs import service as jobs
from api.jobs.document import IdempotencyKey
from api.jobs.endpoints import submission_checker
from api.jobs.models import Job
from api.jobs.prepare import Checker
from api.openai_compat import service
from api.openai_compat.request import CreateFineTuningJob, Labels
from api.openai_compat.schemas import FineTuningCheckpoint, FineTuningEvent, FineTuningJob
from api.pages import After, Limit, Page

router = APIRouter(prefix="/v1/fine_tuning/jobs", tags=["fine-tuning (OpenAI)"])

_LABELS: TypeAdapter[dict[str, str]] = TypeAdapter(Labels)
_LABEL = re.compile(r"metadata\[(.*)\]", re.DOTALL)
_FILTER: dict[str, Any] = {
    "parameters": [
        {
            "name": "metadata",
            "in": "query",
            "style": "deepObject",
            "explode": True,
            "description": "`metadata[key]=value`: jobs with it; `metadata=null`: jobs without any.",
            "schema": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 512}},
        }
    ]
}
RetryCount = Annotated[
    int,
    Header(
        alias="X-Stainless-Retry-Count",
        ge=0,
        le=1000,
        description="Sent by the SDK; of the same body within ten minutes, a repetition makes no second job.",
    ),
]


def wanted_labels(request: Request) -> Mapping[str, str] | None:
    """Labels that a list is asked for; None: jobs without any.

    Raises:
        DomainError: one that no job can have.
    """
    if request.query_params.get("metadata") == "null":
        return None
    given = request.query_params.items()
    labels = {found[1]: value for name, value in given if (found := _LABEL.fullmatch(name))}
    try:
        return _LABELS.validate_python(labels)
    except ValidationError as error:
        raise invalid("query.metadata", error.errors()[0]["msg"]) from None


@router.post("")
async def create_fine_tuning_job(
    request: Request,
    checker: Annotated[Checker, Depends(submission_checker, scope="function")],
    body: CreateFineTuningJob,
    idempotency_key: IdempotencyKey = None,
    retry_count: RetryCount = 0,
) -> FineTuningJob:
    """Submits a reinforcement fine-tuning job."""
    job, is_new = await service.create(
        checker,
        body,
        body_sha256=hashlib.sha256(await request.body()).hexdigest(),
        idempotency_key=idempotency_key,
        is_resent=retry_count > 0,
    )
    if is_new:
        announce_after_commit(checker.session, job)
    return await service.shown(checker.session, job)


@router.get("", openapi_extra=_FILTER)
async def list_fine_tuning_jobs(
    caller: Reader,
    session: ReadSession,
    labels: Annotated[Mapping[str, str] | None, Depends(wanted_labels)],
    after: After = None,
    limit: Limit = 20,
) -> Page[FineTuningJob]:
    """Jobs of the project, newest first, however they were submitted."""
    return await service.page(session, caller.project_id, after=after, limit=limit, labels=labels)


@router.get("/{job_id}")
async def get_fine_tuning_job(job_id: str, caller: Reader, session: ReadSession) -> FineTuningJob:
    """One job."""
    return await service.shown(session, await jobs.get(session, caller.project_id, job_id))


@router.post("/{job_id}/cancel")
async def cancel_fine_tuning_job(job_id: str, caller: Writer, session: WriteSession) -> FineTuningJob:
    """Cancels a job. Safe to repeat."""
    return await _changed(session, await control.cancel(session, caller.project_id, job_id))


@router.post("/{job_id}/pause")
async def pause_fine_tuning_job(job_id: str, caller: Writer, session: WriteSession) -> FineTuningJob:
    """Pauses a job: its status is then `queued`, and `espo.status` is `paused`. Safe to repeat."""
    return await _changed(session, await control.pause(session, caller.project_id, job_id))


@router.post("/{job_id}/resume")
async def resume_fine_tuning_job(job_id: str, caller: Writer, session: WriteSession) -> FineTuningJob:
    """Has a paused job go on. Safe to repeat."""
    return await _changed(session, await control.resume(session, caller.project_id, job_id))


@router.get("/{job_id}/events")
async def list_fine_tuning_events(
    job_id: str, caller: Reader, session: ReadSession, after: After = None, limit: Limit = 20
) -> Page[FineTuningEvent]:
    """The job's log, newest first."""
    return await service.events(session, caller.project_id, job_id, after=after, limit=limit)


@router.get("/{job_id}/checkpoints")
async def list_fine_tuning_checkpoints(
    job_id: str, caller: Reader, session: ReadSession, after: After = None, limit: Limit = 10
) -> Page[FineTuningCheckpoint]:
    """The job's checkpoints, newest first."""
    return await service.checkpoint_page(session, caller.project_id, job_id, after=after, limit=limit)


async def _changed(session: AsyncSession, job: Job) -> FineTuningJob:
    """The answer to a wish."""
    announce_after_commit(session, job)
    return await service.shown(session, job)
