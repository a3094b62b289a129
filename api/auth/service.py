"""Who may do what."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import keys, repository
from api.auth.keys import Scope
from api.auth.models import ApiKey, Project
from api.errors import Code, DomainError, not_found
from api.ids import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Whose request it is. Every query is about this project's rows only."""

    project_id: str
    key_id: str
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


async def authenticate(session: AsyncSession, key: str) -> Principal:
    """The owner of a key.

    Raises:
        DomainError: nobody's key, or one that is revoked or expired. The answer is the same for all.
    """
    row = await repository.key_by_digest(session, keys.digest(key)) if keys.is_well_formed(key) else None
    if row is None or row.revoked_at is not None or (row.expires_at or time.time() + 1) <= time.time():
        raise DomainError(
            Code.INVALID_API_KEY,
            "no valid API key; send the header `Authorization: Bearer espo_…`",
            headers={"www-authenticate": "Bearer"},
        )
    return Principal(project_id=row.project_id, key_id=row.id, scopes=frozenset(row.scopes))


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
    secret = keys.generate()
    row = ApiKey(
        id=new_id("key"),
        project_id=owner.id,
        name=name,
        prefix=keys.display_prefix(secret),
        sha256=keys.digest(secret),
        scopes=sorted(scopes),
        created_at=time.time(),
        expires_at=expires_at,
        revoked_at=None,
    )
    session.add(row)
    await session.flush()
    return row, secret


async def revoke_key(session: AsyncSession, key_id: str) -> None:
    """Makes a key worthless, at once and for good.

    Raises:
        DomainError: there is no such key.
    """
    row = await session.get(ApiKey, key_id)
    if row is None:
        raise not_found("key", key_id)
    row.revoked_at = row.revoked_at or time.time()
    await session.flush()


async def _project(session: AsyncSession, name: str) -> Project:
    project = await repository.project_by_name(session, name)
    if project is None:
        project = Project(id=new_id("proj"), name=name, created_at=time.time())
        session.add(project)
        await session.flush()
    return project
