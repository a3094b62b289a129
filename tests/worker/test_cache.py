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
from espo_transfer.scratch import scratch
from tests.small_disk import small_disk
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


def test_what_dead_transfers_left_is_removed_and_a_living_one_is_not(tmp_path: Path) -> None:
    """Though its folder looks old, as it does to a worker whose clock has stepped forward."""
    cache = Cache(tmp_path / "cache", 10_000)
    (tmp_path / "cache" / ".dead.part").mkdir()
    with scratch(tmp_path / "cache") as living:
        os.utime(living, (0, 0))
        cache.trim()
        assert list((tmp_path / "cache").glob("*.part")) == [living]


def test_what_a_full_disk_cannot_keep_is_left_out(
    client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk without links, where keeping a file is copying it."""
    monkeypatch.setattr(Path, "hardlink_to", _no_links)
    folder = tmp_path / "checkpoint-1"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"x" * 100_000)
    files = [entry_of(folder / "a.bin")]
    with small_disk(tmp_path / "cache", 1 << 20) as disk:
        cache = Cache(disk.folder, 1 << 20)
        disk.fill()
        cache.adopt(folder, files)
        disk.free()
        assert list(disk.folder.iterdir()) == []
        cache.adopt(folder, files)
        assert [path.name for path in disk.folder.iterdir()] == [files[0].sha256]


def _no_links(*_: object) -> None:
    raise PermissionError


def test_adopted_files_are_not_fetched(client: Redis, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-1"
    folder.mkdir()
    (folder / "a.txt").write_text("adopted")
    files = [entry_of(folder / "a.txt")]
    cache = Cache(tmp_path / "cache", 10_000)
    cache.adopt(folder, files)
    (folder / "a.txt").unlink()
    assert bring(cache, client, files, tmp_path / "run") == ["ado"]
