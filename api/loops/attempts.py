"""Attempts in the database: the next one of a job, and what its worker needs to run it."""

from __future__ import annotations

import time
import uuid

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.checkpoints.models import Checkpoint
from api.db import Database
from api.files.models import File
from api.jobs.lifecycle import lock_job
from api.jobs.models import Attempt, Job
from api.loops.trained import trained_seconds
from espo_contracts.events import FileEntry
from espo_contracts.job import Desired, FailureCode, JobSpec
from espo_contracts.wire import Assignment, StoredFiles


class CannotStartError(Exception):
    """Something that the job needs is gone, so no attempt can ever start."""


async def next_attempt(session: AsyncSession, job: Job) -> Attempt:
    """The job's new live attempt, which continues from its newest checkpoint. The job is locked."""
    newest = select(Checkpoint.step).where(Checkpoint.job_id == job.id).order_by(Checkpoint.step.desc())
    job.attempt += 1
    attempt = Attempt(
        job_id=job.id,
        number=job.attempt,
        opened=uuid.uuid4().hex,
        last_seq=0,
        resumed_from=await session.scalar(newest.limit(1)),
        created_at=time.time(),
    )
    session.add(attempt)
    return attempt


async def reopen(database: Database, job_id: str, number: int, *, seen: str) -> Assignment | None:
    """The assignment of a live attempt under a new token; None when it has ended or its token is not `seen`.

    Only of one that a worker is known to have, for nobody else can claim it.

    Raises: as `assignment`.
    """
    async with database.write() as session:
        job = await lock_job(session, job_id)
        attempt = await session.get(Attempt, (job_id, number))
        if job is None or attempt is None or attempt.ended_at is not None or attempt.opened != seen:
            return None
        attempt.opened = uuid.uuid4().hex
        return (await assignment(session, job, attempt)).model_copy(update={"is_taken": True})


async def assignment(session: AsyncSession, job: Job, attempt: Attempt) -> Assignment:
    """What the attempt's worker needs.

    Raises:
        CannotStartError: the job's data file or base checkpoint is gone.
        pydantic.ValidationError: the job was stored under other rules than today's.
    """
    spec = JobSpec.model_validate(job.resolved)
    return Assignment(
        spec=spec,
        attempt=attempt.number,
        desired=Desired(job.desired),
        committed=attempt.last_seq,
        opened=attempt.opened,
        trained_seconds=await trained_seconds(session, attempt),
        resume=await _resume(session, attempt),
        data=await _data(session, job),
        base=await _base(session, spec),
    )


async def _resume(session: AsyncSession, attempt: Attempt) -> StoredFiles | None:
    if attempt.resumed_from is None:
        return None
    # Gone only when newer ones replaced it, and then this attempt has long read it.
    return await _stored(session, attempt.job_id, attempt.resumed_from)


async def _data(session: AsyncSession, job: Job) -> FileEntry | None:
    if job.file_id is None:
        return None
    file = await session.get(File, job.file_id)
    if file is None or file.deleted_at is not None:  # after the job's end, which a retry undid
        raise CannotStartError(f"its data file {job.file_id} is gone")
    return FileEntry(name="data.jsonl", size=file.bytes, sha256=file.sha256)


async def _base(session: AsyncSession, spec: JobSpec) -> StoredFiles | None:
    reference = spec.model.checkpoint
    if reference is None:
        return None
    stored = await _stored(session, reference.job, reference.step)
    if stored is None:
        raise CannotStartError(f"the checkpoint of step {reference.step} of {reference.job} is gone")
    return stored


async def _stored(session: AsyncSession, job_id: str, step: int) -> StoredFiles | None:
    row = await session.get(Checkpoint, (job_id, step))
    if row is None:
        return None
    return StoredFiles(files=[FileEntry.model_validate(file) for file in row.files], step=step)


def cannot_start(error: CannotStartError | ValidationError) -> dict[str, str]:
    """The job's error for its owner."""
    if isinstance(error, CannotStartError):
        return {
            "code": FailureCode.DATA_ERROR.value,
            "message": f"The job cannot start: {error}.",
            "hint": "Submit it again with a file or checkpoint that exists.",
        }
    return {
        "code": FailureCode.INVALID_SPEC.value,
        "message": f"The stored job is not valid for this version of ESPO: {error.errors()[0]['msg']}.",
        "hint": "Submit it again.",
    }
