"""What is done to a job at once comes out as if one had been after the other."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable
from copy import copy

import pytest

from espo_contracts.events import Failed
from espo_contracts.job import FailureCode
from tests.api.loops.actors import HandWorker
from tests.api.loops.house import House
from tests.api.loops.job_model import JobModel
from tests.api.loops.samples import STARTED, ended

WISHES = ("cancel", "pause", "resume", "retry")
OUTCOMES = ("succeeded", "cancelled", "paused", "handed_back")
DIVERGED = Failed(code=FailureCode.DIVERGED, message="NaN")


async def bring(house: House, state: str) -> tuple[str, JobModel, HandWorker | None]:
    """A job in a state, its model and the worker that has it."""
    job_id, model = await house.submit(), JobModel(fresh_attempts=house.settings.max_attempts)
    if state in {"queued", "paused"}:
        assert state == "queued" or (await house.wish(job_id, "pause", is_told=True) and model.pause())
        return job_id, model, None
    await house.dispatch()
    model.open()
    worker = await house.claim(job_id, 1)
    assert worker is not None
    if state == "taken":
        return job_id, model, worker
    await house.say(worker, STARTED)
    model.start()
    if state == "failed":
        await house.say(worker, DIVERGED)
        model.fail(is_retryable=False)
    return job_id, model, worker


async def at_once(*acts: Awaitable[object]) -> list[object]:
    return list(await asyncio.gather(*acts))


@pytest.mark.parametrize("state", ["queued", "taken", "running", "paused", "failed"])
def test_two_wishes(house: House, state: str) -> None:
    house.run(house.clear())
    for wishes in itertools.combinations_with_replacement(WISHES, 2):
        job_id, model, _ = house.run(bring(house, state))
        granted = house.run(at_once(*(house.wish(job_id, wish, is_told=True) for wish in wishes)))
        seen = house.run(house.look(job_id))
        assert (granted, seen.state) in [in_order(model, wishes), in_order(model, wishes[::-1])]
        assert [event.number for event in seen.events] == list(range(1, seen.job.event_count + 1))
        assert seen.job.status in {"queued", "running"} or seen.lasting_keys == []
        house.run(house.clear())


def in_order(model: JobModel, wishes: tuple[str, ...]) -> tuple[list[object], object]:
    """What is granted of two wishes in this order, as WISHES has them, and what becomes of the job."""
    model = copy(model)
    granted = [(wish, model.wish(wish)) for wish in wishes]
    return [one for _, one in sorted(granted, key=lambda one: WISHES.index(one[0]))], model.state


@pytest.mark.parametrize("state", ["taken", "running"])
def test_a_wish_and_the_end_of_the_attempt(house: House, state: str) -> None:
    house.run(house.clear())
    for wish, outcome in itertools.product(WISHES, OUTCOMES):
        job_id, before, worker = house.run(bring(house, state))
        assert worker is not None
        after = copy(before)
        house.run(worker.emit(ended(outcome)))
        house.run(at_once(house.wish(job_id, wish, is_told=True), house.ingest()))
        before.wish(wish)
        if before.is_live:  # else the wish has ended the attempt, whose last word came too late
            before.finish(outcome)
        after.finish(outcome)
        after.wish(wish)
        seen = house.run(house.look(job_id))
        assert seen.state in (before.state, after.state), (wish, outcome)
        house.run(house.clear())


@pytest.mark.parametrize("state", ["taken", "running"])
def test_a_wish_and_the_loss_of_the_worker(house: House, state: str) -> None:
    house.run(house.clear())
    for wish in WISHES:
        job_id, before, _ = house.run(bring(house, state))
        after = copy(before)
        house.run(house.tick())
        house.run(at_once(house.wish(job_id, wish, is_told=True), house.tick(seconds=31.0)))
        before.wish(wish)
        if before.is_live:
            before.fail(is_retryable=True)
        after.fail(is_retryable=True)
        after.wish(wish)
        assert house.run(house.look(job_id)).state in (before.state, after.state), wish
        house.run(house.clear())
