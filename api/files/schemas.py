"""Files in the shape of OpenAI's, with two fields of our own."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from api.files.models import File


class FileObject(BaseModel):
    """An uploaded JSONL file whose every line is a JSON object."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    status_details: str | None = None
    expires_at: int | None = None
    rows: int
    sha256: str


class FileDeleted(BaseModel):
    """The file is gone."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


def file_object(row: File) -> FileObject:
    return FileObject(
        id=row.id,
        bytes=row.bytes,
        created_at=int(row.created_at),
        filename=row.filename,
        purpose=row.purpose,
        rows=row.rows,
        sha256=row.sha256,
    )
