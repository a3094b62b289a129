"""Files to move, and senders of all kinds."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis

from espo_contracts.events import FileEntry
from espo_contracts.wire import ChunkRequest, chunks_key, requests_key
from espo_transfer import FolderSource, Source, connect, entry_of, serve
from espo_transfer.frames import data_frame

PLACE = "store"


def make_file(folder: Path, size: int) -> tuple[FileEntry, FolderSource]:
    """A file of `size` bytes in `folder`, and the source that has it."""
    path = folder / "model.bin"
    path.write_bytes(hashlib.shake_128(str(size).encode()).digest(size))
    entry = entry_of(path)
    return entry, FolderSource({entry.sha256: path})


@contextmanager
def serving(url: str, source: Source) -> Iterator[None]:
    """`source` answers at PLACE inside the block."""
    with connect(url) as client, _in_thread(lambda stop: serve(client, PLACE, source, stop)):
        yield


@contextmanager
def answering(
    url: str, source: Source, spoil: Callable[[list[bytes]], list[bytes]], at_once: int = 4
) -> Iterator[None]:
    """A sender that makes the right frames, `at_once` together, and sends what `spoil` makes of them."""

    def work(stop: threading.Event) -> None:
        while not stop.is_set():
            taken = client.lpop(requests_key(PLACE), at_once) or []
            requests = [ChunkRequest.model_validate_json(document) for document in taken]  # type: ignore[union-attr]
            frames = [
                data_frame(request.offset, source.read(request.sha256, request.offset, request.length))
                for request in requests
            ]
            for frame in spoil(frames):
                client.rpush(chunks_key(requests[0].transfer), frame)
            stop.wait(0.002)

    with connect(url) as client, _in_thread(work):
        yield


@contextmanager
def _in_thread(work: Callable[[threading.Event], None]) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10)
        assert not thread.is_alive()


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def outstanding(client: Redis) -> int:
    """Requests that nobody has taken."""
    return int(client.llen(requests_key(PLACE)))  # type: ignore[arg-type]
