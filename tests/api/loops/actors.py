"""Stand-ins for what the loops talk to, and questions to the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError
from sqlalchemy import select

from api.checkpoints.models import Checkpoint
from api.db import Database
from api.events.models import JobEvent
from api.jobs.models import Attempt, Job
from api.loops.context import Context
from api.loops.dispatch import Dispatcher
from espo_contracts.events import EVENT, Event, NumberedEvent
from espo_contracts.wire import (
    EVENT_FIELD,
    Assignment,
    Beat,
    Hint,
    beat_key,
    claim_key,
    job_key,
    run_key,
    stream_id,
)


class FakeHints:
    """Keeps hints in place of a broker; `queue` is what no worker has taken."""

    def __init__(self) -> None:
        self.sent: list[Hint] = []
        self.queue: list[Hint] = []
        self.classes: dict[str, str] = {}
        """Resource class of each job's hint."""

    async def send(self, hint: Hint, resources: str) -> None:
        self.sent.append(hint)
        self.queue.append(hint)
        self.classes[hint.job] = resources

    async def waiting(self, resources: str) -> int:
        return len(self.queue)


class HandWorker:
    """A worker's side of an attempt, step by step: it numbers, spools and sends as the wire demands."""

    def __init__(self, redis: Redis, job_id: str, attempt: int = 1) -> None:
        self.redis = redis
        self.job_id = job_id
        self.attempt = attempt
        self.spool: list[NumberedEvent] = []
        self.beats = 0

    async def assignment(self) -> Assignment:
        return Assignment.from_hash(await self.redis.hgetall(job_key(self.job_id)))

    async def claim(self) -> bool:
        return bool(await self.redis.set(claim_key(self.job_id, self.attempt), "hand", nx=True))

    async def emit(self, *events: Event) -> list[bool]:
        """Numbers events and sends them; says of each whether the stream took it."""
        return [await self.send(self.number(event)) for event in events]

    def number(self, event: Event) -> NumberedEvent:
        seq = len(self.spool) + 1
        numbered = NumberedEvent(attempt=self.attempt, seq=seq, time=time.time(), event=event)
        self.spool.append(numbered)
        return numbered

    async def send(self, numbered: NumberedEvent) -> bool:
        return await self.send_raw(numbered.seq, numbered.model_dump_json())

    async def send_raw(self, seq: int, document: str) -> bool:
        """False when Redis refuses the id, or has no such stream."""
        key, name = run_key(self.job_id), stream_id(self.attempt, seq)
        try:
            return await self.redis.xadd(key, {EVENT_FIELD: document}, id=name, nomkstream=True) is not None
        except ResponseError as error:
            if "equal or smaller" not in str(error):
                raise
            return False

    async def resend(self) -> None:
        """Goes back to what the hash says is committed, as a sender does after a new opening."""
        committed = (await self.assignment()).committed
        for numbered in self.spool[committed:]:
            await self.send(numbered)

    async def beat(self, **changes: Any) -> None:
        self.beats += 1
        beat = Beat(
            worker="hand",
            attempt=self.attempt,
            count=self.beats,
            step=0,
            progressed_seconds_ago=0.0,
            device="cpu",
            memory_bytes=1,
        )
        beat = beat.model_copy(update=changes)
        await self.redis.set(beat_key(self.job_id), beat.model_dump_json(), ex=60)


async def dispatched(context: Context, job_id: str, *, attempt: int = 1) -> HandWorker:
    """A worker that has claimed the job's attempt, after a dispatcher made it."""
    await Dispatcher(context, FakeHints()).dispatch()
    worker = HandWorker(context.redis, job_id, attempt)
    assert (await worker.assignment()).attempt == attempt
    assert await worker.claim()
    return worker


async def job_of(database: Database, job_id: str) -> Job:
    async with database.read() as session:
        job = await session.get(Job, job_id)
    assert job is not None
    return job


async def attempts_of(database: Database, job_id: str) -> Sequence[Attempt]:
    query = select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.number)
    async with database.read() as session:
        return (await session.scalars(query)).all()


async def events_of(database: Database, job_id: str, *types: str) -> Sequence[JobEvent]:
    query = select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.number)
    async with database.read() as session:
        rows = (await session.scalars(query)).all()
    assert [row.number for row in rows] == list(range(1, len(rows) + 1)), "event numbers have a gap"
    return [row for row in rows if not types or row.type in types]


async def checkpoints_of(database: Database, job_id: str) -> list[int]:
    query = select(Checkpoint.step).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step)
    async with database.read() as session:
        return list(await session.scalars(query))


def original(row: JobEvent) -> Event:
    """The event that a row was made from."""
    return EVENT.validate_python({"type": row.type, **row.data})


async def eventually(check: Callable[[], Awaitable[Any]], *, seconds: float = 10.0) -> None:
    """Waits until a check holds."""
    deadline = time.monotonic() + seconds
    while not await check():
        assert time.monotonic() < deadline, f"{check} does not hold after {seconds} s"
        await asyncio.sleep(0.01)
