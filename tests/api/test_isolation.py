"""Another project's ids are not there, whatever one asks; and nobody gets in without a key."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from api.auth.keys import Scope
from api.jobs.models import Job
from tests.api.conftest import Service
from tests.api.marks import on_sqlite
from tests.api.rows import add_checkpoint, add_events, metrics, submit

OPEN = {"/healthz", "/readyz", "/metrics"}
WITHOUT_IDS = {"/v1/jobs", "/v1/jobs/validate", "/v1/files"} | {
    f"/v1/{noun}" for noun in ("algorithms", "verifiers", "tasks", "models")
}


def operations(service: Service) -> list[tuple[str, str]]:
    """Every (method, path template) that the service says it has."""
    paths = service.app.openapi()["paths"]
    return [(method.upper(), path) for path, item in paths.items() for method in item]


async def test_every_endpoint_hides_another_projects_rows(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, service: Service, tmp_path: Path
) -> None:
    job_id = await submit(client)
    context = service.resources.context
    await add_events(context.database, job_id, [metrics(1, reward__mean=0.5)])
    await add_checkpoint(context.database, context.store, tmp_path, job_id, 1, {"config.json": b"{}"})
    upload = await client.post("/v1/files", files={"file": ("a.jsonl", b'{"prompt": "x"}\n')})
    ids = {"job_id": job_id, "file_id": upload.json()["id"], "step": "1", "name": "config.json"}
    asked = 0
    for method, template in operations(service):
        if template not in OPEN | WITHOUT_IDS:
            path = template.format(**ids)
            theirs = await stranger.request(method, path)
            assert (theirs.status_code, theirs.json()["error"]["code"]) == (404, "not_found"), path
            asked += 1
    assert asked >= 13
    for listing in ("/v1/jobs", "/v1/files"):
        assert (await stranger.get(listing)).json()["data"] == []
    async with context.database.read() as session:
        assert (await session.get_one(Job, job_id)).status == "queued"
    for method, template in operations(service):
        if method == "GET" and template not in OPEN:
            assert (await client.get(template.format(**ids))).status_code == 200, template


async def test_every_endpoint_wants_a_key(service: Service) -> None:
    async with service.client(None) as nobody:
        for method, template in operations(service):
            if template not in OPEN:
                response = await nobody.request(method, template)
                assert response.status_code == 401, template
                assert response.headers["www-authenticate"] == "Bearer"


@on_sqlite
@pytest.mark.parametrize("key", ["", "espo_", "espo_" + "x" * 43, "espo_" + "é" * 43, "sk-1", "x" * 5000])
async def test_a_wrong_key_is_refused(service: Service, key: str) -> None:
    async with service.client(None) as nobody:
        response = await nobody.get("/v1/jobs", headers={b"authorization": f"Bearer {key}".encode()})
    assert response.status_code == 401


@on_sqlite
@pytest.mark.parametrize(
    "path", ["/v1/jobs/%00", "/v1/files/a%00b", "/v1/jobs?after=%00", "/v1/jobs?text=%00"]
)
async def test_a_nul_is_refused(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")


async def test_reading_is_not_writing(service: Service) -> None:
    async with service.client(await service.key("ours", [Scope.READ])) as reader:
        assert (await reader.get("/v1/jobs")).status_code == 200
        for path in ("/v1/jobs", f"/v1/jobs/job-{'0' * 32}/cancel", "/v1/files"):
            response = await reader.post(path)
            assert (response.status_code, response.json()["error"]["code"]) == (403, "insufficient_scope")
