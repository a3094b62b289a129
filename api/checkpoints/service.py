"""Finding checkpoints, and their files."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from api.checkpoints import repository
from api.checkpoints.models import Checkpoint
from api.checkpoints.quality import best
from api.checkpoints.schemas import CheckpointObject, checkpoint_object
from api.errors import invalid, not_found
from api.jobs import service as jobs
from api.jobs.lifecycle import lock_job
from api.loops.retention import prune
from api.pages import Page, page_of
from api.store.serving import Content
from espo_contracts.events import FileEntry

_MEDIA_TYPES = {".json": "application/json", ".txt": "text/plain; charset=utf-8"}


async def page(
    session: AsyncSession, project_id: str, job_id: str, *, after: str | None, limit: int
) -> Page[CheckpointObject]:
    """A job's checkpoints, newest first."""
    job = await jobs.get(session, project_id, job_id)
    rows = [checkpoint_object(row) for row in reversed(await repository.of_job(session, job.id))]
    ids = [row.id for row in rows]
    if after is not None and after not in ids:
        raise invalid("query.after", f"no checkpoint {after!r}")
    start = 0 if after is None else ids.index(after) + 1
    return page_of(rows[start : start + limit], has_more=len(rows) > start + limit)


async def get(session: AsyncSession, project_id: str, job_id: str, step: str) -> Checkpoint:
    """The checkpoint of a step, or the `latest`, or the `best`.

    Raises:
        DomainError: the project has no such job, or the job no such checkpoint.
    """
    job = await jobs.get(session, project_id, job_id)
    row = _chosen(await repository.of_job(session, job.id), step)
    if row is None:
        raise not_found("checkpoint", f"{job.id}:{step}")
    return row


async def pin(
    session: AsyncSession, project_id: str, job_id: str, step: str, *, is_pinned: bool
) -> Checkpoint:
    """The checkpoint, from now on kept whatever the job's rule says, or again subject to it.

    Raises:
        DomainError: as `get`.
    """
    await jobs.get(session, project_id, job_id)
    job = await lock_job(session, job_id)  # no other transaction deletes a checkpoint meanwhile
    row = await get(session, project_id, job_id, step)
    row.is_pinned = is_pinned
    await session.flush()
    if job is not None and not is_pinned:
        await prune(session, job)
    return row


def _chosen(rows: Sequence[Checkpoint], step: str) -> Checkpoint | None:
    if step == "latest":
        return rows[-1] if rows else None
    if step == "best":
        return best(rows)
    return next((row for row in rows if str(row.step) == step), None)


def file_of(row: Checkpoint, name: str) -> Content:
    """A file of a checkpoint.

    Raises:
        DomainError: it has none of this name.
    """
    for entry in files_of(row):
        if entry.name == name:
            media_type = _MEDIA_TYPES.get(f".{name.rpartition('.')[2]}", "application/octet-stream")
            return Content(sha256=entry.sha256, size=entry.size, name=name, media_type=media_type)
    raise not_found("file", name)


def files_of(row: Checkpoint) -> list[FileEntry]:
    return [FileEntry.model_validate(entry) for entry in row.files]
