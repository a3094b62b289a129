"""Walks the OpenAPI document with generated requests, good and bad, against a real process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from api.db import Database
from api.settings import Settings
from api.store.store import open_store
from tests.api.process import api_process
from tests.api.rows import add_checkpoint, add_events, job_document, log, metrics
from tests.servers import RedisServer

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


# The document is made without starting anything; parametrising wants it when the tests are collected.
schema = schemathesis.openapi.from_dict(create_app(Settings(loops="")).openapi())


@dataclass(frozen=True)
class Target:
    """A process with one job, of one checkpoint and some metrics, one file, and one key beside its own."""

    client: httpx.Client
    ids: dict[str, str]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Target]:
    home = tmp_path_factory.mktemp("home")
    with api_process(home, redis_server.url) as process:
        job = process.client.post("/v1/jobs", json=job_document()).raise_for_status().json()
        upload = process.client.post("/v1/files", files={"file": ("a.jsonl", b'{"a": 1}\n')})
        asyncio.run(_fill(home, job["id"]))
        key = process.client.post("/v1/keys", json={}).raise_for_status().json()
        file_id = upload.raise_for_status().json()["id"]
        ids = {"job_id": job["id"], "file_id": file_id, "key_id": key["id"]}
        yield Target(process.client, ids | {"step": "latest", "name": "config.json"})


async def _fill(home: Path, job_id: str) -> None:
    database = Database(f"sqlite+aiosqlite:///{home / 'espo.db'}")
    store = open_store(str(home / "store"))
    await add_events(database, job_id, [metrics(1, reward__mean=0.5), log("hello")])
    await add_checkpoint(database, store, home, job_id, 1, {"config.json": b"{}"})
    await database.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
@schema.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_the_document_tells_of(case: schemathesis.Case[Any], target: Target) -> None:
    # Ids that exist: otherwise every answer about one thing is a 404, which other tests look at.
    case.path_parameters = {name: target.ids[name] for name in case.path_parameters}
    headers = {"authorization": target.client.headers["authorization"]}
    case.call_and_validate(str(target.client.base_url), headers=headers, checks=CHECKS, timeout=20)
