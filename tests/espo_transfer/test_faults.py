"""Chunks that come damaged, short, twice, late or never, and servers that go away in the middle."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from redis import Redis

from espo_contracts.wire import CHUNK_BYTES, CHUNK_WINDOW
from espo_transfer import TransferError, connect, fetch
from espo_transfer.frames import data_frame, decode
from tests.espo_transfer.places import PLACE, answering, make_file, outstanding, serving
from tests.servers import RedisServer

Spoil = Callable[[list[bytes]], list[bytes]]


def one_in(count: int, change: Callable[[bytes], list[bytes]]) -> Spoil:
    """Applies `change` to one frame in `count`."""
    seen = iter(range(1_000_000))

    def spoil(frames: list[bytes]) -> list[bytes]:
        return [made for frame in frames for made in ([frame] if next(seen) % count else change(frame))]

    return spoil


def damaged(frame: bytes) -> list[bytes]:
    return [frame[:1000] + bytes([frame[1000] ^ 1]) + frame[1001:]]


def cut(frame: bytes) -> list[bytes]:
    return [frame[: len(frame) // 2]]


def short(frame: bytes) -> list[bytes]:
    """A frame in order, with fewer bytes than asked for."""
    whole = decode(frame)
    return [data_frame(whole.offset, whole.payload[:-1])]


def strange_offset(frame: bytes) -> list[bytes]:
    return [data_frame(2**63, decode(frame).payload)]


def reordered(frames: list[bytes]) -> list[bytes]:
    return Random(len(frames)).sample(frames, len(frames))


SPOILS: dict[str, Spoil] = {
    "damaged": one_in(5, damaged),
    "cut": one_in(5, cut),
    "empty": one_in(5, lambda _: [b""]),
    "short": one_in(5, short),
    "strange offset": one_in(5, strange_offset),
    "twice": one_in(2, lambda frame: [frame, frame]),
    "lost": one_in(5, lambda _: []),
    "reordered": reordered,
}


@pytest.mark.parametrize("kind", SPOILS)
def test_every_fault_on_the_way_is_mended(redis_url: str, client: Redis, tmp_path: Path, kind: str) -> None:
    entry, source = make_file(tmp_path, 25 * CHUNK_BYTES + 7)
    with answering(redis_url, source, SPOILS[kind], at_once=CHUNK_WINDOW):
        fetch(client, PLACE, entry, tmp_path / "x", threading.Event())
    assert (tmp_path / "x").read_bytes() == (tmp_path / "model.bin").read_bytes()
    assert client.keys("espo:*") == []


@pytest.mark.parametrize("change", [damaged, cut, short, strange_offset])
def test_a_source_that_sends_only_rubbish_is_given_up(
    redis_url: str, client: Redis, tmp_path: Path, change: Callable[[bytes], list[bytes]]
) -> None:
    entry, source = make_file(tmp_path, 100 * CHUNK_BYTES)
    with (
        answering(redis_url, source, one_in(1, change)),
        pytest.raises(TransferError, match=r"useless|silent"),
    ):
        fetch(client, PLACE, entry, tmp_path / "t" / "x", threading.Event(), patience_seconds=3)
    assert list((tmp_path / "t").iterdir()) == []


@pytest.mark.parametrize("keeps_data", [True, False])
def test_a_server_that_goes_away_in_the_middle(tmp_path: Path, keeps_data: bool) -> None:
    server = RedisServer(tmp_path)
    server.start()
    entry, source = make_file(tmp_path, 40 * CHUNK_BYTES)
    with connect(server.url) as client, serving(server.url, _Interrupting(source, server, keeps_data)):
        fetch(client, PLACE, entry, tmp_path / "x", threading.Event())
        assert (tmp_path / "x").read_bytes() == (tmp_path / "model.bin").read_bytes()
        assert outstanding(client) == 0
    server.kill()


class _Interrupting:
    """A source whose server fails twice while it reads."""

    def __init__(self, source: object, server: RedisServer, keeps_data: bool) -> None:
        self._source, self._server, self._keeps_data = source, server, keeps_data
        self._reads = 0

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        self._reads += 1
        if self._reads in {10, 30}:
            if self._keeps_data:
                with connect(self._server.url) as client:
                    client.client_kill_filter(_type="normal", skipme=True)
            else:
                self._server.kill()
                self._server.start()
        return self._source.read(sha256, offset, length)  # type: ignore[attr-defined, no-any-return]
