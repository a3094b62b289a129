from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from api.jobs.lifecycle import end_attempt, lock_job
from api.loops import ingest
from api.loops.attempt_keys import announce, open_keys
from api.loops.context import Context
from api.loops.ingest import Ingester
from api.loops.reconcile import Reconciler
from espo_contracts.events import Log
from espo_contracts.wire import job_key, run_key
from tests.api.loops.actors import (
    FakeHints,
    HandWorker,
    dispatched,
    events_of,
    job_of,
    original,
)
from tests.api.loops.conftest import MakeJob
from tests.api.loops.samples import FINISHED, STARTED, metrics, sample


@pytest.fixture
async def worker(context: Context, make_job: MakeJob) -> HandWorker:
    return await dispatched(context, await make_job())


async def committed(worker: HandWorker) -> int:
    return (await worker.assignment()).committed


async def test_events_come_in_order_and_change_the_job(context: Context, worker: HandWorker) -> None:
    sent = [STARTED, metrics(1, mean=0.1), sample(1), Log(message="hello"), metrics(2, mean=0.2, std=0.5)]
    assert all(await worker.emit(*sent))
    await Ingester(context).step()
    rows = await events_of(context.database, worker.job_id)
    assert [row.type for row in rows] == ["state", "started", "state", "metrics", "sample", "log", "metrics"]
    assert [original(row) for row in rows if row.type != "state"] == sent
    assert [row.seq for row in rows if row.type != "state"] == [1, 2, 3, 4, 5]
    job = await job_of(context.database, worker.job_id)
    assert (job.status, job.step, job.total_steps) == ("running", 2, 100)
    assert job.latest == {"reward/mean": 0.2, "reward/std": 0.5}
    assert job.event_count == len(rows)
    assert job.started_at is not None
    assert await committed(worker) == 5
    assert await context.redis.xlen(run_key(worker.job_id)) == 0


async def test_a_commit_without_acknowledgement_is_not_repeated(
    context: Context, worker: HandWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*_: object) -> None:
        raise ConnectionError("the process dies here")

    await worker.emit(STARTED, metrics(1))
    with monkeypatch.context() as patch:
        patch.setattr(ingest, "acknowledge", crash)
        with pytest.raises(ConnectionError):
            await Ingester(context).step()
    assert await context.redis.xlen(run_key(worker.job_id)) == 3  # the marker and both events
    assert await committed(worker) == 0
    await worker.emit(metrics(2))
    await Ingester(context).step()
    rows = await events_of(context.database, worker.job_id, "metrics")
    assert [row.step for row in rows] == [1, 2]
    assert await committed(worker) == 3


async def test_duplicate_delivery_is_refused_by_redis(context: Context, worker: HandWorker) -> None:
    await worker.emit(STARTED, metrics(1))
    assert not await worker.send(worker.spool[1])
    ingester = Ingester(context)
    await ingester.step()
    assert not await worker.send(worker.spool[0])  # also after the stream was trimmed
    await ingester.step()
    assert len(await events_of(context.database, worker.job_id, "started", "metrics")) == 2


async def test_ingesters_that_race_commit_each_event_once(context: Context, worker: HandWorker) -> None:
    ingesters = [Ingester(context) for _ in range(3)]
    await worker.emit(STARTED)
    step = 0
    for _ in range(10):
        count = 7
        await worker.emit(*(metrics(step + index + 1) for index in range(count)))
        step += count
        await asyncio.gather(*(ingester.step() for ingester in ingesters))
    deadline = time.monotonic() + 20
    while (await job_of(context.database, worker.job_id)).step < step:
        assert time.monotonic() < deadline
        await ingesters[0].step()
    rows = await events_of(context.database, worker.job_id, "metrics")
    assert [row.step for row in rows] == list(range(1, step + 1))
    assert await committed(worker) == step + 1


