from __future__ import annotations

import asyncio
import random
from typing import Any

from sqlalchemy import insert, select

from api.events.models import JobEvent
from api.jobs.models import Job
from api.loops.context import Context
from api.loops.ingest import Ingester
from api.loops.summarise import Summariser, summarise
from api.metrics import service
from api.metrics.blocks import SMALLEST, Block, block_of
from api.metrics.models import MetricBlock
from api.metrics.steps import StepMetrics
from tests.api.loops.actors import dispatched, job_of
from tests.api.loops.conftest import MakeJob
from tests.api.loops.samples import metrics, resumed

Values = dict[int, float | None]


def noisy(count: int) -> Values:
    """A value for each step; two are not finite."""
    draw = random.Random(count)
    values: Values = {step: draw.gauss(0, 1) for step in range(1, count + 1)}
    return values | {40: None, count: None}


async def add_steps(context: Context, job_id: str, values: Values, *, attempt: int = 1) -> None:
    """Stores a metric's values as a run's."""
    first = (await job_of(context.database, job_id)).event_count - min(values) + 1
    rows = [
        {
            "job_id": job_id,
            "number": first + step,
            "attempt": attempt,
            "seq": 1000 + step,
            "time": 1.0,
            "type": "metrics",
            "step": step,
            "is_superseded": False,
            "data": {"step": step, "values": {"a/b": value}, "non_finite": {} if value else {"a/b": "nan"}},
        }
        for step, value in values.items()
    ]
    async with context.database.write() as session:
        await session.execute(insert(JobEvent), rows)
        job = await session.get_one(Job, job_id)
        job.step, job.event_count = max(values), first + max(values)


async def shown(context: Context, job_id: str, *, most: int, since: int = -1) -> dict[str, Any]:
    """The metric's curve."""
    job = await job_of(context.database, job_id)
    async with context.database.read() as session:
        page = await service.curves(session, job, [], since_step=since, max_points=most)
    curve: dict[str, Any] = next(iter(page["series"].values()))
    assert page["last_step"] == curve["steps"][-1]
    return curve


async def blocks(context: Context, job_id: str) -> dict[tuple[int, int], Block]:
    async with context.database.read() as session:
        rows = await session.scalars(select(MetricBlock).where(MetricBlock.job_id == job_id))
        return {(row.size, row.start): row.data for row in rows}


async def test_blocks_of_every_size_are_those_of_the_steps(context: Context, make_job: MakeJob) -> None:
    job_id, values = await make_job(), noisy(1100)
    await add_steps(context, job_id, values)
    await Summariser(context).round()
    assert (await job_of(context.database, job_id)).summarised == 4 * SMALLEST
    found = await blocks(context, job_id)
    assert {size for size, _ in found} == {256, 512, 1024}
    rows = [
        StepMetrics(
            step=step, time=0, attempt=1, values={"a/b": value}, non_finite={} if value else {"a/b": "nan"}
        )
        for step, value in values.items()
    ]
    for (size, start), block in found.items():
        assert block == block_of([row for row in rows if start <= row.step < start + size], size)


async def test_a_page_of_blocks_is_of_the_curve_and_loses_no_extreme(
    context: Context, make_job: MakeJob
) -> None:
    job_id, values = await make_job(), noisy(1100)
    await add_steps(context, job_id, values)
    whole = await shown(context, job_id, most=5000)
    await Summariser(context).round()
    assert await shown(context, job_id, most=5000) == whole
    assert dict(zip(whole["steps"], whole["values"], strict=True)) == values
    for since in (-1, 0, 7, 300, 1050):
        page = await shown(context, job_id, most=60, since=since)
        rest = {step: value for step, value in values.items() if step > since}
        assert len(page["steps"]) <= 60
        assert page["steps"] == sorted(set(page["steps"]))
        assert all(rest[step] == value for step, value in zip(page["steps"], page["values"], strict=True))
        finite = [value for value in rest.values() if value is not None]
        assert {min(finite), max(finite)} <= set(page["values"])
        assert set(page["non_finite"]) == {str(step) for step, value in rest.items() if value is None}


async def test_what_is_done_again_is_summarised_again(context: Context, make_job: MakeJob) -> None:
    job_id = await make_job()
    await add_steps(context, job_id, dict.fromkeys(range(1, 601), 1.0), attempt=0)
    await Summariser(context).round()
    assert (await job_of(context.database, job_id)).summarised == 512
    worker = await dispatched(context, job_id)
    await worker.emit(resumed(300), metrics(301, mean=5.0))
    await Ingester(context).step()
    job = await job_of(context.database, job_id)
    assert (job.step, job.summarised) == (301, 256)
    assert max(start + size for size, start in await blocks(context, job_id)) == 256
    await add_steps(context, job_id, dict.fromkeys(range(302, 560), 5.0))
    await Summariser(context).round()
    assert (await job_of(context.database, job_id)).summarised == 512
    async with context.database.read() as session:
        job = await session.get_one(Job, job_id)
        page = await service.curves(session, job, ["a/b"], since_step=-1, max_points=30)
    points = zip(page["series"]["a/b"]["steps"], page["series"]["a/b"]["values"], strict=True)
    assert all(value == (1.0 if step <= 300 else 5.0) for step, value in points)
    assert page["last_step"] == 559


async def test_several_at_once_write_a_block_once(context: Context, make_job: MakeJob) -> None:
    job_id = await make_job()
    await add_steps(context, job_id, noisy(300))
    done = await asyncio.gather(*(summarise(context.database, job_id) for _ in range(3)))
    assert sorted(done) == [False, False, True]
    assert list(await blocks(context, job_id)) == [(256, 0)]


async def test_a_round_takes_no_more_than_its_share(context: Context, make_job: MakeJob) -> None:
    short, long = await make_job(), await make_job()
    await add_steps(context, short, dict.fromkeys(range(1, 300), 0.5))
    await add_steps(context, long, dict.fromkeys(range(1, 3000), 0.5))
    await Summariser(context).round()
    assert (await job_of(context.database, short)).summarised == 256
    assert (await job_of(context.database, long)).summarised == 8 * 256
