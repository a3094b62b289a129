from __future__ import annotations

import asyncio
import time

import pytest
from redis.exceptions import RedisError
from sqlalchemy import update

from api.jobs.lifecycle import Cause, lock_job, request_cancel
from api.jobs.models import Attempt
from api.loops.context import Context
from api.loops.dispatch import Dispatcher
from api.loops.ingest import Ingester
from api.loops.reconcile import Reconciler
from espo_contracts.wire import HEARTBEAT_SECONDS, LEASE_SECONDS, RUNS_KEY, Hint, claim_key, job_key, run_key
from tests.api.loops.actors import (
    FakeHints,
    HandWorker,
    attempts_of,
    dispatched,
    events_of,
    job_of,
)
from tests.api.loops.conftest import MakeJob
from tests.api.loops.samples import FINISHED, STARTED, metrics


@pytest.fixture
async def worker(context: Context, make_job: MakeJob) -> HandWorker:
    return await dispatched(context, await make_job())


@pytest.fixture
def reconciler(context: Context, hints: FakeHints) -> Reconciler:
    return Reconciler(context, hints)


async def silence(reconciler: Reconciler, seconds: float = LEASE_SECONDS + 1) -> None:
    """Lets the reconciler listen for so long without hearing anything."""
    for _ in range(int(seconds)):
        await reconciler.tick(listened_seconds=1.0)


async def cancel(context: Context, job_id: str) -> None:
    async with context.database.write() as session:
        job = await lock_job(session, job_id)
        assert job is not None
        await request_cancel(session, job, Cause(actor="user", reason="cancel"))


async def test_a_lost_worker_makes_room_for_the_next_attempt(
    context: Context, worker: HandWorker, reconciler: Reconciler
) -> None:
    await worker.beat()
    await worker.emit(STARTED, metrics(1))
    await Ingester(context).step()
    await silence(reconciler, LEASE_SECONDS - 1)
    assert (await job_of(context.database, worker.job_id)).status == "running"
    await silence(reconciler, 2)
    assert (await job_of(context.database, worker.job_id)).status == "queued"
    (attempt,) = await attempts_of(context.database, worker.job_id)
    assert (attempt.outcome, attempt.worker) == ("lost", "hand")
    assert await context.redis.exists(run_key(worker.job_id), RUNS_KEY) == 0
    state = (await events_of(context.database, worker.job_id, "state"))[-1]
    assert (state.data["status"], state.data["actor"]) == ("queued", "reconciler")
    second = await dispatched(context, worker.job_id, attempt=2)
    assert (await second.assignment()).attempt == 2


