"""Serving stored bytes: whole, in ranges, or not at all when the client has them.

The content of a hash never changes, so the hash is the strong ETag and every answer may be cached for good.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from api.conditional import is_known
from api.errors import Code, DomainError
from api.store.store import Store

READ_BYTES = 1 << 20

_RANGE = re.compile(r"bytes=\s*(\d+-\d*|-\d+)(\s*,\s*(\d+-\d*|-\d+))*\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Bytes of the store, and what they are called outside."""

    sha256: str
    size: int
    name: str
    media_type: str = "application/octet-stream"

    @property
    def etag(self) -> str:
        return f'"{self.sha256}"'

    @property
    def headers(self) -> dict[str, str]:
        digest = base64.b64encode(bytes.fromhex(self.sha256)).decode()
        return {
            "etag": self.etag,
            "repr-digest": f"sha-256=:{digest}:",
            "accept-ranges": "bytes",
            "cache-control": "private, max-age=31536000, immutable",
            "content-disposition": f"attachment; filename*=utf-8''{quote(self.name)}",
            # A user's bytes must never run as a page of ours.
            "x-content-type-options": "nosniff",
        }


async def serve(store: Store, content: Content, request: Request) -> Response:
    """The answer to a GET or HEAD of these bytes.

    Raises:
        DomainError: the asked range lies outside, or the bytes are gone.
    """
    if is_known(request.headers.get("if-none-match"), content.etag):
        return Response(status_code=304, headers=content.headers)
    span = _span(request.headers, content)
    try:
        path = await asyncio.to_thread(store.local_path, content.sha256)
    except KeyError:
        raise DomainError(Code.UNAVAILABLE, f"the bytes of {content.name} are missing") from None
    if path is None:
        return _from_bucket(store, content, span)
    if span is None:
        # What the file response would refuse as malformed is, by the RFC, to be ignored.
        request.scope["headers"] = [item for item in request.scope["headers"] if item[0] != b"range"]
    return FileResponse(path, headers=content.headers, media_type=content.media_type)


def _span(headers: Mapping[str, str], content: Content) -> tuple[int, int] | None:
    """Start and end of the first range that is asked for and to be honoured.

    Raises:
        DomainError: the range is outside.
    """
    asked = headers.get("range", "")
    condition = headers.get("if-range")
    if not _RANGE.fullmatch(asked) or len(asked) > 2000 or condition not in (None, content.etag):
        return None
    spans = [_bounds(part.strip(), content.size) for part in asked.partition("=")[2].split(",")]
    if any(start >= content.size for start, _ in spans):
        headers_416 = {"content-range": f"bytes */{content.size}"}
        raise DomainError(
            Code.RANGE_NOT_SATISFIABLE, f"the file has {content.size} bytes", headers=headers_416
        )
    return spans[0] if all(start < end for start, end in spans) else None


def _bounds(part: str, size: int) -> tuple[int, int]:
    first, _, last = part.partition("-")
    if not first:
        return max(size - int(last), 0), size
    return int(first), min(int(last) + 1, size) if last else size


def _from_bucket(store: Store, content: Content, span: tuple[int, int] | None) -> Response:
    """One range or all, read piece by piece. Of several ranges the first: a server may answer with less."""
    start, end = span or (0, content.size)
    headers = content.headers | {"content-length": str(end - start)}
    if span is not None:
        headers["content-range"] = f"bytes {start}-{end - 1}/{content.size}"
    pieces = read_pieces(store, content.sha256, start, end)
    return StreamingResponse(pieces, 206 if span else 200, headers, content.media_type)


async def read_pieces(store: Store, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
    """The bytes from `start` to `end`.

    Raises:
        OSError: the store has fewer: the connection must break, rather than end as if all had come.
    """
    while start < end:
        piece = await asyncio.to_thread(store.read, sha256, start, min(READ_BYTES, end - start))
        if not piece:
            raise OSError(f"{sha256} ends at {start}, not at {end}")
        start += len(piece)
        yield piece
