"""Another project's ids are not there, whatever one asks; and nobody gets in without a key."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from api.auth.keys import Scope
from api.jobs.models import Job
from tests.api.conftest import Service
from tests.api.marks import on_sqlite
from tests.api.rows import add_checkpoint, add_events, metrics, submit

OPEN = {"/healthz", "/readyz", "/metrics"}
_ID = re.compile(r"{(\w+)}")


def operations(service: Service) -> list[tuple[str, str]]:
    """Every (method, path template) that the service says it has."""
    paths = service.app.openapi()["paths"]
    return [(method.upper(), path) for path, item in paths.items() for method in item]


def about_one(service: Service) -> list[tuple[str, str]]:
    """The operations whose path names a thing: whatever endpoint is added is among them."""
    return [operation for operation in operations(service) if _ID.search(operation[1])]


async def make_rows(client: httpx.AsyncClient, service: Service, folder: Path) -> dict[str, str]:
    """A value of this project for every parameter of a path."""
    job_id = await submit(client)
    context = service.resources.context
    await add_events(context.database, job_id, [metrics(1, reward__mean=0.5)])
    await add_checkpoint(context.database, context.store, folder, job_id, 1, {"config.json": b"{}"})
    upload = await client.post("/v1/files", files={"file": ("a.jsonl", b'{"prompt": "x"}\n')})
    key = await client.post("/v1/keys", json={})
    file_id, key_id = upload.json()["id"], key.json()["id"]
    return {"job_id": job_id, "file_id": file_id, "key_id": key_id, "step": "1", "name": "config.json"}


async def test_every_endpoint_hides_another_projects_rows(
    admin: httpx.AsyncClient, stranger: httpx.AsyncClient, service: Service, tmp_path: Path
) -> None:
    ids = await make_rows(admin, service, tmp_path)
    asked = about_one(service)
    assert len(asked) >= 15
    for method, template in asked:
        theirs = await stranger.request(method, template.format(**ids))
        assert (theirs.status_code, theirs.json()["error"]["code"]) == (404, "not_found"), template
    for listing in ("/v1/jobs", "/v1/files"):
        assert (await stranger.get(listing)).json()["data"] == []
    async with service.resources.context.database.read() as session:
        assert (await session.get_one(Job, ids["job_id"])).status == "queued"
    for method, template in operations(service):
        if method == "GET" and template not in OPEN:
            assert (await admin.get(template.format(**ids))).status_code == 200, template


async def test_nobody_learns_from_the_time_whether_an_id_is_anothers(
    admin: httpx.AsyncClient, stranger: httpx.AsyncClient, service: Service, tmp_path: Path
) -> None:
    """What takes time is the database, and it is asked the same questions."""
    ids = await make_rows(admin, service, tmp_path)
    missing = ids | {name: f"{value[:-4]}0000" for name, value in ids.items() if name.endswith("_id")}
    for method, template in about_one(service):
        answers = []
        for named in (ids, missing):
            async with _statements(service) as statements:
                response = await stranger.request(method, template.format(**named))
            assert response.status_code == 404, template
            answers.append((statements, len(response.content), sorted(response.headers)))
        assert answers[0] == answers[1], template
        assert answers[0][0]


@asynccontextmanager
async def _statements(service: Service) -> AsyncIterator[list[str]]:
    """Fills with what the database is asked."""
    engine = service.resources.context.database.engine.sync_engine
    seen: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        # When a key was last used is written beside the requests, at a time and in a transaction of its own.
        if "last_used_at=" not in statement and not statement.startswith("BEGIN"):
            seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


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
            assert response.json()["detail"] == "this key lacks the scope write"
            assert response.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="write"'


@on_sqlite
async def test_only_an_admin_sees_keys_and_who_did_what(client: httpx.AsyncClient) -> None:
    for method, path in (("GET", "/v1/keys"), ("POST", "/v1/keys"), ("GET", "/v1/audit")):
        response = await client.request(method, path)
        assert (response.status_code, response.json()["detail"]) == (403, "this key lacks the scope admin")
