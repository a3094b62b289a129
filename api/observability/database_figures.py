"""What the database says of the whole service, for its operator: nothing of a user is in it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import and_, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from api.db import Database
from api.events.models import JobEvent
from api.jobs import repository as jobs
from api.jobs.models import Attempt, Job
from api.store import repository as store
from espo_contracts.job import Desired, JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Jobs of one resource class that wait for an attempt."""

    depth: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFigures:
    """One look; keys are (status, resource class), resource class, (resource class, phase), outcome."""

    jobs: Mapping[tuple[str, str], int]
    queues: Mapping[str, Queue]
    live: Mapping[tuple[str, str], int]
    ended: Mapping[str, int]
    lease_seconds: float
    """Age of the oldest sign of life among live attempts; 0 without any."""
    store_bytes: int
    database_bytes: int


async def look_at_database(database: Database) -> DatabaseFigures:
    """The figures, all from one moment."""
    now = time.time()
    async with database.read() as session:
        return DatabaseFigures(
            jobs=await jobs.counts(session),
            queues=await _queues(session, now),
            live=await _live(session),
            ended=await _ended(session),
            lease_seconds=await _lease_seconds(session, now),
            store_bytes=await store.used_bytes(session),
            database_bytes=await _database_bytes(session, is_sqlite=database.is_sqlite),
        )


async def _queues(session: AsyncSession, now: float) -> dict[str, Queue]:
    lives = select(Attempt.number).where(
        Attempt.job_id == Job.id, Attempt.number == Job.attempt, Attempt.ended_at.is_(None)
    )
    # A job waits since its last event, which put it into the queue: it may be far older itself.
    newest = and_(JobEvent.job_id == Job.id, JobEvent.number == Job.event_count)
    since = func.min(func.coalesce(JobEvent.time, Job.created_at))
    query = (
        select(Job.device, func.count(), since)
        .outerjoin(JobEvent, newest)
        .where(Job.status == JobStatus.QUEUED.value, Job.desired == Desired.RUN.value, ~lives.exists())
        .group_by(Job.device)
    )
    return {
        resources: Queue(depth=depth, oldest_seconds=max(0.0, now - oldest))
        for resources, depth, oldest in await session.execute(query)
    }


async def _live(session: AsyncSession) -> dict[tuple[str, str], int]:
    has_started = Attempt.started_at.is_not(None)
    query = (
        select(Job.device, has_started, func.count())
        .join(Job, Job.id == Attempt.job_id)
        .where(Attempt.ended_at.is_(None))
        .group_by(Job.device, has_started)
    )
    return {
        (resources, "running" if is_running else "starting"): count
        for resources, is_running, count in await session.execute(query)
    }


async def _ended(session: AsyncSession) -> dict[str, int]:
    query = (
        select(Attempt.outcome, func.count()).where(Attempt.outcome.is_not(None)).group_by(Attempt.outcome)
    )
    return {str(outcome): count for outcome, count in await session.execute(query)}


async def _lease_seconds(session: AsyncSession, now: float) -> float:
    oldest = await session.scalar(select(func.min(Attempt.beat_at)).where(Attempt.ended_at.is_(None)))
    return max(0.0, now - oldest) if oldest is not None else 0.0


async def _database_bytes(session: AsyncSession, *, is_sqlite: bool) -> int:
    pages = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    whole = "SELECT pg_database_size(current_database())"
    return int(await session.scalar(text(pages if is_sqlite else whole)) or 0)
