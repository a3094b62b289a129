"""Who may upload, and how much: known before the first byte of the body is read."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from api.auth.service import Principal
from api.dependencies import Shared, Writer
from api.limits import quotas
from api.middleware import bound_body

_FORM_BYTES = 64 << 10
"""What the form around a file may have beside it; the file's own size is checked when it is known."""


async def uploader(request: Request, caller: Writer, shared: Shared) -> Principal:
    """The caller; from here on the body is refused at the byte that is too many for the project."""
    async with shared.context.database.read() as session:
        quotas.bind(session, shared.settings)
        limit = (await quotas.quotas_of(session, caller.project_id)).upload_bytes
    if limit is not None:
        bound_body(request.scope, limit + _FORM_BYTES, quotas.upload_too_large(limit))
    return caller


Uploader = Annotated[Principal, Depends(uploader)]
