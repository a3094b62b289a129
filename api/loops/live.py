"""Live attempts as the reconciler sees them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from redis.asyncio import Redis
from sqlalchemy import select, update

from api.db import Database
from api.jobs.models import Attempt, Job
from espo_contracts.wire import HEARTBEAT_SECONDS, Beat, run_key, stream_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """An attempt that has not ended, and what its job wants."""

    job_id: str
    number: int
    opened: str
    last_seq: int
    worker: str | None
    started_at: float | None
    device: str
    desired: str
    max_hours: float

    @property
    def key(self) -> tuple[str, int]:
        return self.job_id, self.number

    @property
    def was_taken(self) -> bool:
        """Whether a worker has been seen with it, even if Redis has lost all trace."""
        return self.worker is not None or self.started_at is not None

    def is_overdue(self, grace_seconds: float, *, beats: int) -> bool:
        """Whether its run is longer than the job allows, by the calendar and by its worker's beats.

        The beats are the worker's own steady clock, which may only be slow; the calendar alone would end
        every run when some clock steps forward.
        """
        bound = self.max_hours * 3600 + grace_seconds
        if self.started_at is None or beats * HEARTBEAT_SECONDS < bound:
            return False
        return time.time() > self.started_at + bound


async def load_live(database: Database) -> list[Live]:
    """Every live attempt, in a fixed order."""
    columns = (
        Attempt.job_id,
        Attempt.number,
        Attempt.opened,
        Attempt.last_seq,
        Attempt.worker,
        Attempt.started_at,
        Job.device,
        Job.desired,
        Job.resolved["resources"]["max_hours"].as_float().label("max_hours"),
    )
    query = select(*columns).join(Job, Job.id == Attempt.job_id).where(Attempt.ended_at.is_(None))
    async with database.read() as session:
        rows = (await session.execute(query.order_by(Attempt.job_id, Attempt.number))).mappings().all()
    return [Live(**row) for row in rows]


async def save_beats(database: Database, beats: Sequence[tuple[tuple[str, int], Beat]]) -> None:
    """Writes signs of life, in the order given: one order for all writers, so that none waits in a circle."""
    if not beats:
        return
    async with database.write() as session:
        for (job_id, number), beat in beats:
            statement = update(Attempt).where(Attempt.job_id == job_id, Attempt.number == number)
            statement = statement.values(worker=beat.worker, beat=beat.model_dump(), beat_at=time.time())
            await session.execute(statement, execution_options={"synchronize_session": False})


async def has_unread(redis: Redis, live: Live) -> bool:
    """Whether the attempt's stream holds events that are not in the database."""
    after = f"({stream_id(live.number, live.last_seq)}"
    return bool(await redis.xrange(run_key(live.job_id), min=after, count=1))
