"""`/v1/files`: upload, list, get, content, delete."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from api.audit.service import concerns
from api.dependencies import Reader, ReadSession, Shared, Writer, WriteSession
from api.files import service
from api.files.schemas import FileDeleted, FileObject, file_object
from api.files.upload import received
from api.limits.quotas import admit_upload
from api.limits.uploads import Uploader
from api.pages import After, Limit, Page
from api.store.serving import serve

router = APIRouter(prefix="/v1/files", tags=["files"])

_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "purpose": {"enum": ["fine-tune", "evals", "user_data"], "default": "fine-tune"},
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "JSON objects, one a line.",
                        },
                    },
                }
            }
        },
    }
}


@router.post("", openapi_extra=_FORM)
async def upload_file(
    request: Request, caller: Uploader, session: WriteSession, shared: Shared
) -> FileObject:
    """Uploads a JSONL file. Every line is checked; the error names the line."""
    async with received(request, shared.settings.home) as upload:
        row = await service.keep(shared.context, caller.project_id, upload)
    await admit_upload(session, caller.project_id, row.bytes)
    session.add(row)
    concerns(session, row.id)
    return file_object(row)


@router.get("")
async def list_files(
    caller: Reader,
    session: ReadSession,
    after: After = None,
    limit: Limit = 20,
    order: Annotated[Literal["asc", "desc"], Query(description="By age.")] = "desc",
    purpose: Annotated[str | None, Query(max_length=32, description="Only of this purpose.")] = None,
) -> Page[FileObject]:
    """Files of the project."""
    return await service.page(
        session, caller.project_id, after=after, limit=limit, order=order, purpose=purpose
    )


@router.get("/{file_id}")
async def get_file(file_id: str, caller: Reader, session: ReadSession) -> FileObject:
    """One file."""
    return file_object(await service.get(session, caller.project_id, file_id))


@router.head("/{file_id}/content", include_in_schema=False)
@router.get("/{file_id}/content", response_class=Response)
async def get_file_content(file_id: str, caller: Reader, shared: Shared, request: Request) -> Response:
    """Its bytes, as they were uploaded."""
    async with shared.context.database.read() as session:
        row = await service.get(session, caller.project_id, file_id)
    return await serve(shared.context.store, service.content_of(row), request)


@router.delete("/{file_id}")
async def delete_file(file_id: str, caller: Writer, session: WriteSession) -> FileDeleted:
    """Forgets a file that no unfinished job needs."""
    await service.delete(session, caller.project_id, file_id)
    return FileDeleted(id=file_id)
