"""Queries on the store's bookkeeping."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import ColumnElement, String, cast, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from api.checkpoints.models import Checkpoint
from api.files.models import File
from api.store.models import Blob

_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


async def touch(session: AsyncSession, sha256: str, size: int) -> None:
    """Notes that these bytes are about to be stored or used, which keeps the sweep away for an hour.

    Commit this before the bytes are adopted: the sweep deletes row and bytes under the row's lock, so bytes
    that were adopted after a touch stay.
    """
    insert = _INSERT[session.get_bind().dialect.name]
    now = time.time()
    statement = insert(Blob).values(sha256=sha256, bytes=size, touched_at=now)
    statement = statement.on_conflict_do_update(index_elements=[Blob.sha256], set_={"touched_at": now})
    await session.execute(statement)


async def unreferenced(session: AsyncSession, *, before: float, limit: int) -> dict[str, float]:
    """By hash, when bytes that no file and no checkpoint names were last touched, before a time."""
    query = select(Blob.sha256, Blob.touched_at).where(Blob.touched_at < before, ~_is_referenced())
    rows = await session.execute(query.order_by(Blob.touched_at).limit(limit))
    return {row.sha256: row.touched_at for row in rows}


async def forget(session: AsyncSession, sha256: str, *, touched_at: float) -> bool:
    """Whether the row was deleted: no longer so when somebody touched or referenced it meanwhile."""
    statement = delete(Blob).where(Blob.sha256 == sha256, Blob.touched_at == touched_at, ~_is_referenced())
    return bool((await session.execute(statement)).rowcount)  # type: ignore[attr-defined]


async def used_bytes(session: AsyncSession) -> int:
    """Bytes in the store."""
    return int(await session.scalar(select(func.coalesce(func.sum(Blob.bytes), 0))) or 0)


def _is_referenced() -> ColumnElement[bool]:
    in_file = select(File.id).where(File.sha256 == Blob.sha256, File.deleted_at.is_(None)).exists()
    # A hash is 64 hex digits, so finding it anywhere in the list of files is finding it as a hash.
    listed = cast(Checkpoint.files, String).contains(Blob.sha256)
    return in_file | select(Checkpoint.step).where(listed).exists()
