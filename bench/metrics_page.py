"""How long a page of metrics takes of a job with a million points.

    python -m bench.metrics_page                      # SQLite and PostgreSQL
    python -m bench.metrics_page --database sqlite --points 100000

Such jobs are written into a database of their own: steps of 20 metrics, steps of one, and the most steps that
are still read one by one. The service's own code summarises them; then an API process is asked over HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
from sqlalchemy import insert

from api.auth.keys import Scope
from api.auth.service import create_key
from api.db import Database
from api.events.models import JobEvent
from api.jobs.lifecycle import Cause, submit
from api.jobs.models import Job
from api.loops.summarise import summarise
from api.settings import REPOSITORY, Settings
from bench.databases import NAMES, database
from bench.jobs import job_of
from bench.latency import percentile
from bench.transfer import redis

REACH_MS, MAX_POINTS = 50, 500
ROWS_AT_ONCE = 5000
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What was asked for, milliseconds of each answer, and of the API's processor time the mean."""

    what: str
    points: int
    milliseconds: list[float]
    processor_ms: float


def main() -> int:
    """Exit status: 0 when each page is as quick as it shall be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=[*NAMES, "both"], default="both")
    parser.add_argument("--points", type=int, default=1_000_000, help="of a job (default %(default)s)")
    parser.add_argument("--requests", type=int, default=100, help="of a page (default %(default)s)")
    options = parser.parse_args()
    names = NAMES if options.database == "both" else (options.database,)
    return max(report(name, measure(name, options.points, options.requests)) for name in names)


def report(name: str, pages: Sequence[Page]) -> int:
    """Prints a database's lines; 1 when one misses the figure."""
    for page in pages:
        middle, slow = statistics.median(page.milliseconds), percentile(page.milliseconds, 0.95)
        print(
            f"{name:10} {page.what:45} {page.points:6} points, "
            f"median {middle:5.1f} ms, p95 {slow:5.1f} ms (reach: {REACH_MS} ms), "
            f"{page.processor_ms:4.1f} ms of processor time"
        )
    return int(any(statistics.median(page.milliseconds) > REACH_MS for page in pages))


def measure(name: str, points: int, requests: int) -> list[Page]:
    """The pages of one database."""
    with (
        tempfile.TemporaryDirectory(prefix="espo-bench-") as folder,
        redis(None, folder) as redis_url,
        database(name) as url,
    ):
        key, jobs = asyncio.run(_fill(url, points))
        environment = {
            "ESPO_HOME": folder,
            "ESPO_DATABASE_URL": url,
            "ESPO_REDIS_URL": redis_url,
            "ESPO_LOOPS": "",
        }
        with _api(environment, key) as (client, process):
            return [page for job in jobs for page in _pages(client, process, job, requests)]


def _pages(
    client: httpx.Client, process: psutil.Process, job: tuple[str, int, int], requests: int
) -> Iterator[Page]:
    """Yields the whole of a job, and a poll of what its last steps brought."""
    job_id, steps, metrics = job
    for what, since_step in (("all of it", -1), ("its last 10 steps", steps - 11)):
        query = {"max_points": MAX_POINTS, "since_step": since_step}
        took, shown, before = [], 0, _processor_ms(process)
        for _ in range(requests):
            begin = time.perf_counter()
            answer = client.get(f"/v1/jobs/{job_id}/metrics", params=query).raise_for_status()
            took.append(1000 * (time.perf_counter() - begin))
            shown = sum(len(one["steps"]) for one in answer.json()["series"].values())
        used = (_processor_ms(process) - before) / requests
        name = f"{steps} steps of {metrics}, {what}"
        yield Page(what=name, points=shown, milliseconds=took, processor_ms=used)


def _processor_ms(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(1000 * (times.user + times.system))


@contextmanager
def _api(environment: dict[str, str], key: str) -> Iterator[tuple[httpx.Client, psutil.Process]]:
    """A client of an API process that answers, and that process."""
    socket = f"{environment['ESPO_HOME']}/api.sock"
    command = [sys.executable, "-m", "uvicorn", "--factory", "api.app:create_app", "--uds", socket]
    process = subprocess.Popen(
        [*command, "--log-level", "warning"], cwd=REPOSITORY, env=os.environ | environment
    )
    headers = {"authorization": f"Bearer {key}"}
    try:
        transport = httpx.HTTPTransport(uds=socket)
        with httpx.Client(base_url="http://api", transport=transport, headers=headers, timeout=60) as client:
            _wait(client)
            yield client, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def _wait(client: httpx.Client) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            client.get("/healthz").raise_for_status()
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


async def _fill(url: str, points: int) -> tuple[str, list[tuple[str, int, int]]]:
    """A key, and id, steps and metrics of each job that was written."""
    opened = Database(Settings(database_url=url).database_url)
    async with opened.write() as session:
        row, key = await create_key(session, project="bench", name="bench", scopes=[Scope.READ])
    jobs = []
    for steps, metrics in ((points // 20, 20), (points, 1), (3 * MAX_POINTS - 1, 20)):
        job_id = await _job(opened, row.project_id, steps, metrics)
        while await summarise(opened, job_id):
            pass
        jobs.append((job_id, steps, metrics))
    await opened.close()
    return key, jobs


async def _job(opened: Database, project_id: str, steps: int, metrics: int) -> str:
    """Id of a job with so many steps."""
    names = [f"area_{index}/quantity" for index in range(metrics)]
    job = job_of(project_id, steps=steps)
    async with opened.write() as session:
        await submit(session, job, Cause(actor="user", reason="bench"))
    for first in range(1, steps + 1, ROWS_AT_ONCE):
        rows = [_row(job.id, step, names) for step in range(first, min(first + ROWS_AT_ONCE, steps + 1))]
        async with opened.write() as session:
            await session.execute(insert(JobEvent), rows)
    async with opened.write() as session:
        (await session.get_one(Job, job.id)).step = steps
    return job.id


def _row(job_id: str, step: int, names: Sequence[str]) -> dict[str, Any]:
    """A step's event: noisy curves, as those of a run are."""
    values = {name: math.sin(step / 5000 + index) + random.gauss(0, 0.1) for index, name in enumerate(names)}
    return {
        "job_id": job_id,
        "number": step + 1,
        "attempt": 1,
        "seq": step,
        "time": 1000.0 + step,
        "type": "metrics",
        "step": step,
        "is_superseded": False,
        "data": {"step": step, "values": values, "non_finite": {}},
    }


if __name__ == "__main__":
    sys.exit(main())
