"""Measures events on their way from a worker's reporter to the database, where every reader sees them.

    python -m bench.ingest                      # SQLite and PostgreSQL
    python -m bench.ingest --database sqlite --events 20000 --rounds 5

An event is one step with 20 metrics. Reporter, Redis and ingester are processes of their own, as in the
service. Beside it, in the same rounds: one bare executemany of the same rows by the database's driver into
the same table with its indexes, with nothing else running. And, where `make .venv/mlflow.stamp` has put it,
MLflow's server on SQLite: one step of 20 metrics a call, and 1,000 points a call.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import multiprocessing.synchronize
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from sqlalchemy import select

from api.db import Database
from api.jobs.lifecycle import lock_job
from api.jobs.models import Attempt
from api.loops.attempt_keys import open_keys
from api.loops.attempts import assignment, next_attempt
from api.settings import REPOSITORY, Settings
from bench import mlflow_server
from bench.bare import bare_seconds
from bench.databases import NAMES, database
from bench.jobs import add_jobs
from bench.servers import redis_server
from espo_contracts.events import Event, Finished, Metrics
from espo_contracts.job import Desired
from espo_contracts.wire import Assignment
from espo_transfer import connect
from worker.reporter import Control, Reporter
from worker.spool import Spool
from worker.wishes import Wishes

METRICS = 20
RATIO, EVENTS_PER_SECOND, OVER_MLFLOW = 0.3, 5000, 25
_PROCESSES = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Events a second: through the service, and by a bare executemany of the same rows."""

    service: float
    bare: float

    @property
    def ratio(self) -> float:
        return self.service / self.bare


def main() -> int:
    """Exit status: 0 when each database reaches its figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=[*NAMES, "both"], default="both")
    parser.add_argument("--events", type=int, default=20_000, help="of one run (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    options = parser.parse_args()
    names = NAMES if options.database == "both" else (options.database,)
    peer = mlflow_server.points_per_second(METRICS) if mlflow_server.is_installed() else None
    if peer is not None:
        print(
            f"MLflow's server, SQLite: {peer.by_step:.0f} points/s by steps of {METRICS}, "
            f"{peer.by_thousand:.0f} points/s by calls of 1,000"
        )
    measured = {name: measure(name, options.events, options.rounds) for name in names}
    return max(report(name, rounds, peer) for name, rounds in measured.items())


def report(name: str, rounds: Sequence[Round], peer: mlflow_server.Peer | None) -> int:
    """Prints a database's line; 1 when it misses a figure."""
    service, bare, ratio = (
        statistics.median(getattr(one, field) for one in rounds) for field in ("service", "bare", "ratio")
    )
    over = service * METRICS / peer.by_thousand if peer is not None else None
    beside = f", {over:.0f} times MLflow's best (reach: {OVER_MLFLOW})" if over is not None else ""
    print(
        f"{name}: {service:.0f} events/s from reporter to visible (reach: {EVENTS_PER_SECOND}), "
        f"{service * METRICS:.0f} points/s{beside}; bare executemany {bare:.0f} rows/s, "
        f"ratio {ratio:.2f} (reach: {RATIO}); medians of {len(rounds)} rounds"
    )
    is_over = over is None or over >= OVER_MLFLOW
    return int(service < EVENTS_PER_SECOND or ratio < RATIO or not is_over)


def measure(name: str, events: int, rounds: int) -> list[Round]:
    """The rounds of one database."""
    with (
        tempfile.TemporaryDirectory(prefix="espo-bench-") as folder,
        redis_server() as redis_url,
        database(name) as database_url,
        _ingester(folder, database_url, redis_url),
    ):
        return [_round(database_url, redis_url, events) for _ in range(rounds)]


def _round(database_url: str, redis_url: str, events: int) -> Round:
    order = asyncio.run(_open_job(database_url, redis_url))
    seconds = _send(redis_url, order, events, database_url)
    bare = bare_seconds(database_url, order[0])
    return Round(service=events / seconds, bare=events / bare)


@contextmanager
def _ingester(folder: str, database_url: str, redis_url: str) -> Iterator[None]:
    """The service's own loop in a process of its own."""
    environment = {"ESPO_HOME": folder, "ESPO_DATABASE_URL": database_url, "ESPO_REDIS_URL": redis_url}
    command = [sys.executable, "-m", "api.loops", "ingest"]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


async def _open_job(database_url: str, redis_url: str) -> tuple[str, Assignment]:
    """A job with a live attempt whose keys are open, as the dispatcher leaves it."""
    opened = Database(Settings(database_url=database_url).database_url)
    (job_id,) = await add_jobs(opened, [0])
    async with opened.write() as session:
        job = await lock_job(session, job_id)
        assert job is not None
        order = await assignment(session, job, await next_attempt(session, job))
    async with Redis.from_url(redis_url) as client:
        await open_keys(client, job_id, order)
    await opened.close()
    return job_id, order


def _send(redis_url: str, order: tuple[str, Assignment], events: int, database_url: str) -> float:
    """Seconds from the first report until the database shows the last event."""
    go = _PROCESSES.Event()
    ready = _PROCESSES.Event()
    sender = _PROCESSES.Process(target=send, args=(redis_url, order, events, ready, go), daemon=True)
    sender.start()
    ready.wait()
    time.sleep(1)  # the ingester's loops have settled, and seen the stream
    begin = time.perf_counter()
    go.set()
    asyncio.run(_until_visible(database_url, order[0], events))
    seconds = time.perf_counter() - begin
    sender.join()
    return seconds


async def _until_visible(database_url: str, job_id: str, events: int) -> None:
    database = Database(Settings(database_url=database_url).database_url)
    query = select(Attempt.last_seq).where(Attempt.job_id == job_id)
    while True:
        async with database.read() as session:
            if (await session.scalar(query) or 0) >= events:
                break
        await asyncio.sleep(0.05)
    await database.close()


def send(
    redis_url: str,
    order: tuple[str, Assignment],
    events: int,
    ready: multiprocessing.synchronize.Event,
    go: multiprocessing.synchronize.Event,
) -> None:
    """The worker's side: reports as fast as it can, and waits until all of it is in the database."""
    job, given = order
    folder = Path(tempfile.mkdtemp(prefix="espo-bench-"))
    control = Control(attempt=1, desired=Desired.RUN, committed=0, opened=given.opened)
    # As the supervisor has them: parsed from the lines of the run.
    steps: list[Event] = [_step(step) for step in range(1, events + 1)]
    gc.freeze()  # the list is the bench's own: a worker never has so many at once
    with connect(redis_url) as client:
        reporter = Reporter(client, job, control, Spool(folder / "spool"), Wishes())
        reporter.start()
        ready.set()
        go.wait()
        for event in steps:
            reporter.report(event)
        reporter.report(Finished(step=events))
        while not reporter.drain(1.0):
            pass
        reporter.close()
    shutil.rmtree(folder)


def _step(step: int) -> Metrics:
    return Metrics(
        step=step,
        values={f"area{number % 4}/quantity_{number}": step / (number + 7) for number in range(METRICS)},
    )


if __name__ == "__main__":
    sys.exit(main())
