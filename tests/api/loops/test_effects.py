from __future__ import annotations

import pytest

from api.loops.context import Context
from api.loops.ingest import Ingester
from espo_contracts.events import Failed, Finished
from espo_contracts.job import FailureCode
from espo_contracts.wire import RUNS_KEY, beat_key, job_key, run_key
from tests.api.loops.actors import HandWorker, attempts_of, dispatched, events_of, job_of
from tests.api.loops.conftest import MakeJob
from tests.api.loops.samples import FINISHED, STARTED, metrics, resumed, sample


@pytest.fixture
async def worker(context: Context, make_job: MakeJob) -> HandWorker:
    return await dispatched(context, await make_job())


async def test_success_closes_the_keys(context: Context, worker: HandWorker) -> None:
    await worker.beat()
    await worker.emit(STARTED, metrics(1), FINISHED)
    await Ingester(context).step()
    job = await job_of(context.database, worker.job_id)
    assert (job.status, job.error) == ("succeeded", None)
    assert job.finished_at is not None
    (attempt,) = await attempts_of(context.database, worker.job_id)
    assert (attempt.outcome, attempt.last_seq) == ("succeeded", 3)
    assert await context.redis.exists(run_key(worker.job_id), beat_key(worker.job_id), RUNS_KEY) == 0
    assert await context.redis.hmget(job_key(worker.job_id), "desired", "committed") == [b'"cancel"', b"3"]
    assert 0 < await context.redis.ttl(job_key(worker.job_id)) <= 3600
    assert await worker.emit(metrics(2)) == [False]  # a stale worker leaves nothing behind


async def test_a_passing_failure_starts_the_next_attempt(context: Context, worker: HandWorker) -> None:
    await worker.emit(STARTED, metrics(1), metrics(2), sample(2))
    oom = Failed(code=FailureCode.OUT_OF_MEMORY, message="no memory", is_retryable=True)
    await worker.emit(oom)
    await Ingester(context).step()
    job = await job_of(context.database, worker.job_id)
    assert (job.status, job.error) == ("queued", None)
    assert context.dispatch_wanted.is_set()
    second = await dispatched(context, worker.job_id, attempt=2)
    assert await worker.emit(metrics(3)) == [False]
    await second.emit(STARTED, metrics(1, mean=0.9), FINISHED)
    await Ingester(context).step()
    rows = await events_of(context.database, worker.job_id, "metrics", "sample")
    assert [(row.attempt, row.step, row.is_superseded) for row in rows] == [
        (1, 1, True),
        (1, 2, True),
        (1, 2, True),
        (2, 1, False),
    ]
    job = await job_of(context.database, worker.job_id)
    assert (job.status, job.step, job.latest) == ("succeeded", 1, {"reward/mean": 0.9})


async def test_resumed_attempt_supersedes_only_what_it_does_again(
    context: Context, worker: HandWorker
) -> None:
    await worker.emit(STARTED, metrics(0), metrics(1), metrics(2))
    await worker.emit(Failed(code=FailureCode.INTERNAL, message="crash", is_retryable=True))
    await Ingester(context).step()
    second = await dispatched(context, worker.job_id, attempt=2)
    await second.emit(resumed(1))
    await Ingester(context).step()
    job = await job_of(context.database, worker.job_id)
    assert (job.status, job.step) == ("running", 1)
    rows = await events_of(context.database, worker.job_id, "metrics")
    assert [row.is_superseded for row in rows] == [False, False, True]


async def test_attempts_used_up_fails_with_the_last_reason(context: Context, make_job: MakeJob) -> None:
    worker = await dispatched(context, await make_job(max_attempts=1))
    await worker.emit(
        Failed(code=FailureCode.OUT_OF_MEMORY, message="no memory", hint="less", is_retryable=True)
    )
    await Ingester(context).step()
    job = await job_of(context.database, worker.job_id)
    assert job.status == "failed"
    assert job.error == {"code": "out_of_memory", "message": "no memory", "hint": "less"}


async def test_a_final_failure_is_not_tried_again(context: Context, worker: HandWorker) -> None:
    await worker.emit(STARTED, Failed(code=FailureCode.DIVERGED, message="loss is NaN at step 4"))
    await Ingester(context).step()
    job = await job_of(context.database, worker.job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == "diverged"


async def test_a_worker_that_shuts_down_uses_up_no_attempt(context: Context, make_job: MakeJob) -> None:
    worker = await dispatched(context, await make_job(max_attempts=1))
    await worker.emit(STARTED, metrics(1), Finished(outcome="handed_back", step=1))
    await Ingester(context).step()
    job = await job_of(context.database, worker.job_id)
    assert (job.status, job.max_attempts) == ("queued", 2)
    await dispatched(context, worker.job_id, attempt=2)


@pytest.mark.parametrize("is_started", [True, False])
async def test_a_cancelled_run_ends_cancelled(context: Context, worker: HandWorker, is_started: bool) -> None:
    await worker.emit(*[STARTED][:is_started], Finished(outcome="cancelled", step=0))
    await Ingester(context).step()
    assert (await job_of(context.database, worker.job_id)).status == "cancelled"
