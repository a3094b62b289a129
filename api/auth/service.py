"""Who may do what."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import keys, repository
from api.auth.keys import Scope
from api.auth.models import ApiKey, Project
from api.auth.schemas import KeyObject, NewKey, Rotation, key_object
from api.errors import Code, DomainError, invalid, not_found
from api.ids import new_id
from api.pages import Page, page_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Whose request it is. Every query is about this project's rows only."""

    project_id: str
    key_id: str
    scopes: frozenset[str]
    last_used_at: float | None
    """When the key was last used before this request, to the minute."""

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


async def authenticate(session: AsyncSession, key: str) -> Principal:
    """The owner of a key.

    Raises:
        DomainError: nobody's key, or one that is revoked or expired. The answer is the same for all.
    """
    row = await repository.key_by_digest(session, keys.digest(key)) if keys.is_well_formed(key) else None
    if row is None or not row.is_active(time.time()):
        raise DomainError(
            Code.INVALID_API_KEY,
            "no valid API key; send the header `Authorization: Bearer espo_…`",
            headers={"www-authenticate": "Bearer"},
        )
    return Principal(
        project_id=row.project_id,
        key_id=row.id,
        scopes=frozenset(row.scopes),
        last_used_at=row.last_used_at,
    )


async def create_key(
    session: AsyncSession,
    *,
    project: str,
    name: str,
    scopes: Collection[Scope],
    expires_at: float | None = None,
) -> tuple[ApiKey, str]:
    """A new key of a project, which is made if there is none of this name: the row, and the key itself."""
    owner = await _project(session, project)
    return await _store(session, owner.id, name=name, scopes=scopes, expires_at=expires_at)


async def add_key(session: AsyncSession, project_id: str, wanted: NewKey) -> tuple[ApiKey, str]:
    """A new key of a project: the row, and the key itself.

    Raises:
        DomainError: it would have expired already.
    """
    expires_at = _to_come(wanted.expires_at)
    return await _store(session, project_id, name=wanted.name, scopes=wanted.scopes, expires_at=expires_at)


def _to_come(expires_at: float | None) -> float | None:
    if expires_at is not None and expires_at <= time.time():
        raise invalid("expires_at", "it has passed; give a time to come, in seconds since the epoch")
    return expires_at


async def _store(
    session: AsyncSession,
    project_id: str,
    *,
    name: str,
    scopes: Collection[str],
    expires_at: float | None,
) -> tuple[ApiKey, str]:
    secret = keys.generate()
    row = ApiKey(
        id=new_id("key"),
        project_id=project_id,
        name=name,
        prefix=keys.display_prefix(secret),
        sha256=keys.digest(secret),
        scopes=sorted(set(scopes)),
        created_at=time.time(),
        expires_at=expires_at,
        revoked_at=None,
        last_used_at=None,
    )
    session.add(row)
    await session.flush()
    return row, secret


async def get(session: AsyncSession, project_id: str, key_id: str) -> ApiKey:
    """The project's key.

    Raises:
        DomainError: there is none of this id.
    """
    row = await repository.key(session, project_id, key_id)
    if row is None:
        raise not_found("key", key_id)
    return row


async def page(session: AsyncSession, project_id: str, *, after: str | None, limit: int) -> Page[KeyObject]:
    """Keys, newest first."""
    cursor = await repository.key(session, project_id, after) if after is not None else None
    if after is not None and cursor is None:
        raise invalid("query.after", f"no key {after!r}")
    rows = await repository.newest_keys(session, project_id, after=cursor, limit=limit + 1)
    return page_of([key_object(row) for row in rows[:limit]], has_more=len(rows) > limit)


async def rotate(session: AsyncSession, old: ApiKey, wanted: Rotation) -> tuple[ApiKey, str]:
    """A key of the same name and scopes: its row, and the key itself. The old one ends after the overlap, or
    when it would have ended anyway.

    Raises:
        DomainError: the old one no longer works.
    """
    now = time.time()
    if not old.is_active(now):
        raise DomainError(Code.STATE_CONFLICT, f"{old.id} is revoked or expired and cannot be rotated")
    lifetime = None if old.expires_at is None else old.expires_at - old.created_at
    expires_at = _to_come(wanted.expires_at) or (None if lifetime is None else now + lifetime)
    made = await _store(session, old.project_id, name=old.name, scopes=old.scopes, expires_at=expires_at)
    end = now + wanted.overlap_seconds
    old.expires_at = end if old.expires_at is None else min(old.expires_at, end)
    await session.flush()
    return made


async def revoke(session: AsyncSession, row: ApiKey) -> ApiKey:
    """The key, worthless at once and for good."""
    row.revoked_at = row.revoked_at or time.time()
    await session.flush()
    return row


async def revoke_key(session: AsyncSession, key_id: str) -> ApiKey:
    """The key of whatever project, worthless at once and for good.

    Raises:
        DomainError: there is no such key.
    """
    row = await session.get(ApiKey, key_id)
    if row is None:
        raise not_found("key", key_id)
    return await revoke(session, row)


async def _project(session: AsyncSession, name: str) -> Project:
    project = await repository.project_by_name(session, name)
    if project is None:
        project = Project(id=new_id("proj"), name=name, created_at=time.time())
        session.add(project)
        await session.flush()
    return project
