"""Measures how long a worker waits between two jobs, and checks in which order they come.

    python -m bench.dispatch                       # 1,000 jobs, 4 workers, SQLite
    python -m bench.dispatch --database postgresql --jobs 200

Dispatcher, ingester and reconciler are one process, each worker is one: Celery and the worker's own code,
with a trainer that ends at once. Jobs have five priorities at random. Beside them wait jobs for a class of
worker that is not there, and half way a job comes that is more urgent than all.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from sqlalchemy import func, select

from api.db import Database
from api.jobs.models import Attempt, Job
from api.settings import REPOSITORY, Settings
from bench.databases import NAMES, database
from bench.jobs import add_jobs
from bench.servers import redis_server
from espo_contracts.wire import worker_key

REACH_SECONDS = 0.1
PATIENCE_SECONDS = 900.0
STRANDED = 20
"""Jobs of a class without a worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run showed."""

    seconds: float
    """From the first attempt's making to the last one's end."""
    order: list[tuple[int, float]]
    """(priority, time of submission) of the jobs in the order in which they got their attempts."""
    urgent_overtaken_by: int
    """Jobs that got an attempt after the urgent one was there and before it."""
    succeeded: int
    most_attempts: int


def main() -> int:
    """Exit status: 0 when the order is exact, every job is done and the wait is within reach."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=NAMES, default="sqlite")
    parser.add_argument("--jobs", type=int, default=1000, help="default %(default)s")
    parser.add_argument("--workers", type=int, default=4, help="default %(default)s")
    options = parser.parse_args()
    outcome = run(options.database, jobs=options.jobs, workers=options.workers)
    return report(outcome, jobs=options.jobs, workers=options.workers)


def report(outcome: Outcome, *, jobs: int, workers: int) -> int:
    """Prints the figures; 1 when one is missed."""
    each = outcome.seconds / jobs
    wanted = sorted(outcome.order, key=lambda job: (-job[0], job[1]))
    is_exact = outcome.order == wanted
    print(
        f"{jobs} jobs through {workers} workers with nothing to do in {outcome.seconds:.1f} s: "
        f"{1000 * each:.1f} ms a job (reach: {1000 * REACH_SECONDS:.0f}), "
        f"{1000 * each * workers:.0f} ms of a worker's time between two jobs"
    )
    print(
        f"order by priority and age {'exact' if is_exact else 'WRONG'}; "
        f"{outcome.succeeded} of {jobs + 1} succeeded, at most {outcome.most_attempts} attempts for one; "
        f"the urgent job waited for {outcome.urgent_overtaken_by} others"
    )
    is_fair = outcome.succeeded == jobs + 1 and outcome.urgent_overtaken_by <= workers
    return int(each > REACH_SECONDS or not is_exact or not is_fair)


def run(name: str, *, jobs: int, workers: int) -> Outcome:
    """Lets the jobs through."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="espo-bench-")))
        redis_url = stack.enter_context(redis_server())
        database_url = stack.enter_context(database(name))
        environment = {
            "ESPO_HOME": str(folder),
            "ESPO_DATABASE_URL": database_url,
            "ESPO_REDIS_URL": redis_url,
        }
        for _ in range(workers):
            stack.enter_context(_process(_WORKER, environment))
        _wait_until(lambda: _listening(redis_url) == workers)
        opened = Database(Settings(database_url=database_url).database_url)
        return asyncio.run(_measure(opened, environment, jobs))


async def _measure(opened: Database, environment: dict[str, str], jobs: int) -> Outcome:
    random.seed(0)
    await add_jobs(opened, [9] * STRANDED, device="gpu")
    ids = await add_jobs(opened, random.choices(range(5), k=jobs))
    with _process([sys.executable, "-m", "api.loops"], environment):
        await _until_done(opened, jobs // 2)
        (urgent,) = await add_jobs(opened, [100])
        await _until_done(opened, jobs + 1)
    outcome = await _outcome(opened, ids, urgent)
    await opened.close()
    return outcome


async def _until_done(opened: Database, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    query = select(func.count()).select_from(Job).where(Job.status == "succeeded")
    while True:
        async with opened.read() as session:
            done = await session.scalar(query) or 0
        if done >= count:
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"only {done} of {count} jobs were done after {PATIENCE_SECONDS:.0f} s")
        await asyncio.sleep(0.2)


async def _outcome(opened: Database, ids: list[str], urgent: str) -> Outcome:
    query = select(Job, Attempt).join(Attempt, Attempt.job_id == Job.id).order_by(Attempt.created_at)
    async with opened.read() as session:
        rows = [(job, attempt) for job, attempt in await session.execute(query)]
    ordinary, own = set(ids), next(attempt for job, attempt in rows if job.id == urgent)
    came_at = next(job.created_at for job, _ in rows if job.id == urgent)
    ends = [attempt.ended_at for job, attempt in rows if job.device == "cpu" and attempt.ended_at]
    return Outcome(
        seconds=max(ends) - min(attempt.created_at for job, attempt in rows if job.id in ordinary),
        order=[
            (job.priority, job.created_at)
            for job, attempt in rows
            if job.id in ordinary and attempt.number == 1
        ],
        urgent_overtaken_by=sum(came_at < attempt.created_at < own.created_at for _, attempt in rows),
        succeeded=sum(job.status == "succeeded" for job, _ in rows),
        most_attempts=max(attempt.number for _, attempt in rows),
    )


_WORKER = [
    sys.executable,
    "-m",
    "celery",
    "-A",
    "bench.noop_worker",
    "worker",
    "-Q",
    "espo.cpu",
    "-l",
    "ERROR",
]


@contextmanager
def _process(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=os.environ | environment, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def _listening(redis_url: str) -> int:
    with Redis.from_url(redis_url) as client:
        return len(list(client.scan_iter(match=worker_key("*"))))


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not is_so():
        if time.monotonic() > deadline:
            raise SystemExit("the workers did not start")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