async def test_attempts_used_up_end_as_worker_lost(
    context: Context, make_job: MakeJob, reconciler: Reconciler
) -> None:
    worker = await dispatched(context, await make_job(max_attempts=2))
    await worker.emit(STARTED)
    await Ingester(context).step()
    await silence(reconciler)
    second = await dispatched(context, worker.job_id, attempt=2)
    await silence(reconciler)  # this one is lost between its claim and its start
    job = await job_of(context.database, second.job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == "worker_lost"
    assert [attempt.outcome for attempt in await attempts_of(context.database, job.id)] == ["lost", "lost"]


async def test_beats_keep_the_lease_and_reach_the_database(
    context: Context, worker: HandWorker, reconciler: Reconciler
) -> None:
    await worker.emit(STARTED)
    await Ingester(context).step()
    saved = []
    for _ in range(4):
        await worker.beat()
        await silence(reconciler, 20)
        (attempt,) = await attempts_of(context.database, worker.job_id)
        assert attempt.beat is not None
        saved.append(attempt.beat["count"])
    assert saved == [1, 2, 3, 4]
    assert (await job_of(context.database, worker.job_id)).status == "running"


async def test_a_beat_that_does_not_count_on_is_silence(
    context: Context, worker: HandWorker, reconciler: Reconciler
) -> None:
    for _ in range(int(LEASE_SECONDS) + 2):
        worker.beats = 0
        await worker.beat()
        await reconciler.tick(listened_seconds=1.0)
    (attempt,) = await attempts_of(context.database, worker.job_id)
    assert attempt.outcome == "lost"


async def test_what_a_silent_worker_said_before_counts(
    context: Context, worker: HandWorker, reconciler: Reconciler
) -> None:
    """It finished while no ingester ran; it is not lost."""
    await worker.emit(STARTED, FINISHED)
    await silence(reconciler, 2 * LEASE_SECONDS)
    await Ingester(context).step()
    assert (await job_of(context.database, worker.job_id)).status == "succeeded"


async def test_time_without_redis_is_no_silence(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[float] = []

    async def tick(self: Reconciler, *, listened_seconds: float) -> None:
        heard.append(listened_seconds)
        if len(heard) < 3:
            raise RedisError("no answer")

    times = iter([0.0, 100.0, 150.0, 200.0, 200.0])
    monkeypatch.setattr(Reconciler, "tick", tick)
    context.stop.set()
    reconciler = Reconciler(context, FakeHints(), lambda: next(times))
    for _ in range(2):
        with pytest.raises(RedisError):
            await reconciler.step()
    await reconciler.step()
    assert heard == [2.0, 2.0, 2.0]  # and the first two did not count at all


async def test_redis_emptied_in_mid_run_loses_nothing(
    context: Context, worker: HandWorker, reconciler: Reconciler
) -> None:
    ingester = Ingester(context)
    await worker.beat()
    await worker.emit(STARTED, metrics(1))
    await ingester.step()
    await reconciler.tick(listened_seconds=1.0)
    opened = (await worker.assignment()).opened
    await worker.emit(metrics(2))  # in Redis, but not yet in the database
    await context.redis.flushall()
    assert await worker.emit(metrics(3)) == [False]
    await silence(reconciler, 2)
    assignment = await worker.assignment()
    assert assignment.opened != opened
    assert assignment.committed == 2
    await worker.resend()
    await worker.emit(metrics(4), FINISHED)
    await ingester.step()
    rows = await events_of(context.database, worker.job_id, "metrics")
    assert [row.step for row in rows] == [1, 2, 3, 4]
    assert (await job_of(context.database, worker.job_id)).status == "succeeded"


async def test_a_hint_that_was_lost_is_sent_again(
    context: Context, make_job: MakeJob, reconciler: Reconciler, hints: FakeHints
) -> None:
    job_id = await make_job()
    await Dispatcher(context, FakeHints()).dispatch()
    await silence(reconciler, 11)
    assert hints.sent == [Hint(job=job_id, attempt=1)]
    await silence(reconciler, 60)
    assert len(hints.sent) == 1  # its hint is still in the queue
    assert (await attempts_of(context.database, job_id))[0].ended_at is None
    hints.queue.clear()
    await silence(reconciler, 11)
    assert len(hints.sent) == 2
    await HandWorker(context.redis, job_id).claim()
    hints.queue.clear()
    await silence(reconciler, 20)
    assert len(hints.sent) == 2


async def test_a_cancel_that_could_not_reach_redis_is_passed_on(
    context: Context, worker: HandWorker, reconciler: Reconciler
) -> None:
    await worker.emit(STARTED)
    await Ingester(context).step()
    await cancel(context, worker.job_id)
    assert (await worker.assignment()).desired == "run"
    await reconciler.tick(listened_seconds=1.0)
    assert (await worker.assignment()).desired == "cancel"


async def test_a_cancel_whose_worker_is_gone_is_finalised(
    context: Context, worker: HandWorker, reconciler: Reconciler
) -> None:
    await worker.emit(STARTED)
    await Ingester(context).step()
    await cancel(context, worker.job_id)
    await silence(reconciler)
    assert (await job_of(context.database, worker.job_id)).status == "cancelled"


async def test_cancelled_in_the_queue_closes_keys_later_if_redis_was_away(
    context: Context, worker: HandWorker, reconciler: Reconciler
) -> None:
    await cancel(context, worker.job_id)
    assert (await job_of(context.database, worker.job_id)).status == "cancelled"
    (attempt,) = await attempts_of(context.database, worker.job_id)
    assert attempt.outcome == "cancelled"
    assert await context.redis.exists(run_key(worker.job_id)) == 1
    await reconciler.tick(listened_seconds=1.0)
    assert await context.redis.exists(run_key(worker.job_id), RUNS_KEY) == 0


async def test_an_acknowledgement_that_was_lost_is_repeated(
    context: Context, worker: HandWorker, reconciler: Reconciler
) -> None:
    await worker.emit(STARTED, metrics(1))
    await Ingester(context).step()
    await context.redis.hset(job_key(worker.job_id), "committed", "0")
    await reconciler.tick(listened_seconds=1.0)
    assert (await worker.assignment()).committed == 2


async def test_keys_of_a_job_that_is_unknown_are_removed(context: Context, reconciler: Reconciler) -> None:
    await context.redis.sadd(RUNS_KEY, "job-gone")
    await context.redis.xadd(run_key("job-gone"), {"marker": "x"}, id="3-0")
    await context.redis.hset(job_key("job-gone"), "attempt", "3")
    await reconciler.tick(listened_seconds=1.0)
    assert await context.redis.exists(RUNS_KEY, run_key("job-gone")) == 0
    assert await context.redis.ttl(job_key("job-gone")) > 0


async def test_a_run_beyond_its_hours_fails_though_its_worker_beats(
    context: Context, worker: HandWorker, reconciler: Reconciler
) -> None:
    await worker.emit(STARTED)
    await Ingester(context).step()
    async with context.database.write() as session:
        await session.execute(update(Attempt).values(started_at=time.time() - 25 * 3600))
    worker.beats = 10
    await worker.beat()
    await reconciler.tick(listened_seconds=1.0)
    # Our clock has stepped: its own, of which the beats tell, says that it has only begun.
    assert (await job_of(context.database, worker.job_id)).status == "running"
    worker.beats = int(25 * 3600 / HEARTBEAT_SECONDS)
    await worker.beat()
    await reconciler.tick(listened_seconds=1.0)
    job = await job_of(context.database, worker.job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == "timeout"
    assert (await worker.assignment()).desired == "cancel"


async def test_reconcilers_that_race_close_an_attempt_once(context: Context, worker: HandWorker) -> None:
    reconcilers = [Reconciler(context, FakeHints()) for _ in range(3)]
    await worker.emit(STARTED)
    await Ingester(context).step()
    for _ in range(int(LEASE_SECONDS) + 1):
        await asyncio.gather(*(reconciler.tick(listened_seconds=1.0) for reconciler in reconcilers))
    states = [row.data["status"] for row in await events_of(context.database, worker.job_id, "state")]
    assert states == ["queued", "running", "queued"]
    assert await context.redis.ttl(claim_key(worker.job_id, 1)) > 0
