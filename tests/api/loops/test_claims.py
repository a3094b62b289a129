"""One attempt is never in two hands, even where Redis has forgotten whose it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from api.loops.attempt_keys import announce, close_keys, open_keys, tell_desired
from api.loops.context import Context
from api.loops.dispatch import Dispatcher
from api.loops.ingest import Ingester
from api.loops.reconcile import Reconciler
from espo_contracts.job import Desired
from espo_contracts.wire import LEASE_SECONDS, RUNS_KEY, Hint, claim_key, run_key
from espo_transfer import connect
from tests.api.loops.actors import FakeHints, HandWorker, attempts_of, dispatched, events_of, job_of
from tests.api.loops.conftest import MakeJob
from tests.api.loops.samples import STARTED
from worker.station import claim


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    """The connection of a worker."""
    with connect(redis_url) as client:
        yield client


async def ticks(context: Context, hints: FakeHints, seconds: float) -> None:
    """Lets a reconciler look every second."""
    reconciler = Reconciler(context, hints)
    for _ in range(int(seconds)):
        await reconciler.tick(listened_seconds=1.0)


async def test_an_attempt_that_redis_lost_before_anybody_was_seen_with_it_is_replaced(
    context: Context, make_job: MakeJob, hints: FakeHints, client: Redis
) -> None:
    first = await dispatched(context, await make_job(max_attempts=1))  # claimed, and cut off at once
    await context.redis.flushall()
    await ticks(context, hints, 2)
    (attempt,) = await attempts_of(context.database, first.job_id)
    job = await job_of(context.database, first.job_id)
    assert (attempt.outcome, job.status, job.max_attempts) == ("replaced", "queued", 2)
    assert "Redis lost attempt 1" in (await events_of(context.database, job.id, "state"))[-1].data["reason"]
    await Dispatcher(context, hints).dispatch()
    assert hints.sent == [Hint(job=job.id, attempt=2)]
    assert claim(client, Hint(job=job.id, attempt=1), "late") is None
    assert claim(client, Hint(job=job.id, attempt=2), "next") is not None
    assert await first.emit(STARTED) == [False]  # what the first one says is refused


async def test_an_attempt_that_redis_lost_with_its_claim_stays_with_its_worker(
    context: Context, make_job: MakeJob, hints: FakeHints, client: Redis
) -> None:
    worker = await dispatched(context, await make_job())
    await worker.beat()
    await ticks(context, hints, 1)
    await context.redis.flushall()
    await ticks(context, hints, 2)
    assert not client.exists(claim_key(worker.job_id, 1))
    assert claim(client, Hint(job=worker.job_id, attempt=1), "second") is None
    assert await worker.emit(STARTED) == [True]
    await Ingester(context).step()
    assert (await job_of(context.database, worker.job_id)).status == "running"
    assert hints.sent == []


async def test_a_beat_after_the_loss_says_whose_the_attempt_is(
    context: Context, make_job: MakeJob, hints: FakeHints, client: Redis
) -> None:
    worker = await dispatched(context, await make_job())
    await context.redis.flushall()
    await worker.beat()
    await ticks(context, hints, 2)
    assert claim(client, Hint(job=worker.job_id, attempt=1), "second") is None
    assert (await job_of(context.database, worker.job_id)).attempt == 1
    assert await worker.emit(STARTED) == [True]


async def test_a_claim_that_has_expired_is_no_way_in(
    context: Context, make_job: MakeJob, hints: FakeHints, client: Redis
) -> None:
    worker = await dispatched(context, await make_job())
    await worker.beat()
    await ticks(context, hints, 2)
    client.delete(claim_key(worker.job_id, 1))
    assert claim(client, Hint(job=worker.job_id, attempt=1), "second") is None


async def test_an_attempt_nobody_has_but_that_says_taken_is_lost_after_a_lease(
    context: Context, make_job: MakeJob, hints: FakeHints
) -> None:
    """A worker claimed it, was seen, and let go: it had not found the hash."""
    worker = await dispatched(context, await make_job())
    await context.redis.delete(f"espo:job:{worker.job_id}", run_key(worker.job_id))
    await ticks(context, hints, 2)
    await context.redis.delete(claim_key(worker.job_id, 1))
    await ticks(context, hints, LEASE_SECONDS + 1)
    (attempt,) = await attempts_of(context.database, worker.job_id)
    assert attempt.outcome == "lost"


async def test_a_dispatcher_that_was_held_up_does_not_displace_the_next_attempt(
    context: Context, make_job: MakeJob, hints: FakeHints
) -> None:
    first = await dispatched(context, await make_job())
    old = await first.assignment()
    await context.redis.flushall()
    await ticks(context, hints, 2)
    second = await dispatched(context, first.job_id, attempt=2)
    assert not await open_keys(context.redis, first.job_id, old)
    assert (await second.assignment()).attempt == 2
    assert await second.emit(STARTED) == [True]


async def test_an_order_to_stop_stays_though_the_job_goes_on(
    context: Context, make_job: MakeJob, client: Redis
) -> None:
    """A hint of the old attempt may still be in the queue, with no claim to keep it from starting."""
    job_id = await make_job()
    await Dispatcher(context, FakeHints()).dispatch()
    await close_keys(context.redis, job_id, 1)
    await announce(context.redis, await job_of(context.database, job_id))
    await tell_desired(context.redis, job_id, 1, Desired.RUN)
    assert (await HandWorker(context.redis, job_id).assignment()).desired == "cancel"
    assert claim(client, Hint(job=job_id, attempt=1), "late") is None
    assert not client.sismember(RUNS_KEY, job_id)
