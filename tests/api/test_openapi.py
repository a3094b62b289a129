"""Walks the OpenAPI document with generated requests, good and bad, against a real process."""

from __future__ import annotations

from collections.abc import Iterator
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
from api.settings import Settings
from tests.api.process import api_process
from tests.api.rows import job_document
from tests.servers import RedisServer

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


# The document is made without starting anything; parametrising wants it when the tests are collected.
schema = schemathesis.openapi.from_dict(create_app(Settings(loops="")).openapi())


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[httpx.Client]:
    """A client of a process with one job and one file."""
    with api_process(tmp_path_factory.mktemp("home"), redis_server.url) as process:
        client = process.client
        client.post("/v1/jobs", json=job_document()).raise_for_status()
        client.post("/v1/files", files={"file": ("a.jsonl", b'{"a": 1}\n')}).raise_for_status()
        yield client


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_the_document_tells_of(
    case: schemathesis.Case[Any], client: httpx.Client
) -> None:
    headers = {"authorization": client.headers["authorization"]}
    case.call_and_validate(str(client.base_url), headers=headers, checks=CHECKS, timeout=20)
