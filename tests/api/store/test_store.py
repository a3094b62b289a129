from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest
from sqlalchemy import update

from api.db import Database
from api.store import repository, service
from api.store.models import Blob
from api.store.store import Store, open_store

CONTENT = b"0123456789"
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(params=["local", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store") if request.param == "local" else "memory:///")


def adopt(store: Store, folder: Path) -> None:
    source = folder / "incoming"
    source.write_bytes(CONTENT)
    store.adopt(source, SHA)
    assert not source.exists()


def test_bytes_come_back(store: Store, tmp_path: Path) -> None:
    adopt(store, tmp_path)
    adopt(store, tmp_path)
    assert store.size(SHA) == 10
    assert store.read(SHA, 0, 100) == CONTENT
    assert store.read(SHA, 3, 4) == b"3456"
    assert store.read(SHA, 10, 1) == b""
    path = store.local_path(SHA)
    assert path is None or path.read_bytes() == CONTENT
    store.probe()
    store.delete(SHA)
    store.delete(SHA)


def test_what_is_not_there_is_a_key_error(store: Store) -> None:
    for ask in (lambda: store.read(SHA, 0, 1), lambda: store.size(SHA)):
        with pytest.raises(KeyError):
            ask()


def test_a_read_only_folder_is_noticed(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    (tmp_path / "store").rmdir()
    with pytest.raises(OSError, match="store"):
        store.probe()


async def test_the_sweep_takes_only_what_nobody_wants(database: Database, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    adopt(store, tmp_path)
    async with database.write() as session:
        await repository.touch(session, SHA, len(CONTENT))
    assert await service.sweep(database, store) == 0
    async with database.write() as session:
        await session.execute(update(Blob).values(touched_at=time.time() - 3601))
        await repository.touch(session, SHA, len(CONTENT))
    assert await service.sweep(database, store) == 0
    async with database.write() as session:
        await session.execute(update(Blob).values(touched_at=time.time() - 3601))
    assert await service.sweep(database, store) == 1
    with pytest.raises(KeyError):
        store.size(SHA)
