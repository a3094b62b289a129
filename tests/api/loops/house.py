"""The API side of some jobs, driven step by step by tests that are no coroutines: real loops and servers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import delete, select

from api.auth.models import Project
from api.catalogue.catalogue import Catalogue
from api.db import Database
from api.errors import Code, DomainError
from api.events.models import JobEvent
from api.jobs import control, service
from api.jobs.document import Submission
from api.jobs.models import Attempt, Job
from api.jobs.prepare import Checker
from api.loops.attempt_keys import announce
from api.loops.context import Context
from api.loops.dispatch import Dispatcher
from api.loops.ingest import Ingester
from api.loops.reconcile import Reconciler
from api.settings import Settings
from api.store import repository as blobs
from api.store.store import open_store
from api.tables import metadata
from espo_contracts.events import Checkpoint, Event
from espo_contracts.wire import Hint, Presence, worker_key
from espo_transfer import connect
from tests.api.loops.actors import FakeHints, HandWorker
from tests.api.loops.job_model import State
from tests.api.rows import job_document, make_model_folder
from worker.station import claim

PROJECT = "project"
WORKERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that the database and Redis hold of a job."""

    job: Job
    attempts: list[Attempt]
    events: list[JobEvent]
    lasting_keys: list[str]
    """Keys that do not expire by themselves."""

    @property
    def state(self) -> State:
        job = self.job
        live = [attempt.number for attempt in self.attempts if attempt.ended_at is None]
        assert live in ([], [job.attempt]), "an older attempt lives"
        return job.status, job.desired, job.attempt, job.max_attempts, bool(live)


class House:
    """A dispatcher, an ingester and a reconciler, and always as many idle workers as there may be jobs."""

    def __init__(self, home: Path, database_url: str, redis_url: str) -> None:
        make_model_folder(home / "models" / "toy")
        self.settings = Settings(
            home=home, database_url=database_url, redis_url=redis_url, model_path=str(home / "models")
        )
        self._runner = asyncio.Runner()
        self.run = self._runner.run
        self._worker = connect(redis_url)
        self.context = self.run(self._open())
        self._catalogue = Catalogue.load()
        self._reconciler = Reconciler(self.context, FakeHints())

    async def _open(self) -> Context:
        settings = self.settings
        return Context(
            settings=settings,
            database=Database(settings.database_url),
            redis=Redis.from_url(settings.redis_url),
            store=open_store(settings.store_url),
        )

    def close(self) -> None:
        self.run(self.context.redis.aclose())
        self.run(self.context.database.close())
        self._worker.close()
        self._runner.close()

    async def clear(self) -> None:
        """Forgets every job."""
        async with self.context.database.write() as session:
            for table in reversed(metadata.sorted_tables):
                await session.execute(delete(table))
            session.add(Project(id=PROJECT, name=PROJECT, created_at=time.time()))
        await self._empty_redis()
        self._reconciler = Reconciler(self.context, FakeHints())

    async def _empty_redis(self) -> None:
        await self.context.redis.flushall()
        for number in range(WORKERS):
            name = f"worker-{number}"
            presence = Presence(worker=name, device="cpu", device_name="cpu", state="idle")
            await self.context.redis.set(worker_key(name), presence.model_dump_json())

    async def submit(self) -> str:
        async with self.context.database.write() as session:
            submission = Submission(document=job_document(), body_sha256="", idempotency_key=None)
            return (await service.submit(self._checker(session), submission))[0].id

    async def clone(self, job_id: str) -> str:
        async with self.context.database.write() as session:
            changes = Submission(document={"seed": 2}, body_sha256="", idempotency_key=None)
            return (await control.clone(self._checker(session), job_id, changes))[0].id

    def _checker(self, session: Any) -> Checker:
        return Checker(session=session, project_id=PROJECT, catalogue=self._catalogue, settings=self.settings)

    async def wish(self, job_id: str, wish: str, *, is_told: bool) -> bool:
        """Whether the user's wish is granted; Redis is told of it, or else must find out."""
        more = {"attempts": self.settings.max_attempts} if wish == "retry" else {}
        try:
            async with self.context.database.write() as session:
                job = await getattr(control, wish)(session, PROJECT, job_id, **more)
        except DomainError as error:
            if error.code is not Code.STATE_CONFLICT:
                raise
            return False
        if is_told:
            await announce(self.context.redis, job)
        return True

    async def dispatch(self) -> None:
        await Dispatcher(self.context, FakeHints()).dispatch()

    async def tick(self, seconds: float = 0.0) -> None:
        """The reconciler has listened for so long."""
        await self._reconciler.tick(listened_seconds=seconds)

    async def forget(self) -> None:
        """Redis loses everything, and the reconciler finds out."""
        await self._empty_redis()
        for _ in range(2):
            await self.tick()

    async def claim(self, job_id: str, number: int) -> HandWorker | None:
        """A worker that finds a hint, if it gets the attempt."""
        if claim(self._worker, Hint(job=job_id, attempt=number), "hand") is None:
            return None
        return HandWorker(self.context.redis, job_id, number)

    async def ingest(self) -> None:
        """What is in the streams now. By an ingester of its own: there may be any number."""
        await Ingester(self.context).step()

    async def say(self, worker: HandWorker, event: Event) -> bool:
        """Whether the event found an open stream; then it is taken."""
        if isinstance(event, Checkpoint):
            async with self.context.database.write() as session:
                for file in event.files:
                    await blobs.touch(session, file.sha256, file.size)
        (is_sent,) = await worker.emit(event)
        await self.ingest()
        return is_sent

    async def look(self, job_id: str) -> Seen:
        async with self.context.database.read() as session:
            job = await session.get_one(Job, job_id)
            attempts = select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.number)
            events = select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.number)
            return Seen(
                job=job,
                attempts=list(await session.scalars(attempts)),
                events=list(await session.scalars(events)),
                lasting_keys=await self._lasting_keys(job_id),
            )

    async def _lasting_keys(self, job_id: str) -> list[str]:
        redis = self.context.redis
        keys: list[bytes] = await redis.keys(f"*{job_id}*")
        lasting = [key.decode() for key in keys if await redis.ttl(key) == -1]
        is_open = await redis.sismember("espo:runs", job_id)  # type: ignore[misc]
        return [*lasting, "espo:runs"] if is_open else lasting
