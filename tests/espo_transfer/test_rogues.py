"""Whoever else writes to the keys of a transfer: never a wrong byte arrives, and no thread of ours ends."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from random import Random

import pytest
from redis import Redis

from espo_contracts.wire import CHUNK_BYTES, requests_key
from espo_transfer import TransferError, connect, entry_of, fetch
from espo_transfer import window as module
from espo_transfer.frames import data_frame, decode
from tests.chaos.faults.chunks import answer_wrongly, spoil_chunks, spoil_requests
from tests.espo_transfer.places import PLACE, answering, make_file, serving, wait_for
from tests.servers import RedisServer
from tests.small_disk import small_disk

SEED = 20251


def changed_once(frames: list[bytes], done: list[bool]) -> list[bytes]:
    """The first frame with another payload under a right checksum, later ones as they are."""
    if done or not frames:
        return frames
    done.append(True)
    first = decode(frames[0])
    return [data_frame(first.offset, bytes(len(first.payload))), *frames[1:]]


def test_a_chunk_that_was_changed_with_its_checksum_is_fetched_again(
    redis_url: str, client: Redis, tmp_path: Path
) -> None:
    entry, source = make_file(tmp_path, 3 * CHUNK_BYTES)
    done: list[bool] = []
    with answering(redis_url, source, lambda frames: changed_once(frames, done)):
        fetch(client, PLACE, entry, tmp_path / "x", threading.Event())
    assert entry_of(tmp_path / "x").sha256 == entry.sha256
    assert done


def test_a_long_way_may_damage_more_than_a_broken_source_does(
    redis_url: str, client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BAD_FRAMES", 3)
    entry, source = make_file(tmp_path, 10 * CHUNK_BYTES)
    with answering(redis_url, source, lambda frames: [made for one in frames for made in (b"bad", one)]):
        fetch(client, PLACE, entry, tmp_path / "x", threading.Event())
    assert entry_of(tmp_path / "x").sha256 == entry.sha256


def test_garbage_cuts_and_doubles_in_the_live_lists(redis_url: str, client: Redis, tmp_path: Path) -> None:
    """The campaign's fault, all the time while a file travels."""
    entry, source = make_file(tmp_path, 60 * CHUNK_BYTES)
    stop, random, spoiled = threading.Event(), Random(SEED), [0]

    def spoil(rogue: Redis) -> None:
        while not stop.wait(0.002):
            spoiled[0] += spoil_chunks(rogue, random)
            spoil_requests(rogue, random)

    with connect(redis_url) as rogue, serving(redis_url, source):
        thread = threading.Thread(target=spoil, args=(rogue,))
        thread.start()
        try:
            fetch(client, PLACE, entry, tmp_path / "x", threading.Event())
        finally:
            stop.set()
            thread.join()
    assert entry_of(tmp_path / "x").sha256 == entry.sha256
    assert spoiled[0] > 0


def test_another_sender_that_answers_wrongly(redis_url: str, client: Redis, tmp_path: Path) -> None:
    """It takes the first six requests from those who have the bytes; what it sends is asked for again."""
    entry, source = make_file(tmp_path, 20 * CHUNK_BYTES)
    answered: list[int] = []

    def answer(rogue: Redis) -> None:
        random = Random(SEED)
        while sum(answered) < 6:
            answered.append(answer_wrongly(rogue, random))

    with connect(redis_url) as rogue:
        thread = threading.Thread(target=answer, args=(rogue,))
        thread.start()
        fetching = threading.Thread(
            target=fetch, args=(client, PLACE, entry, tmp_path / "x", threading.Event()), daemon=True
        )
        fetching.start()
        thread.join(20)
        with serving(redis_url, source):
            fetching.join(30)
    assert sum(answered) == 6
    assert entry_of(tmp_path / "x").sha256 == entry.sha256


def test_a_key_of_another_type_ends_the_transfer_in_words(client: Redis, tmp_path: Path) -> None:
    entry, _ = make_file(tmp_path, 10)
    client.set(requests_key(PLACE), "not a list")
    with pytest.raises(TransferError, match=r"model\.bin: Redis refuses"):
        fetch(client, PLACE, entry, tmp_path / "x", threading.Event())


def test_whoever_serves_outlasts_a_key_of_another_type(redis_url: str, client: Redis, tmp_path: Path) -> None:
    entry, source = make_file(tmp_path, 10)
    client.set(requests_key(PLACE), "not a list")
    with serving(redis_url, source):
        time.sleep(0.2)  # into the trouble
        client.delete(requests_key(PLACE))
        fetch(client, PLACE, entry, tmp_path / "x", threading.Event())


def test_a_server_whose_own_disk_is_full_is_waited_for(tmp_path: Path) -> None:
    """It refuses every write with MISCONF, once it could not save."""
    entry, source = make_file(tmp_path, 3 * CHUNK_BYTES)
    with small_disk(tmp_path / "disk", 2 << 20) as disk, contextlib.ExitStack() as ending:
        server = RedisServer(disk.folder)
        server.start()
        ending.callback(server.kill)
        # The operator's client asks for no PING first, which is refused as well.
        with connect(server.url) as client, Redis.from_url(server.url) as operator:
            client.set("large", bytes(100_000))
            disk.fill()
            operator.config_set("save", "3600 1")
            operator.bgsave()
            wait_for(lambda: operator.info("persistence")["rdb_last_bgsave_status"] == "err")
            with serving(server.url, source):
                fetching = threading.Thread(
                    target=fetch, args=(client, PLACE, entry, tmp_path / "x", threading.Event()), daemon=True
                )
                fetching.start()
                fetching.join(0.5)
                assert fetching.is_alive()
                disk.free()
                operator.config_set("save", "")
                fetching.join(20)
    assert entry_of(tmp_path / "x").sha256 == entry.sha256


def test_a_full_disk_leaves_nothing(redis_url: str, client: Redis, tmp_path: Path) -> None:
    entry, source = make_file(tmp_path, 6 * CHUNK_BYTES)
    with small_disk(tmp_path / "disk", 4 << 20) as disk, serving(redis_url, source):
        with pytest.raises(OSError, match="No space"):
            fetch(client, PLACE, entry, disk.folder / "new" / "x", threading.Event())
        assert [path for path in disk.folder.rglob("*") if path.is_file()] == []
