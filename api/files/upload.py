"""Receives a multipart upload: the file's bytes go straight to the disk that keeps them, hashed on the way.

FastAPI's own form parser would spool the body to the system's temporary folder before the endpoint runs.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from api.errors import Code, DomainError, invalid
from api.store.incoming import incoming

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MAX_FIELD_BYTES = 1024
_MAX_PARTS = 16


@dataclass(slots=True)
class Upload:
    """What has arrived: `path` holds the bytes of the part `file`, `fields` the other parts."""

    path: Path
    filename: str | None = None
    size: int = 0
    hash: hashlib._Hash = field(default_factory=hashlib.sha256)
    fields: dict[str, bytes] = field(default_factory=dict)


@asynccontextmanager
async def received(request: Request, home: Path) -> AsyncIterator[Upload]:
    """The upload in a request's body, in a folder of its own that is gone at the end.

    Raises:
        DomainError: the body is no multipart form, or has no part `file`.
    """
    boundary = _boundary(request.headers.get("content-type", ""))
    async with incoming(home) as folder:
        upload = Upload(path=folder / "upload")
        with upload.path.open("wb") as file:
            await _parse(request, boundary, _Receiver(upload, file))
        if upload.filename is None:
            raise invalid("file", "the form has no part `file` with a file name")
        yield upload


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise DomainError(Code.UNSUPPORTED_MEDIA_TYPE, "send the file as multipart/form-data")
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise invalid("header.Content-Type", "it names no boundary")
    return boundary


async def _parse(request: Request, boundary: bytes, receiver: _Receiver) -> None:
    try:
        parser = MultipartParser(boundary, receiver.callbacks())
        async for chunk in request.stream():
            # In a thread: parsing writes to the disk and hashes.
            await asyncio.to_thread(parser.write, chunk)
        parser.finalize()
    except FormParserError as error:
        raise invalid("body", f"not a multipart form: {error}") from None
    if not receiver.is_complete:
        raise invalid("body", "the form ends in the middle")


class _Receiver:
    """The parser's callbacks: collects headers, then sends a part's data where it belongs."""

    def __init__(self, upload: Upload, file: BinaryIO) -> None:
        self._upload = upload
        self._file = file
        self._headers: dict[bytes, bytes] = {}
        self._header = [b"", b""]
        self._name = ""
        self._parts = 0
        self.is_complete = False

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._headers = {}
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise invalid("body", f"a form has at most {_MAX_PARTS} parts")

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]
        self._header = [b"", b""]

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._name == "file":
            if self._upload.filename is not None:
                raise invalid("file", "the form has two parts `file`")
            self._upload.filename = clean_name(options.get(b"filename", b"").decode("utf-8", "replace"))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        if self._name == "file":
            self._file.write(piece)
            self._upload.hash.update(piece)
            self._upload.size += len(piece)
            return
        value = self._upload.fields.get(self._name, b"") + piece
        if len(value) > _MAX_FIELD_BYTES:
            raise invalid(self._name[:64], f"longer than {_MAX_FIELD_BYTES} bytes")
        self._upload.fields[self._name] = value

    def _end(self) -> None:
        self.is_complete = True


def clean_name(name: str) -> str:
    """A file name as a label: no folders, no control characters, not too long. Never a path of ours."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in last if character.isprintable()).strip()[-255:] or "data.jsonl"
