from __future__ import annotations

import os
import time
from pathlib import Path

from sqlalchemy import select, update

from api.jobs.models import Attempt, IdempotencyKey
from api.loops.context import Context
from api.loops.housekeeping import Housekeeper, remove_stale
from espo_contracts.wire import UPLOADS_KEY
from tests.api.loops.actors import dispatched
from tests.api.loops.conftest import MakeJob


def test_stale_temporary_files_go_and_fresh_ones_stay(tmp_path: Path) -> None:
    for name, age in (("old", 7200), ("fresh", 60)):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (0, time.time() - age))
    remove_stale(tmp_path, before=time.time() - 3600)
    assert [path.name for path in tmp_path.iterdir()] == ["fresh"]
    remove_stale(tmp_path / "none", before=time.time())


async def test_idempotency_keys_live_a_day(context: Context, make_job: MakeJob) -> None:
    job_id = await make_job()
    async with context.database.write() as session:
        for key, age in (("old", 25), ("fresh", 23)):
            created_at = time.time() - age * 3600
            session.add(
                IdempotencyKey(
                    project_id="project", key=key, body_sha256="0" * 64, job_id=job_id, created_at=created_at
                )
            )
    await Housekeeper(context).tidy()
    async with context.database.read() as session:
        assert list(await session.scalars(select(IdempotencyKey.key))) == ["fresh"]


async def test_offers_of_attempts_that_are_long_over_go(context: Context, make_job: MakeJob) -> None:
    live, over = await dispatched(context, await make_job()), await dispatched(context, await make_job())
    for field in (f"{live.job_id}:1:5", f"{over.job_id}:1:5", "job-gone:1:5", "nonsense"):
        await context.redis.hset(UPLOADS_KEY, field, "{}")
    async with context.database.write() as session:
        await session.execute(
            update(Attempt).where(Attempt.job_id == over.job_id).values(ended_at=time.time() - 3600)
        )
    await Housekeeper(context).tidy()
    assert await context.redis.hkeys(UPLOADS_KEY) == [f"{live.job_id}:1:5".encode()]
