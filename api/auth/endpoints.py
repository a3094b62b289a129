"""`/v1/keys`: list, create, revoke, rotate. All want the scope admin."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Response

from api.audit.service import concerns
from api.auth import service
from api.auth.models import ApiKey
from api.auth.schemas import KeyObject, MadeKey, NewKey, Rotation, key_object, made_key
from api.dependencies import Admin, ReadSession, WriteSession
from api.pages import After, Limit, Page

router = APIRouter(prefix="/v1/keys", tags=["keys"])


@router.get("")
async def list_keys(
    caller: Admin, session: ReadSession, after: After = None, limit: Limit = 20
) -> Page[KeyObject]:
    """Keys of the project, newest first, those that no longer work too. Never their secrets."""
    return await service.page(session, caller.project_id, after=after, limit=limit)


@router.post("", status_code=201)
async def create_key(wanted: NewKey, caller: Admin, session: WriteSession, response: Response) -> MadeKey:
    """Makes a key. Its secret is in this answer and nowhere else."""
    row, secret = await service.add_key(session, caller.project_id, wanted)
    concerns(session, row.id)
    return _made(row, secret, response)


@router.delete("/{key_id}")
async def revoke_key(key_id: str, caller: Admin, session: WriteSession) -> KeyObject:
    """Makes a key worthless from the next request on, the caller's own too. Safe to repeat."""
    row = await service.get(session, caller.project_id, key_id)
    return key_object(await service.revoke(session, row))


@router.post("/{key_id}/rotate", status_code=201)
async def rotate_key(
    key_id: str,
    caller: Admin,
    session: WriteSession,
    response: Response,
    wanted: Annotated[Rotation, Body(default_factory=Rotation)],
) -> MadeKey:
    """Makes a key with the same name and scopes; the old one still works for `overlap_seconds`."""
    row = await service.get(session, caller.project_id, key_id)
    return _made(*await service.rotate(session, row, wanted), response)


def _made(row: ApiKey, secret: str, response: Response) -> MadeKey:
    response.headers["cache-control"] = "no-store"
    return made_key(row, secret)
