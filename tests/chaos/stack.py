"""The whole service as it stands in production: API, loops and two workers, each a process of its own."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import redis
from sqlalchemy import make_url

from tests.chaos.surroundings import Surroundings, surroundings
from tests.e2e.service import Service, wait_until
from tests.servers import PostgresServer, RedisServer

LOOP_PROCESSES = ("dispatch", "ingest", "reconcile")
WORKERS = ("worker-a", "worker-b")
STEADY = ("api", *LOOP_PROCESSES, *WORKERS)
"""Processes that run outside faults."""


@dataclass(slots=True, kw_only=True)
class CutOff:
    """A time in which a worker could not be heard; it may go on with an attempt that was given away."""

    worker: str
    began: float
    ended: float | None = None


@dataclass
class Stack(Service):
    """The service with its servers. Faults stop, kill, restart and double what they like, and heal it."""

    redis: RedisServer = field(kw_only=True)
    postgres: PostgresServer | None = field(default=None, kw_only=True)
    cut_offs: list[CutOff] = field(default_factory=list)
    kills: list[tuple[str, float]] = field(default_factory=list)
    """(process, time) of each death that we caused."""
    run_kills: list[tuple[str, int, float]] = field(default_factory=list)
    """(job, attempt, time) of each run process that we killed at its work."""
    surroundings: Surroundings | None = None
    """What faults can take away from under it."""
    hurry: threading.Event = field(default_factory=threading.Event)
    """Set by a fault that needs a job to be submitted now."""
    deaf: set[str] = field(default_factory=set)
    """Processes that a long fault has in its hands: others leave them alone."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Held by whoever starts or ends processes."""

    @property
    def environment(self) -> dict[str, str]:
        # The loops have processes of their own; attempts are meant to be lost by the dozen.
        return super().environment | {
            "ESPO_LOOPS": "",
            "ESPO_MAX_ATTEMPTS": "100",
            "TMPDIR": str(self.home / "scratch"),
        }

    def environment_of(self, name: str) -> dict[str, str]:
        """A worker keeps its name, and with it its folder, over restarts."""
        own = {"ESPO_WORKER_NAME": name} if name in WORKERS else {}
        around = self.surroundings.environment_of(name) if self.surroundings else {}
        return super().environment_of(name) | around | own

    @property
    def database_kind(self) -> str:
        return "sqlite" if self.postgres is None else "postgresql"

    def start_all(self) -> None:
        """Starts every process and waits until the API and both workers are ready."""
        for name in STEADY:
            self.start(name)
        self.wait_ready()
        for name in WORKERS:
            self.wait_present(name)

    def wait_present(self, worker: str) -> None:
        """Returns when a worker listens."""
        with self.connect() as client:
            wait_until(
                lambda: client.exists(f"espo:worker:{worker}-1"),
                seconds=180,
                what=f"{worker} listens; its log: {self.log(worker)}",
            )

    def connect(self) -> redis.Redis:
        """A connection to Redis itself, beside every proxy."""
        return redis.Redis.from_url(self.redis.url, socket_timeout=10)

    def query(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query with `?` parameters on the database, read from outside."""
        url = make_url(self.database_url)
        if self.postgres is None:
            with contextlib.closing(sqlite3.connect(f"file:{url.database}?mode=ro", uri=True)) as connection:
                return connection.execute(statement, parameters).fetchall()
        address = url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(address, autocommit=True) as connection:
            return connection.execute(statement.replace("?", "%s"), parameters).fetchall()

    def is_running(self, name: str) -> bool:
        return name in self.processes and self.processes[name].poll() is None

    def kill(self, name: str) -> None:
        """SIGKILL, noted with its time."""
        with self.lock:
            self.kills.append((name, time.time()))
            super().kill(name)

    def end(self, name: str) -> None:
        """SIGTERM, and wait."""
        with self.lock:
            process = self.processes.pop(name)
            process.terminate()
            process.wait(timeout=30)

    def restart(self, name: str, *, after_seconds: float = 0.0) -> None:
        """Kills a process and starts it again."""
        with self.lock:
            self.kill(name)
            time.sleep(after_seconds)
            self.start(name)

    def signal(self, name: str, number: signal.Signals) -> None:
        self.processes[name].send_signal(number)

    def destroy(self) -> None:
        """Kills whatever still runs, for the end of a campaign that broke off."""
        for process in self.processes.values():
            process.kill()
            process.wait()

    @contextlib.contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """The process does nothing inside: SIGSTOP, at the end SIGCONT."""
        self.signal(name, signal.SIGSTOP)
        try:
            yield
        finally:
            if self.is_running(name):
                self.signal(name, signal.SIGCONT)

    @contextlib.contextmanager
    def cut_off(self, worker: str) -> Iterator[None]:
        """Notes that nobody hears the worker inside, and keeps other faults from it."""
        note = CutOff(worker=worker, began=time.time())
        self.cut_offs.append(note)
        self.deaf.add(worker)
        try:
            yield
        finally:
            self.deaf.discard(worker)
            note.ended = time.time()

    def some_worker(self, rng: Random) -> str:
        """A worker that no long fault has in its hands."""
        return rng.choice([name for name in WORKERS if name not in self.deaf] or list(WORKERS))


@contextlib.contextmanager
def stack_on(database: str) -> Iterator[Stack]:
    """A stack with servers of its own in a temporary folder, not started yet; killed at the end.

    The folder stays when the block raises, for its logs.
    """
    with contextlib.ExitStack() as ending:
        home = Path(tempfile.mkdtemp(prefix="espo-chaos-"))
        (home / "scratch").mkdir()
        redis = RedisServer(home, keeps_data=True)
        redis.start()
        ending.callback(redis.kill)
        around = ending.enter_context(surroundings(home, redis.url, WORKERS))
        (home / "database").mkdir(exist_ok=True)
        postgres, url = None, f"sqlite+aiosqlite:///{home / 'database' / 'espo.db'}"
        if database == "postgresql":
            postgres = PostgresServer()
            ending.callback(postgres.close)
            address = make_url(postgres.url).set(drivername="postgresql+psycopg")
            url = address.render_as_string(hide_password=False)
        stack = Stack(
            home=home,
            redis_url=redis.url,
            database_url=url,
            redis=redis,
            postgres=postgres,
            surroundings=around,
        )
        ending.callback(stack.destroy)
        yield stack
    shutil.rmtree(home)
