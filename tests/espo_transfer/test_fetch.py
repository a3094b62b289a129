"""Files of many sizes arrive whole; what cannot arrive leaves nothing behind."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from redis import Redis

from bench.transfer import MEMORY_BOUND, transfer
from espo_contracts.wire import CHUNK_BYTES, CHUNK_WINDOW, requests_key
from espo_transfer import Cancelled, FolderSource, TransferError, connect, entry_of, fetch
from tests.espo_transfer.places import PLACE, make_file, outstanding, serving, wait_for


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 40_000_000])
def test_arrives_whole(redis_url: str, client: Redis, tmp_path: Path, size: int) -> None:
    entry, source = make_file(tmp_path, size)
    target = tmp_path / "new" / "target.bin"
    with serving(redis_url, source):
        fetch(client, PLACE, entry, target, threading.Event())
    assert target.read_bytes() == (tmp_path / "model.bin").read_bytes()
    assert list(target.parent.iterdir()) == [target]
    assert client.keys("espo:*") == []


def test_is_skipped_when_already_there(client: Redis, tmp_path: Path) -> None:
    entry, _ = make_file(tmp_path, 1000)
    fetch(client, PLACE, entry, tmp_path / "model.bin", threading.Event())
    assert client.keys("*") == []


def test_replaces_a_file_with_other_content(redis_url: str, client: Redis, tmp_path: Path) -> None:
    entry, source = make_file(tmp_path, 1000)
    target = tmp_path / "target.bin"
    target.write_bytes(b"x" * 1000)
    with serving(redis_url, source):
        fetch(client, PLACE, entry, target, threading.Event())
    assert target.read_bytes() == (tmp_path / "model.bin").read_bytes()


def test_unknown_file_is_refused_at_once(redis_url: str, client: Redis, tmp_path: Path) -> None:
    entry, _ = make_file(tmp_path, 10)
    with (
        serving(redis_url, FolderSource({})),
        pytest.raises(TransferError, match=f"no file with .*{entry.sha256}"),
    ):
        fetch(client, PLACE, entry, tmp_path / "t" / "x", threading.Event())
    assert list((tmp_path / "t").iterdir()) == []


def test_unreadable_file_is_refused(redis_url: str, client: Redis, tmp_path: Path) -> None:
    entry, source = make_file(tmp_path, 10)
    (tmp_path / "model.bin").unlink()
    with serving(redis_url, source), pytest.raises(TransferError, match="cannot read"):
        fetch(client, PLACE, entry, tmp_path / "x", threading.Event())


def test_other_bytes_than_promised_are_refused(redis_url: str, client: Redis, tmp_path: Path) -> None:
    entry, source = make_file(tmp_path, 3_000_000)
    content = bytearray((tmp_path / "model.bin").read_bytes())
    content[2_000_000] ^= 1
    (tmp_path / "model.bin").write_bytes(content)
    with serving(redis_url, source), pytest.raises(TransferError, match="do not have sha256"):
        fetch(client, PLACE, entry, tmp_path / "t" / "x", threading.Event())
    assert list((tmp_path / "t").iterdir()) == []


def test_truncated_source_is_refused(redis_url: str, client: Redis, tmp_path: Path) -> None:
    entry, source = make_file(tmp_path, 3_000_000)
    (tmp_path / "model.bin").write_bytes(b"x" * 1_500_000)
    with serving(redis_url, source), pytest.raises(TransferError, match="useless chunks"):
        fetch(client, PLACE, entry, tmp_path / "x", threading.Event())


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


def test_late_source_answers_each_chunk_once(redis_url: str, client: Redis, tmp_path: Path) -> None:
    entry, source = make_file(tmp_path, 20 * CHUNK_BYTES)
    fetching = threading.Thread(
        target=lambda: fetch(connect(redis_url), PLACE, entry, tmp_path / "x", threading.Event()), daemon=True
    )
    fetching.start()
    wait_for(lambda: outstanding(client) == CHUNK_WINDOW)
    first = client.lindex(requests_key(PLACE), 0)
    client.lpop(requests_key(PLACE))
    wait_for(lambda: outstanding(client) == CHUNK_WINDOW)  # asked again after the first silence
    assert sorted(client.lrange(requests_key(PLACE), 0, -1)).count(first) == 1
    with serving(redis_url, source):
        fetching.join(timeout=30)
    assert entry_of(tmp_path / "x").sha256 == entry.sha256


def test_rubbish_requests_are_passed_over(redis_url: str, client: Redis, tmp_path: Path) -> None:
    entry, source = make_file(tmp_path, 10)
    client.rpush(requests_key(PLACE), b"\xff", b"{}", b"x" * 10_000)
    with serving(redis_url, source):
        fetch(client, PLACE, entry, tmp_path / "x", threading.Event())
    assert entry_of(tmp_path / "x").sha256 == entry.sha256


@pytest.mark.slow
def test_memory_of_the_server_stays_bounded(redis_url: str, tmp_path: Path) -> None:
    _, peak = transfer(redis_url, tmp_path, 200_000_000)
    assert CHUNK_BYTES < peak < MEMORY_BOUND
