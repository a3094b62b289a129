"""Whatever changes something is in the audit log, in the transaction of its change."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from api.app import create_app
from api.dependencies import write_session
from api.settings import Settings
from tests.api.conftest import Service
from tests.api.marks import on_sqlite
from tests.api.rows import job_document, submit

CHANGES_NOTHING = {"validate_job", "validate_grader", "run_grader"}
"""Operations that are no GET for their body's sake alone."""


async def entries(admin: httpx.AsyncClient, **wanted: str | int) -> list[dict[str, Any]]:
    response = await admin.get("/v1/audit", params=wanted)
    assert response.status_code == 200, response.text
    data: list[dict[str, Any]] = response.json()["data"]
    return data


async def test_who_did_what(admin: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    await client.post(f"/v1/jobs/{job_id}/pause", headers={"x-request-id": "mine-1"})
    copy_id = (await client.post(f"/v1/jobs/{job_id}/clone", json={"seed": 2})).json()["id"]
    upload = await client.post("/v1/files", files={"file": ("a.jsonl", b'{"prompt": "x"}\n')})
    made = (await admin.post("/v1/keys", json={})).json()
    await admin.delete(f"/v1/keys/{made['id']}")
    log = await entries(admin)
    assert [(entry["action"], entry["object_id"]) for entry in log] == [
        ("revoke_key", made["id"]),
        ("create_key", made["id"]),
        ("upload_file", upload.json()["id"]),
        ("clone_job", copy_id),
        ("pause_job", job_id),
        ("submit_job", job_id),
    ]
    assert log[4]["request_id"] == "mine-1"
    keys = {key["id"] for key in (await admin.get("/v1/keys")).json()["data"]}
    assert {log[0]["key_id"], log[4]["key_id"]} <= keys
    assert log[0]["key_id"] != log[4]["key_id"]


async def test_what_changed_nothing_is_not_there(
    admin: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    assert (await admin.post("/v1/jobs", json={})).status_code == 422
    assert (await admin.post("/v1/jobs/job-0/cancel")).status_code == 404
    await admin.post("/v1/jobs/validate", json=job_document())
    await admin.get("/v1/jobs")
    await submit(stranger)
    assert await entries(admin) == []


async def test_pages_and_filters(admin: httpx.AsyncClient) -> None:
    jobs = [await submit(admin) for _ in range(3)]
    await admin.post(f"/v1/jobs/{jobs[0]}/cancel")
    first = (await admin.get("/v1/audit", params={"limit": 3})).json()
    rest = (await admin.get("/v1/audit", params={"limit": 3, "after": first["last_id"]})).json()
    assert (first["has_more"], rest["has_more"]) == (True, False)
    seen = [entry["object_id"] for entry in first["data"] + rest["data"]]
    assert seen == [jobs[0], jobs[2], jobs[1], jobs[0]]
    assert len(await entries(admin, object_id=jobs[0])) == 2
    assert len(await entries(admin, object_id=jobs[0], action="cancel_job")) == 1
    assert await entries(admin, key_id="key-0") == []


@on_sqlite
async def test_a_change_that_cannot_be_told_of_is_not_made(
    admin: httpx.AsyncClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(28, "No space left")

    monkeypatch.setattr("api.dependencies.record_call", broken)
    assert (await admin.post("/v1/jobs", json=job_document())).status_code == 503
    assert (await admin.get("/v1/jobs")).json()["data"] == []


def test_every_operation_that_changes_something_uses_the_session_that_tells_of_it() -> None:
    routes = list(iter_route_contexts(create_app(Settings(loops="")).routes))
    changing = [route for route in routes if (route.methods or set()) & {"POST", "PUT", "PATCH", "DELETE"}]
    assert len(changing) >= 12
    missing = {route.name for route in changing if write_session not in _calls(route.dependant)}
    assert missing <= CHANGES_NOTHING


def _calls(dependant: Dependant) -> set[Any]:
    return {dependant.call}.union(*(_calls(part) for part in dependant.dependencies))
