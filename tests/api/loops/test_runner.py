from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from api.loops.attempt_keys import nudge
from api.loops.context import Context, Stop
from api.loops.ingest import Ingester
from api.loops.runner import keep_going, run_loops
from api.loops.wake import DispatchWaker
from api.settings import REPOSITORY, Settings
from espo_contracts.wire import queue_name
from tests.api.loops.actors import HandWorker, dispatched, events_of, eventually, job_of
from tests.api.loops.conftest import MakeJob
from tests.api.loops.samples import FINISHED, STARTED, metrics
from tests.servers import RedisServer

ALL = ("dispatch", "ingest", "reconcile")


async def test_a_step_that_fails_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    stop, calls = Stop(), 0

    async def step() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("the disk is away")
        if calls == 2:
            raise ValueError("a defect")
        stop.set()

    await keep_going("test", step, stop)
    assert calls == 3
    assert "the disk is away" in caplog.text
    assert "a defect" in caplog.text


async def test_redis_killed_and_started_empty_in_mid_run(
    context: Context, make_job: MakeJob, tmp_path: Path
) -> None:
    server = RedisServer(tmp_path)
    server.start()
    redis = Redis.from_url(server.url)
    settings = Settings(home=context.settings.home, redis_url=server.url)
    mine = Context(settings=settings, database=context.database, redis=redis, store=context.store)
    loops = asyncio.create_task(run_loops(ALL, mine))
    try:
        worker = HandWorker(redis, await make_job())
        await _hinted(redis)
        await worker.emit(STARTED, metrics(1))
        await eventually(lambda: _has_status(mine, worker.job_id, "running"))
        opened = (await worker.assignment()).opened
        server.kill()
        worker.number(metrics(2))
        server.start()
        await eventually(lambda: _is_reopened(worker, opened), seconds=30)
        await worker.resend()
        await worker.emit(metrics(3), FINISHED)
        await eventually(lambda: _has_status(mine, worker.job_id, "succeeded"))
    finally:
        mine.stop.set()
        await loops
        await redis.aclose()
        server.kill()
    rows = await events_of(context.database, worker.job_id, "metrics")
    assert [row.step for row in rows] == [1, 2, 3]


async def test_a_database_that_drops_connections_in_mid_run(
    context: Context, make_job: MakeJob, database_url: str, request: pytest.FixtureRequest
) -> None:
    if context.database.is_sqlite:
        pytest.skip("SQLite has no connections to drop")
    ingester = Ingester(context)
    worker = await dispatched(context, await make_job())
    loops = asyncio.create_task(keep_going("ingest", ingester.step, context.stop))
    try:
        await worker.emit(STARTED)
        for step in range(1, 31):
            await worker.emit(metrics(step))
            await asyncio.to_thread(_drop_connections, request.getfixturevalue("postgres_url"), database_url)
        await worker.emit(FINISHED)
        await eventually(lambda: _has_status(context, worker.job_id, "succeeded"), seconds=30)
    finally:
        context.stop.set()
        await loops
    rows = await events_of(context.database, worker.job_id, "metrics")
    assert [row.step for row in rows] == list(range(1, 31))


def _drop_connections(server: str, url: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        name = make_url(url).database
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )


async def test_loops_as_a_process_of_their_own_end_with_sigterm(
    context: Context, make_job: MakeJob, database_url: str, redis_url: str
) -> None:
    environment = os.environ | {
        "ESPO_HOME": str(context.settings.home),
        "ESPO_DATABASE_URL": database_url,
        "ESPO_REDIS_URL": redis_url,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "error", "-m", "api.loops", *ALL),
        env=environment,
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
    )
    try:
        worker = HandWorker(context.redis, await make_job())
        await _hinted(context.redis)
        await worker.emit(STARTED, FINISHED)
        await eventually(lambda: _has_status(context, worker.job_id, "succeeded"))
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, errors.decode()) == (0, "")


async def _hinted(redis: Redis) -> None:
    async def is_hinted() -> bool:
        return await redis.llen(queue_name("cpu")) == 1

    await eventually(is_hinted, seconds=20)


async def _is_reopened(worker: HandWorker, opened: str) -> bool:
    try:
        return (await worker.assignment()).opened != opened
    except (ValueError, RedisError):  # empty, or not there
        return False


async def _has_status(context: Context, job_id: str, status: str) -> bool:
    try:
        return (await job_of(context.database, job_id)).status == status
    except OperationalError:  # this test has just dropped the connection
        return False


async def test_a_nudge_of_another_process_wakes_the_dispatcher(context: Context) -> None:
    waker = asyncio.create_task(DispatchWaker(context).step())

    async def is_woken() -> bool:
        await nudge(context.redis, "job-1")
        return context.dispatch_wanted.is_set()

    await eventually(is_woken)
    context.stop.set()
    await waker
