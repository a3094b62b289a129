"""What a project may use: refused at the door, with the limit, its value and when it frees."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.auth.keys import Scope
from api.auth.models import Project
from api.auth.service import create_key
from api.db import Database
from api.jobs.models import Attempt
from api.limits.quotas import month
from api.migrate import upgrade
from api.settings import REPOSITORY
from tests.api.conftest import Service
from tests.api.marks import on_sqlite
from tests.api.rows import add_checkpoint, job_document, set_status, submit


async def allow(service: Service, project: str, **limits: float | None) -> None:
    """Sets limits of a project."""
    key = await service.key(project, [Scope.READ])
    async with service.resources.context.database.write() as session:
        row = await session.get_one(Project, await service.project_of(key))
        for name, value in limits.items():
            setattr(row, f"max_{name}", value)


async def add_attempt(
    service: Service, job_id: str, *, started: float, ended: float | None, number: int = 1
) -> None:
    async with service.resources.context.database.write() as session:
        row = Attempt(job_id=job_id, number=number, opened="x", created_at=started)
        row.started_at, row.ended_at = started, ended
        session.add(row)


async def limits(client: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    response = await client.get("/v1/limits")
    assert response.status_code == 200, response.text
    return {row["name"]: row for row in response.json()["limits"]}


def refused(response: httpx.Response, status: int, code: str, name: str) -> dict[str, Any]:
    """The limit that a refusal names."""
    problem = response.json()
    assert (response.status_code, problem["error"]["code"]) == (status, code), problem
    assert problem["limit"]["name"] == name
    assert name in problem["detail"]
    limit: dict[str, Any] = problem["limit"]
    return limit


async def test_no_more_jobs_wait_than_may(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, service: Service
) -> None:
    await allow(service, "ours", queued_jobs=2)
    first, second = await submit(client), await submit(client)
    await client.post(f"/v1/jobs/{second}/pause")
    third = await submit(client)
    for path, body in (
        ("/v1/jobs", job_document()),
        (f"/v1/jobs/{first}/clone", {}),
        (f"/v1/jobs/{second}/resume", None),
    ):
        response = await client.post(path, json=body)
        assert refused(response, 429, "quota_exceeded", "queued_jobs")["limit"] == 2
        assert response.headers["x-should-retry"] == "false"
    # What waits already may be wished for again, and others are not concerned.
    assert (await client.post(f"/v1/jobs/{first}/resume")).status_code == 200
    await submit(stranger)
    await client.post(f"/v1/jobs/{third}/cancel")
    assert (await client.post(f"/v1/jobs/{second}/resume")).json()["status"] == "queued"
    refused(await client.post(f"/v1/jobs/{third}/retry"), 429, "quota_exceeded", "queued_jobs")
    assert (await limits(client))["queued_jobs"] | {"frees_at": None} == {
        "name": "queued_jobs",
        "limit": 2,
        "used": 2,
        "frees_at": None,
    }


async def test_an_idempotent_repeat_needs_no_place(client: httpx.AsyncClient, service: Service) -> None:
    await allow(service, "ours", queued_jobs=1)
    key = {"idempotency-key": "k1"}
    first = await client.post("/v1/jobs", json=job_document(), headers=key)
    again = await client.post("/v1/jobs", json=job_document(), headers=key)
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])


async def test_the_last_place_is_given_once(client: httpx.AsyncClient, service: Service) -> None:
    await allow(service, "ours", queued_jobs=3)
    posts = (client.post("/v1/jobs", json=job_document()) for _ in range(8))
    statuses = [response.status_code for response in await asyncio.gather(*posts)]
    assert sorted(statuses) == [201] * 3 + [429] * 5


async def test_device_hours_of_this_month(client: httpx.AsyncClient, service: Service) -> None:
    begin, end = month(time.time())
    job_id = await submit(client)
    # Half an hour counts of what began before the month, and nothing of what ended then.
    await add_attempt(service, job_id, started=begin - 7200, ended=begin + 1800)
    await add_attempt(service, job_id, started=begin - 7200, ended=begin - 1, number=2)
    use = (await limits(client))["device_hours"]
    assert (use["used"], use["limit"], use["frees_at"]) == (pytest.approx(0.5), None, end)
    await allow(service, "ours", device_hours=0.6)
    await submit(client)
    await allow(service, "ours", device_hours=0.5)
    response = await client.post("/v1/jobs", json=job_document())
    limit = refused(response, 429, "quota_exceeded", "device_hours")
    assert (limit["limit"], limit["used"], limit["frees_at"]) == (0.5, pytest.approx(0.5), end)
    assert int(response.headers["retry-after"]) == pytest.approx(end - time.time(), abs=60)


async def test_a_run_uses_hours_while_it_runs_on_each_of_its_devices(
    client: httpx.AsyncClient, service: Service
) -> None:
    job_id = await submit(client, resources={"device": "gpu", "devices": 4})
    began = max(time.time() - 360, month(time.time())[0])
    await add_attempt(service, job_id, started=began, ended=None)
    use = await limits(client)
    assert use["device_hours"]["used"] == pytest.approx(4 * (time.time() - began) / 3600, abs=0.1)
    assert use["running_jobs"]["used"] == 1


async def test_stored_bytes_are_files_and_checkpoints(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, service: Service, tmp_path: Path
) -> None:
    context = service.resources.context
    job_id, line = await submit(client), b'{"prompt": "x"}\n'
    await add_checkpoint(context.database, context.store, tmp_path, job_id, 1, {"a.json": b"x" * 100})
    file = (await client.post("/v1/files", files={"file": ("a.jsonl", line)})).json()
    assert (await limits(client))["stored_bytes"]["used"] == 100 + len(line)
    assert (await limits(stranger))["stored_bytes"]["used"] == 0
    await allow(service, "ours", stored_bytes=100 + 2 * len(line) - 1)
    response = await client.post("/v1/files", files={"file": ("b.jsonl", line)})
    assert refused(response, 403, "storage_full", "stored_bytes")["used"] == 100 + len(line)
    await allow(service, "ours", stored_bytes=100)
    refused(await client.post("/v1/jobs", json=job_document()), 403, "storage_full", "stored_bytes")
    await client.delete(f"/v1/files/{file['id']}")
    await allow(service, "ours", stored_bytes=101)
    await submit(client)


async def test_an_upload_is_refused_before_it_has_arrived(
    client: httpx.AsyncClient, service: Service
) -> None:
    await allow(service, "ours", upload_bytes=1000)
    big = b'{"prompt": "x"}\n' * 63
    response = await client.post("/v1/files", files={"file": ("a.jsonl", big)})
    assert refused(response, 413, "too_large", "upload_bytes")["limit"] == 1000
    assert (await client.post("/v1/files", files={"file": ("a.jsonl", big[:992])})).status_code == 200
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
        while True:
            sent += 1000
            yield b" " * 1000

    form = {"content-type": "multipart/form-data; boundary=b"}
    response = await client.post("/v1/files", content=endless(), headers=form)
    refused(response, 413, "too_large", "upload_bytes")
    assert sent < 100_000
    declared = form | {"content-length": "900000"}
    response = await client.post("/v1/files", content=b"", headers=declared)
    refused(response, 413, "too_large", "upload_bytes")


async def test_what_waits_because_of_the_limit_says_so(client: httpx.AsyncClient, service: Service) -> None:
    running, waiting = await submit(client), await submit(client)
    await add_attempt(service, running, started=time.time(), ended=None)
    await set_status(service.resources.context.database, running, "running")
    await allow(service, "ours", running_jobs=1)
    reason = (await client.get(f"/v1/jobs/{waiting}")).json()["waiting_reason"]
    assert reason == "the project runs as many jobs as it may: 1"


@on_sqlite
async def test_projects_without_limits_have_those_of_the_settings(service: Service) -> None:
    settings = service.resources.settings.model_copy(update={"max_queued_jobs": 1})
    object.__setattr__(service.resources.context, "settings", settings)
    async with service.client(await service.key("ours", [Scope.READ, Scope.WRITE])) as client:
        await submit(client)
        refused(await client.post("/v1/jobs", json=job_document()), 429, "quota_exceeded", "queued_jobs")
        assert (await limits(client))["queued_jobs"]["limit"] == 1
        await allow(service, "ours", queued_jobs=2)
        await submit(client)


def test_a_month_ends_where_the_next_begins() -> None:
    for text, end in (("2026-12-31T23:59:59", "2027-01-01"), ("2028-02-01T00:00:00", "2028-03-01")):
        now = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
        assert datetime.fromtimestamp(month(now)[1], UTC).date().isoformat() == end


@pytest.mark.slow
async def test_the_command(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'espo.db'}"
    await asyncio.to_thread(upgrade, url)
    database = Database(url)
    async with database.write() as session:
        await create_key(session, project="lab", name="k", scopes=[Scope.READ])
    await database.close()
    environment = os.environ | {"ESPO_HOME": str(tmp_path), "ESPO_DATABASE_URL": ""}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "api.limits", *arguments]
        return subprocess.run(
            command, check=False, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=120
        )

    changed = await asyncio.to_thread(
        run, "set", "--project", "lab", "--queued-jobs", "5", "--device-hours", "1.5"
    )
    assert changed.stdout.splitlines()[:3] == [
        "queued_jobs\t5\t0.0",
        "running_jobs\tunlimited\t0.0",
        "device_hours\t1.5\t0.0",
    ]
    missing = await asyncio.to_thread(run, "show", "--project", "none")
    assert (missing.returncode, missing.stderr) == (1, "no project 'none'\n")
