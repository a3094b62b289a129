"""Files of many sizes arrive whole; what cannot arrive leaves nothing behind."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from espo_contracts.events import FileEntry
from espo_contracts.wire import CHUNK_BYTES, requests_key
from espo_transfer import Cancelled, FolderSource, Source, TransferError, connect, entry_of, fetch, serve
from tests.espo_transfer.conftest import Server

PLACE = "store"


@contextmanager
def serving(server: Server, source: Source) -> Iterator[None]:
    """`source` answers at PLACE inside the block."""
    stop = threading.Event()
    with connect(server.url) as client:
        thread = threading.Thread(target=serve, args=(client, PLACE, source, stop))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(timeout=10)
            assert not thread.is_alive()


def make_file(folder: Path, size: int) -> tuple[FileEntry, FolderSource]:
    path = folder / "model.bin"
    path.write_bytes(hashlib.shake_128(str(size).encode()).digest(size))
    entry = entry_of(path)
    return entry, FolderSource({entry.sha256: path})


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 40_000_000])
def test_arrives_whole(server: Server, client: Redis, tmp_path: Path, size: int) -> None:
    entry, source = make_file(tmp_path, size)
    target = tmp_path / "new" / "target.bin"
    with serving(server, source):
        fetch(client, PLACE, entry, target, threading.Event())
    assert target.read_bytes() == (tmp_path / "model.bin").read_bytes()
    assert list(target.parent.iterdir()) == [target]
    assert client.keys("espo:*") == []


def test_is_skipped_when_already_there(client: Redis, tmp_path: Path) -> None:
    entry, _ = make_file(tmp_path, 1000)
    fetch(client, PLACE, entry, tmp_path / "model.bin", threading.Event())
    assert client.keys("*") == []


def test_replaces_a_file_with_other_content(server: Server, client: Redis, tmp_path: Path) -> None:
    entry, source = make_file(tmp_path, 1000)
    target = tmp_path / "target.bin"
    target.write_bytes(b"x" * 1000)
    with serving(server, source):
        fetch(client, PLACE, entry, target, threading.Event())
    assert target.read_bytes() == (tmp_path / "model.bin").read_bytes()


def test_unknown_file_is_refused_at_once(server: Server, client: Redis, tmp_path: Path) -> None:
    entry, _ = make_file(tmp_path, 10)
    with (
        serving(server, FolderSource({})),
        pytest.raises(TransferError, match=f"no file with .*{entry.sha256}"),
    ):
        fetch(client, PLACE, entry, tmp_path / "t" / "x", threading.Event())
    assert list((tmp_path / "t").iterdir()) == []


def test_unreadable_file_is_refused(server: Server, client: Redis, tmp_path: Path) -> None:
    entry, source = make_file(tmp_path, 10)
    (tmp_path / "model.bin").unlink()
    with serving(server, source), pytest.raises(TransferError, match="cannot read"):
        fetch(client, PLACE, entry, tmp_path / "x", threading.Event())


def test_other_bytes_than_promised_are_refused(server: Server, client: Redis, tmp_path: Path) -> None:
    entry, source = make_file(tmp_path, 3_000_000)
    content = bytearray((tmp_path / "model.bin").read_bytes())
    content[2_000_000] ^= 1
    (tmp_path / "model.bin").write_bytes(content)
    with serving(server, source), pytest.raises(TransferError, match="do not have sha256"):
        fetch(client, PLACE, entry, tmp_path / "t" / "x", threading.Event())
    assert list((tmp_path / "t").iterdir()) == []


def test_truncated_source_is_refused(server: Server, client: Redis, tmp_path: Path) -> None:
    entry, source = make_file(tmp_path, 3_000_000)
    (tmp_path / "model.bin").write_bytes(b"x" * 1_500_000)
    with serving(server, source), pytest.raises(TransferError, match="useless chunks"):
        fetch(client, PLACE, entry, tmp_path / "x", threading.Event())


def test_full_disk_leaves_no_part_behind(server: Server, client: Redis, tmp_path: Path) -> None:
    entry, source = make_file(tmp_path, 100)
    with serving(server, source), pytest.raises(OSError, match="space"):
        fetch(client, PLACE, entry, _full_folder(tmp_path), threading.Event())
    assert list((tmp_path / "full").iterdir()) == []


def _full_folder(tmp_path: Path) -> Path:
    """A target whose temporary file is on a full device: /dev/full answers every write with ENOSPC."""

    class FullPath(type(tmp_path)):  # type: ignore[misc]
        def with_name(self, name: str) -> Path:
            return FullPath(self.parent / name)

        def open(self, *_: object, **__: object) -> object:
            return Path("/dev/full").open("wb", buffering=0)

    folder = tmp_path / "full"
    folder.mkdir()
    return FullPath(folder / "x")


def test_stop_ends_a_wait_for_a_silent_source(client: Redis, tmp_path: Path) -> None:
    entry, _ = make_file(tmp_path, 10)
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(Cancelled):
        fetch(client, PLACE, entry, tmp_path / "x", stop)
    assert client.keys("espo:*") == []


def test_patience_ends_a_wait_for_a_silent_source(client: Redis, tmp_path: Path) -> None:
    entry, _ = make_file(tmp_path, 10)
    with pytest.raises(TransferError, match="silent"):
        fetch(client, PLACE, entry, tmp_path / "x", threading.Event(), patience_seconds=1)
    assert client.keys("espo:*") == []


def test_late_source_answers_each_chunk_once(server: Server, client: Redis, tmp_path: Path) -> None:
    entry, source = make_file(tmp_path, 20 * CHUNK_BYTES)
    fetching = in_thread(lambda: fetch(connect(server.url), PLACE, entry, tmp_path / "x", threading.Event()))
    wait_for(lambda: client.llen(requests_key(PLACE)) == 16)
    threading.Event().wait(2.6)  # past the first silence, after which all is asked again
    assert client.llen(requests_key(PLACE)) == 16
    with serving(server, source):
        fetching.join(timeout=30)
    assert entry_of(tmp_path / "x").sha256 == entry.sha256


def test_rubbish_requests_are_passed_over(server: Server, client: Redis, tmp_path: Path) -> None:
    entry, source = make_file(tmp_path, 10)
    client.rpush(requests_key(PLACE), b"\xff", b"{}", b"x" * 10_000)
    with serving(server, source):
        fetch(client, PLACE, entry, tmp_path / "x", threading.Event())


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def wait_for(condition: Callable[[], bool]) -> None:
    clock = threading.Event()
    for _ in range(1000):
        if condition():
            return
        clock.wait(0.01)
    raise AssertionError("waited too long")
