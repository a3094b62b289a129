"""The cache brings what is missing, keeps what was used last, and never takes a file from a run."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from espo_contracts.events import FileEntry
from espo_transfer import TransferError, entry_of
from tests.worker.api_side import ApiSide
from worker.cache import Cache


@pytest.fixture
def stored(api: ApiSide, tmp_path: Path) -> Iterator[list[FileEntry]]:
    """Three files of 1000 bytes in the store, which is served."""
    entries = []
    for name in ("a.txt", "b.txt", "c.txt"):
        path = tmp_path / name
        path.write_text(name[0] * 1000)
        entries.append(entry_of(path))
        path.rename(api.store / entries[-1].sha256)
    with api.running():
        yield entries


def bring(cache: Cache, client: Redis, files: list[FileEntry], target: Path) -> list[str]:
    """Contents of the folder that the cache makes."""
    cache.bring(client, files, target, threading.Event())
    return [(target / entry.name).read_text()[:3] for entry in files]


def test_brings_a_folder(stored: list[FileEntry], client: Redis, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 10_000)
    assert bring(cache, client, stored, tmp_path / "run") == ["aaa", "bbb", "ccc"]


def test_what_is_there_is_not_fetched(
    api: ApiSide, stored: list[FileEntry], client: Redis, tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "cache", 10_000)
    bring(cache, client, stored, tmp_path / "run")
    for path in api.store.iterdir():
        path.unlink()
    assert bring(cache, client, stored, tmp_path / "again") == ["aaa", "bbb", "ccc"]


def test_a_damaged_file_is_fetched_again(stored: list[FileEntry], client: Redis, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 10_000)
    bring(cache, client, stored, tmp_path / "run")
    (tmp_path / "cache" / stored[0].sha256).write_text("x" * 1000)
    assert bring(cache, client, stored, tmp_path / "again") == ["aaa", "bbb", "ccc"]


def test_the_least_recently_used_goes_first(stored: list[FileEntry], client: Redis, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 2_500)
    bring(cache, client, stored[:2], tmp_path / "run")
    for age, entry in enumerate(stored[:2]):
        os.utime(tmp_path / "cache" / entry.sha256, (time.time() - 100 + age, time.time() - 100 + age))
    bring(cache, client, stored[:1], tmp_path / "uses a")
    bring(cache, client, stored[2:], tmp_path / "adds c")
    kept = {path.name for path in (tmp_path / "cache").iterdir()}
    assert kept == {stored[0].sha256, stored[2].sha256}
    assert (tmp_path / "run" / "b.txt").read_text() == "b" * 1000


def test_a_missing_file_is_told(stored: list[FileEntry], client: Redis, tmp_path: Path) -> None:
    lost = stored[0].model_copy(update={"sha256": "0" * 64})
    with pytest.raises(TransferError, match="no file"):
        Cache(tmp_path / "cache", 10_000).bring(client, [lost], tmp_path / "run", threading.Event())


def test_parts_of_dead_transfers_are_removed(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 10_000)
    old, new = tmp_path / "cache" / ".old.part", tmp_path / "cache" / ".new.part"
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    cache.trim()
    assert not old.exists()
    assert new.exists()


def test_adopted_files_are_not_fetched(client: Redis, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-1"
    folder.mkdir()
    (folder / "a.txt").write_text("adopted")
    files = [entry_of(folder / "a.txt")]
    cache = Cache(tmp_path / "cache", 10_000)
    cache.adopt(folder, files)
    (folder / "a.txt").unlink()
    assert bring(cache, client, files, tmp_path / "run") == ["ado"]
