from __future__ import annotations

import hashlib
import itertools
import time
from pathlib import Path

import pytest
from sqlalchemy import update

from api.db import Database
from api.store import repository, service
from api.store.models import Blob
from api.store.store import Store, open_store
from tests.small_disk import small_disk

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


async def put(database: Database, store: Store, folder: Path, *, touched_ago: float) -> None:
    """The content in the store, last touched so many seconds ago."""
    adopt(store, folder)
    async with database.write() as session:
        await repository.touch(session, SHA, len(CONTENT))
        await session.execute(update(Blob).values(touched_at=time.time() - touched_ago))


def watched_sweep(database: Database, store: Store) -> service.Sweep:
    """A sweep whose own clock goes on by more than it watches with every look."""
    looks = itertools.count(step=int(service.WATCH_SECONDS) + 1)
    return service.Sweep(database, store, clock=lambda: float(next(looks)))


async def test_the_sweep_takes_only_what_nobody_wants(database: Database, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    await put(database, store, tmp_path, touched_ago=3500)
    sweep = watched_sweep(database, store)
    assert [await sweep.round() for _ in range(3)] == [0, 0, 0]
    await put(database, store, tmp_path, touched_ago=3700)
    assert await sweep.round() == 0
    await put(database, store, tmp_path, touched_ago=3601)  # it was touched meanwhile
    assert [await sweep.round() for _ in range(3)] == [0, 1, 0]
    with pytest.raises(KeyError):
        store.size(SHA)


async def test_a_clock_that_steps_an_hour_forward_takes_no_checkpoint_that_arrives_now(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(str(tmp_path / "store"))
    await put(database, store, tmp_path, touched_ago=0)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3700)
    sweep = service.Sweep(database, store)
    assert [await sweep.round() for _ in range(3)] == [0, 0, 0]
    assert store.size(SHA) == len(CONTENT)


def test_a_store_on_another_disk_that_is_full_keeps_nothing_half(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        store = open_store(str(disk.folder / "store"))
        source = tmp_path / "incoming"
        source.write_bytes(CONTENT * 10_000)
        sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
        disk.fill()
        with pytest.raises(OSError, match="No space"):
            store.adopt(source, sha256)
        with pytest.raises(KeyError):
            store.size(sha256)
        assert [path.name for path in (disk.folder / "store").rglob("*") if path.is_file()] == []
        disk.free()
        store.adopt(source, sha256)
        assert store.size(sha256) == 100_000
        assert not source.exists()


def test_what_a_killed_process_left_half_stored_is_tidied(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    adopt(store, tmp_path)
    (tmp_path / "store" / ".half.part").mkdir()
    (tmp_path / "store" / ".half.lock").touch()
    store.tidy()
    assert store.size(SHA) == len(CONTENT)
    assert [path.name for path in (tmp_path / "store").iterdir()] == [SHA[:2]]
