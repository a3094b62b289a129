"""The loops on real servers, with the worker's part played by hand."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from api.auth.models import Project
from api.db import Database
from api.ids import new_id
from api.jobs.lifecycle import Cause, submit
from api.jobs.models import Job
from api.loops import ingest
from api.loops.context import Context
from api.settings import Settings
from api.store.store import open_store
from espo_contracts.job import JobSpec
from tests.api.loops.actors import FakeHints
from tests.api.loops.house import House

MakeJob = Callable[..., Awaitable[str]]


@pytest.fixture
async def context(
    database: Database, database_url: str, redis_url: str, home: Path
) -> AsyncIterator[Context]:
    redis = Redis.from_url(redis_url)
    settings = Settings(home=home, database_url=database_url, redis_url=redis_url)
    yield Context(settings=settings, database=database, redis=redis, store=open_store(str(home / "store")))
    await redis.aclose()


@pytest.fixture
def hints() -> FakeHints:
    return FakeHints()


@pytest.fixture
async def make_job(database: Database) -> MakeJob:
    """Submits a job and returns its id; keywords change its spec's parts or its columns."""
    async with database.write() as session:
        session.add(Project(id="project", name="project", created_at=time.time()))

    async def make(
        *, schedule: dict[str, Any] | None = None, model: dict[str, Any] | None = None, **columns: Any
    ) -> str:
        spec = JobSpec.model_validate(
            {
                "model": model or {"name": "tiny"},
                "data": {"task": {"name": "countdown"}},
                "reward": [{"verifier": "countdown"}],
                "schedule": schedule or {},
            }
        )
        document = spec.model_dump(mode="json")
        fields: dict[str, Any] = {
            "id": new_id("job"),
            "project_id": "project",
            "name": "job",
            "tags": [],
            "spec": document,
            "resolved": document,
            "algorithm": "espo",
            "model": "tiny",
            "device": "cpu",
            "max_attempts": 3,
            "total_steps": spec.schedule.steps,
            "latest": {},
            "created_at": time.time(),
        }
        job = Job(**{**fields, **columns})
        async with database.write() as session:
            await submit(session, job, Cause(actor="user", reason="submitted"))
        return job.id

    return make


@pytest.fixture
def house(home: Path, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(ingest, "BLOCK_MS", 1)  # there is nothing to wait for: one step follows another
    house = House(home, database_url, redis_url)
    yield house
    house.close()
