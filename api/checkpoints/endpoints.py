"""`/v1/jobs/{id}/checkpoints`: list, one, a file, all of it as a tar. `latest` and `best` are steps too."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse

from api.checkpoints import service
from api.checkpoints.archive import Archive
from api.checkpoints.schemas import CheckpointObject, checkpoint_object
from api.conditional import IfNoneMatch, is_known
from api.dependencies import Reader, ReadSession, Shared, Writer, WriteSession
from api.pages import After, Limit, Page
from api.store.serving import serve

router = APIRouter(prefix="/v1/jobs/{job_id}/checkpoints", tags=["checkpoints"])

Step = Annotated[str, Path(pattern=r"^(\d{1,9}|latest|best)$", description="A step, `latest` or `best`.")]

_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}, "application/json": {}, "text/plain": {}}},
    206: {"description": "The asked range."},
}


@router.get("")
async def list_checkpoints(
    job_id: str, caller: Reader, session: ReadSession, after: After = None, limit: Limit = 20
) -> Page[CheckpointObject]:
    """Checkpoints, newest first. One is listed as soon as all of it can be downloaded."""
    return await service.page(session, caller.project_id, job_id, after=after, limit=limit)


@router.get("/{step}")
async def get_checkpoint(job_id: str, step: Step, caller: Reader, session: ReadSession) -> CheckpointObject:
    """One checkpoint, with size and SHA-256 of each file."""
    return checkpoint_object(await service.get(session, caller.project_id, job_id, step))


@router.post("/{step}/pin")
async def pin_checkpoint(job_id: str, step: Step, caller: Writer, session: WriteSession) -> CheckpointObject:
    """Keeps a checkpoint for as long as its job, whatever `schedule.keep` says. Safe to repeat."""
    return checkpoint_object(await service.pin(session, caller.project_id, job_id, step, is_pinned=True))


@router.delete("/{step}/pin")
async def unpin_checkpoint(
    job_id: str, step: Step, caller: Writer, session: WriteSession
) -> CheckpointObject:
    """Keeps a checkpoint no longer than `schedule.keep` says: one that is neither among the newest nor the
    best is deleted. Safe to repeat as long as it is there."""
    return checkpoint_object(await service.pin(session, caller.project_id, job_id, step, is_pinned=False))


@router.head("/{step}/files/{name}", include_in_schema=False)
@router.get("/{step}/files/{name}", response_class=Response, responses=_BYTES)
async def get_checkpoint_file(
    job_id: str, step: Step, name: str, caller: Reader, shared: Shared, request: Request
) -> Response:
    """One file. Knows `Range`, `If-Range` and `If-None-Match`; the ETag is its SHA-256."""
    async with shared.context.database.read() as session:
        row = await service.get(session, caller.project_id, job_id, step)
    return await serve(shared.context.store, service.file_of(row, name), request)


@router.get(
    "/{step}/archive", response_class=Response, responses={200: {"content": {"application/x-tar": {}}}}
)
async def get_checkpoint_archive(
    job_id: str, step: Step, caller: Reader, shared: Shared, if_none_match: IfNoneMatch = None
) -> Response:
    """The whole folder as one tar."""
    async with shared.context.database.read() as session:
        row = await service.get(session, caller.project_id, job_id, step)
    archive = Archive(folder=f"checkpoint-{row.step}", time=row.created_at, files=service.files_of(row))
    if is_known(if_none_match, archive.etag):
        return Response(status_code=304, headers={"etag": archive.etag})
    headers = {
        "etag": archive.etag,
        "content-length": str(archive.size),
        "content-disposition": f'attachment; filename="{job_id}-{row.step}.tar"',
    }
    return StreamingResponse(
        archive.stream(shared.context.store), headers=headers, media_type="application/x-tar"
    )
