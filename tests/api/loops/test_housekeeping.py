from __future__ import annotations

import os
import time

from sqlalchemy import select, update

from api.jobs.models import Attempt, IdempotencyKey
from api.loops.context import Context
from api.loops.housekeeping import Housekeeper
from api.store.incoming import incoming
from espo_contracts.wire import UPLOADS_KEY
from tests.api.loops.actors import dispatched
from tests.api.loops.conftest import MakeJob


async def test_what_killed_processes_left_goes_and_what_is_under_way_stays(context: Context) -> None:
    home = context.settings.home
    (home / "tmp" / ".dead.part").mkdir(parents=True)
    (home / "tmp" / ".dead.lock").touch()
    async with incoming(home) as folder:
        os.utime(folder, (0, 0))  # old, for whoever asks a clock
        await Housekeeper(context).tidy()
        assert [path.name for path in (home / "tmp").glob("*.part")] == [folder.name]
    assert list((home / "tmp").iterdir()) == []


async def test_idempotency_keys_live_a_day(context: Context, make_job: MakeJob) -> None:
    job_id = await make_job()
    async with context.database.write() as session:
        for key, age in (("old", 26), ("fresh", 24)):
            created_at = time.time() - age * 3600
            session.add(
                IdempotencyKey(
                    project_id="project", key=key, body_sha256="0" * 64, job_id=job_id, created_at=created_at
                )
            )
    await Housekeeper(context).tidy()
    async with context.database.read() as session:
        assert list(await session.scalars(select(IdempotencyKey.key))) == ["fresh"]


async def test_offers_of_attempts_that_were_over_a_round_ago_go(context: Context, make_job: MakeJob) -> None:
    live, over = await dispatched(context, await make_job()), await dispatched(context, await make_job())
    for field in (f"{live.job_id}:1:5", f"{over.job_id}:1:5", "job-gone:1:5", "nonsense"):
        await context.redis.hset(UPLOADS_KEY, field, "{}")
    async with context.database.write() as session:
        # By a clock that is an hour ahead.
        ended = update(Attempt).where(Attempt.job_id == over.job_id).values(ended_at=time.time() + 3600)
        await session.execute(ended)
    housekeeper = Housekeeper(context)
    await housekeeper.tidy()
    assert await context.redis.hlen(UPLOADS_KEY) == 4  # its worker may be about to read the answer
    await housekeeper.tidy()
    assert await context.redis.hkeys(UPLOADS_KEY) == [f"{live.job_id}:1:5".encode()]