async def test_a_gap_makes_the_sender_go_back(context: Context, worker: HandWorker) -> None:
    ingester, reconciler = Ingester(context), Reconciler(context, FakeHints())
    await worker.emit(STARTED, metrics(1))
    await ingester.step()
    opened = (await worker.assignment()).opened
    lost, kept = worker.number(metrics(2)), worker.number(metrics(3))
    assert await worker.send(kept)
    await ingester.step()
    assert not await worker.send(lost)  # no stream: the sender waits for the next opening
    assert await context.redis.exists(job_key(worker.job_id)) == 0  # and does not think that it is fenced
    for _ in range(2):
        await reconciler.tick(listened_seconds=1)
    assert (await worker.assignment()).opened != opened
    await worker.resend()
    await ingester.step()
    rows = await events_of(context.database, worker.job_id, "metrics")
    assert [row.step for row in rows] == [1, 2, 3]


async def test_what_follows_a_gap_waits_but_what_precedes_it_is_kept(
    context: Context, worker: HandWorker
) -> None:
    await worker.emit(STARTED)
    worker.number(metrics(1))
    await worker.send(worker.number(metrics(2)))
    await Ingester(context).step()
    assert len(await events_of(context.database, worker.job_id, "started")) == 1
    assert await events_of(context.database, worker.job_id, "metrics") == []


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ('{"nonsense": 1}', "not valid"),
        ("not json", "not valid"),
        ("", "not valid"),
        ('{"attempt": 1, "seq": 9, "time": 0, "event": {"type": "log", "message": "x"}}', "calls itself 1-9"),
    ],
)
async def test_poison_fails_the_job_and_nobody_else(
    context: Context, make_job: MakeJob, worker: HandWorker, document: str, names: str
) -> None:
    await worker.emit(STARTED)
    await worker.send_raw(2, document)
    other = await dispatched(context, await make_job())
    await other.emit(STARTED, FINISHED)
    ingester = Ingester(context)
    await ingester.step()
    await ingester.step()
    job = await job_of(context.database, worker.job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == "internal"
    assert names in job.error["message"]
    assert len(await events_of(context.database, worker.job_id, "started")) == 1
    assert await context.redis.exists(run_key(worker.job_id)) == 0
    assert (await job_of(context.database, other.job_id)).status == "succeeded"


async def test_a_number_beyond_the_database_is_poison(context: Context, worker: HandWorker) -> None:
    await worker.emit(STARTED, metrics(2**70))
    await Ingester(context).step()
    job = await job_of(context.database, worker.job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == "internal"


async def test_events_of_an_attempt_that_is_over_are_refused(context: Context, worker: HandWorker) -> None:
    await worker.emit(STARTED)
    ingester = Ingester(context)
    await ingester.step()
    await worker.emit(metrics(1))
    async with context.database.write() as session:
        await _lose(session, worker.job_id)
    await ingester.step()
    assert await events_of(context.database, worker.job_id, "metrics") == []


async def _lose(session: AsyncSession, job_id: str) -> None:
    job = await lock_job(session, job_id)
    assert job is not None
    assert await end_attempt(session, job, "lost")


async def test_an_opening_that_knew_an_older_watermark_does_no_harm(
    context: Context, worker: HandWorker
) -> None:
    """Another process opened the stream with what it had read before the last commit."""
    stale = await worker.assignment()
    ingester = Ingester(context)
    await worker.emit(STARTED, metrics(1))
    await ingester.step()
    await open_keys(context.redis, worker.job_id, stale)
    await worker.resend()
    await worker.emit(metrics(2))
    await ingester.step()
    rows = await events_of(context.database, worker.job_id, "metrics")
    assert [row.step for row in rows] == [1, 2]
    assert await committed(worker) == 3


async def test_a_new_stream_is_seen_within_the_promised_time(context: Context, make_job: MakeJob) -> None:
    first = await dispatched(context, await make_job())
    ingester = Ingester(context)
    await first.emit(STARTED)
    await ingester.step()
    reading = asyncio.create_task(ingester.step())  # blocks on the first stream
    second = await dispatched(context, await make_job())
    await second.emit(STARTED)
    began = time.monotonic()
    await reading
    while (await job_of(context.database, second.job_id)).status != "running":
        await ingester.step()
    assert time.monotonic() - began < 1.0


async def test_announce_closes_what_was_cancelled_in_the_queue(context: Context, worker: HandWorker) -> None:
    job = await job_of(context.database, worker.job_id)
    job.status = "cancelled"
    await announce(context.redis, job)
    assert await context.redis.exists(run_key(worker.job_id)) == 0
    assert await context.redis.hget(job_key(worker.job_id), "desired") == b'"cancel"'
