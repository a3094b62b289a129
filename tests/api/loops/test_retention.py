from __future__ import annotations

import pytest

from api.loops.context import Context
from api.loops.housekeeping import Housekeeper
from api.loops.ingest import Ingester
from api.store import repository
from tests.api.loops.actors import HandWorker, checkpoints_of, dispatched
from tests.api.loops.conftest import MakeJob
from tests.api.loops.samples import STARTED, checkpoint

SHA256 = {step: f"{step:064x}" for step in range(1, 10)}


@pytest.fixture
async def worker(context: Context, make_job: MakeJob) -> HandWorker:
    worker = await dispatched(context, await make_job(schedule={"keep": 2}))
    async with context.database.write() as session:
        for sha256 in SHA256.values():
            await repository.touch(session, sha256, 3)
    await worker.emit(STARTED)
    return worker


async def keep(context: Context, worker: HandWorker, means: dict[int, float | None]) -> list[int]:
    for step, mean in means.items():
        await worker.emit(checkpoint(step, SHA256[step], mean=mean))
        await Ingester(context).step()
    return await checkpoints_of(context.database, worker.job_id)


async def test_keeps_the_newest_and_the_best(context: Context, worker: HandWorker) -> None:
    assert await keep(context, worker, {1: 0.1, 2: 0.9, 3: 0.2, 4: 0.3, 5: 0.4}) == [2, 4, 5]


async def test_keeps_the_newest_alone_where_nothing_was_measured(
    context: Context, worker: HandWorker
) -> None:
    assert await keep(context, worker, {1: None, 2: None, 3: None}) == [2, 3]


async def test_of_two_equals_the_later_is_the_best(context: Context, worker: HandWorker) -> None:
    assert await keep(context, worker, {1: 0.9, 2: 0.9, 3: 0.1, 4: 0.1}) == [2, 3, 4]


async def test_keeps_what_an_unfinished_job_starts_from(
    context: Context, worker: HandWorker, make_job: MakeJob
) -> None:
    assert await keep(context, worker, {1: 0.1, 2: 0.9}) == [1, 2]
    await make_job(model={"checkpoint": {"job": worker.job_id, "step": 1}})
    await make_job()
    assert await keep(context, worker, {3: 0.1, 4: 0.1}) == [1, 2, 3, 4]


async def test_the_same_step_of_a_later_attempt_replaces_the_row(
    context: Context, worker: HandWorker
) -> None:
    await worker.emit(checkpoint(1, SHA256[1]), checkpoint(1, SHA256[2]))
    await Ingester(context).step()
    assert await checkpoints_of(context.database, worker.job_id) == [1]


async def test_bytes_that_no_checkpoint_names_are_swept_after_an_hour(
    context: Context, worker: HandWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(context, worker, {1: None, 2: None, 3: None})
    await Housekeeper(context).tidy()
    async with context.database.read() as session:
        assert await repository.used_bytes(session) == 3 * len(SHA256)
    monkeypatch.setattr("api.store.service.GRACE_SECONDS", -1.0)
    monkeypatch.setattr("api.store.service.WATCH_SECONDS", 0.0)
    await Housekeeper(context).tidy()
    async with context.database.read() as session:
        assert await repository.used_bytes(session) == 3 * 2
