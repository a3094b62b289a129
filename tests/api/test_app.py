from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError

from tests.api.conftest import Service
from tests.api.marks import on_sqlite
from tests.api.rows import submit


async def test_health(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    ready = await client.get("/readyz")
    assert ready.status_code == 200
    # The tests' service runs no loops, and says so.
    wrong = {name: check["detail"] for name, check in ready.json()["checks"].items() if not check["is_ok"]}
    assert wrong == {f"loop_{name}": "no process runs it" for name in ("dispatch", "ingest", "reconcile")}


async def test_prometheus(client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    await client.get(f"/v1/jobs/{job_id}")
    await client.get(f"/v1/jobs/{job_id}x")
    text = (await client.get("/metrics")).text
    assert job_id not in text
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["espo_jobs", ("resources", "cpu"), ("status", "queued")] == 1
    route = (("method", "GET"), ("route", "/v1/jobs/{job_id}"))
    assert samples["espo_http_request_duration_seconds_count", *route, ("status", "200")] == 1
    assert samples["espo_http_request_duration_seconds_count", *route, ("status", "404")] == 1


async def test_a_problem_speaks_to_browsers_and_to_the_openai_sdk(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/jobs/none", headers={"x-request-id": "mine-1"})
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"] == "mine-1"
    assert response.json() == {
        "type": "urn:espo:problem:not_found",
        "title": "Not Found",
        "status": 404,
        "detail": "no job 'none'",
        "errors": [],
        "request_id": "mine-1",
        "error": {
            "message": "no job 'none'",
            "type": "invalid_request_error",
            "param": None,
            "code": "not_found",
        },
    }


@on_sqlite
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("PUT", "/v1/jobs", 405, "method_not_allowed"),
        ("GET", "/v1/jobs/validate/x/y", 404, "not_found"),
    ],
)
async def test_the_frameworks_own_errors_are_problems_too(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await client.request(method, path)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.json()["request_id"] == response.headers["x-request-id"]


async def test_a_strange_request_id_is_replaced(client: httpx.AsyncClient) -> None:
    response = await client.get("/healthz", headers={"x-request-id": "a b\tc"})
    assert len(response.headers["x-request-id"]) == 32


async def test_a_defect_is_answered_without_its_trace(
    client: httpx.AsyncClient,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("api.jobs.repository.get", broken)
    response = await client.get("/v1/jobs/x")
    assert (response.status_code, response.json()["error"]["code"]) == (500, "internal")
    assert "secret" not in response.text
    assert response.headers["x-request-id"] == response.json()["request_id"]
    assert "ZeroDivisionError: secret detail" in caplog.text


@on_sqlite
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left"), OperationalError("SELECT secret", {}, Exception())]
)
async def test_what_passes_by_itself_may_be_tried_again(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("api.jobs.repository.get", broken)
    response = await client.get("/v1/jobs/x")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")
    assert response.headers["retry-after"] == "2"
    assert "secret" not in response.text


async def test_a_body_has_a_bound(client: httpx.AsyncClient) -> None:
    announced = await client.post("/v1/jobs", content=b"x" * 70_000)
    assert (announced.status_code, announced.json()["error"]["code"]) == (413, "too_large")

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b" " * 1000

    streamed = await client.post("/v1/jobs", content=pieces(), headers={"content-type": "application/json"})
    assert (streamed.status_code, streamed.json()["error"]["code"]) == (413, "too_large")


async def test_a_write_is_seen_by_the_next_read(client: httpx.AsyncClient) -> None:
    async def write_and_read() -> bool:
        job_id = await submit(client)
        return (await client.get(f"/v1/jobs/{job_id}")).status_code == 200

    assert all(await asyncio.gather(*(write_and_read() for _ in range(10))))


async def test_the_openapi_document_is_whole(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    assert schemas["JobSpec"]["properties"]["seed"]["description"]
    text = json.dumps(document)
    wanted = {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert wanted <= set(schemas)
    assert (await client.get("/docs")).status_code == 200
