"""Keeping and finding uploaded files."""

from __future__ import annotations

import asyncio
import time
from typing import Literal, get_args

from sqlalchemy.ext.asyncio import AsyncSession

from api.errors import Code, DomainError, invalid, not_found
from api.files import repository
from api.files.lines import count_rows
from api.files.models import File
from api.files.schemas import FileObject, file_object
from api.files.upload import Upload
from api.ids import new_id
from api.loops.context import Context
from api.pages import Page, page_of
from api.store import repository as blobs
from api.store.serving import Content

Purpose = Literal["fine-tune", "evals", "user_data"]


async def keep(context: Context, project_id: str, upload: Upload) -> File:
    """The row of an upload whose every line is right and whose bytes are in the store.

    Raises:
        DomainError: a line is wrong, the purpose is none of ours, or the file is to expire.
    """
    purpose = _purpose(upload.fields.get("purpose", b"fine-tune"))
    if any(name.startswith("expires_after") for name in upload.fields):
        raise invalid("expires_after", "files here do not expire; DELETE ends them")
    rows = await asyncio.to_thread(count_rows, upload.path)
    sha256 = upload.hash.hexdigest()
    # A transaction of its own before the bytes are stored: see `touch`.
    async with context.database.write() as session:
        await blobs.touch(session, sha256, upload.size)
    await asyncio.to_thread(context.store.adopt, upload.path, sha256)
    return File(
        id=new_id("file"),
        project_id=project_id,
        filename=upload.filename or "data.jsonl",
        purpose=purpose,
        bytes=upload.size,
        rows=rows,
        sha256=sha256,
        created_at=time.time(),
        deleted_at=None,
    )


def _purpose(value: bytes) -> str:
    purpose = value.decode("utf-8", "replace")
    if purpose not in get_args(Purpose):
        raise invalid("purpose", f"one of {', '.join(get_args(Purpose))}")
    return purpose


async def get(session: AsyncSession, project_id: str, file_id: str) -> File:
    """The project's file.

    Raises:
        DomainError: there is none of this id.
    """
    row = await repository.get(session, project_id, file_id)
    if row is None:
        raise not_found("file", file_id)
    return row


async def page(
    session: AsyncSession,
    project_id: str,
    *,
    after: str | None,
    limit: int,
    order: Literal["asc", "desc"],
    purpose: str | None,
) -> Page[FileObject]:
    """Files by age; with a purpose only those of it."""
    cursor = await repository.get(session, project_id, after) if after is not None else None
    if after is not None and cursor is None:
        raise invalid("query.after", f"no file {after!r}")
    rows = await repository.page(
        session, project_id, after=cursor, limit=limit + 1, is_ascending=order == "asc", purpose=purpose
    )
    return page_of([file_object(row) for row in rows[:limit]], has_more=len(rows) > limit)


async def delete(session: AsyncSession, project_id: str, file_id: str) -> None:
    """Forgets a file; its bytes go with the store's next sweep.

    Raises:
        DomainError: there is none, or a job that has not ended needs it.
    """
    row = await get(session, project_id, file_id)
    job_id = await repository.live_job_of(session, file_id)
    if job_id is not None:
        raise DomainError(Code.STATE_CONFLICT, f"{job_id} needs this file; cancel it or wait for its end")
    row.deleted_at = time.time()
    await session.flush()


def content_of(row: File) -> Content:
    return Content(sha256=row.sha256, size=row.bytes, name=row.filename, media_type="application/jsonl")
