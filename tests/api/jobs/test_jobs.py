from __future__ import annotations

import json

import httpx
import pytest

from espo_contracts.wire import job_key, run_key
from tests.api.conftest import Service
from tests.api.marks import on_sqlite
from tests.api.rows import add_events, metrics, set_status, submit


async def test_lists_are_newest_first_and_page_without_gap(client: httpx.AsyncClient) -> None:
    made = [await submit(client, name=f"job {index}") for index in range(5)]
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = (await client.get("/v1/jobs", params={"limit": "2", **after})).json()
        assert (page["object"], page["first_id"], page["last_id"]) == (
            "list",
            page["data"][0]["id"],
            page["data"][-1]["id"],
        )
        seen += [job["id"] for job in page["data"]]
        if not page["has_more"]:
            break
        after = {"after": page["last_id"]}
    assert seen == made[::-1]
    assert "spec" not in page["data"][0]


async def test_filters(client: httpx.AsyncClient, service: Service) -> None:
    plain = await submit(client, name="Plain 50%_a", tags=["a_b", "x:1"])
    other = await submit(client, name="other", tags=["axb"], algorithm={"name": "grpo"})
    await set_status(service.resources.context.database, other, "running")

    async def found(**params: str | list[str]) -> list[str]:
        answer = await client.get("/v1/jobs", params=params)
        return [job["id"] for job in answer.json()["data"]]

    assert await found(tag="a_b") == [plain]
    assert await found(tag=["a_b", "x:1"]) == [plain]
    assert await found(tag="a") == []
    assert await found(algorithm="grpo") == [other]
    assert await found(model="toy") == [other, plain]
    assert await found(status="running") == [other]
    assert await found(status=["queued", "running"]) == [other, plain]
    assert await found(text="50%_A") == [plain]
    assert await found(text="0%x") == []
    assert await found(text=other[-8:]) == [other]


@on_sqlite
@pytest.mark.parametrize("query", ["status=done", "limit=0", "limit=101", "limit=x", "after=job-1", "after="])
async def test_a_wrong_query_is_named(client: httpx.AsyncClient, query: str) -> None:
    response = await client.get(f"/v1/jobs?{query}")
    problem = response.json()
    assert (response.status_code, problem["error"]["code"]) == (400, "invalid_request")
    assert problem["error"]["param"].startswith(f"query.{query.partition('=')[0]}")


async def test_a_waiting_job_is_cancelled_at_once_and_again(client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    first = (await client.post(f"/v1/jobs/{job_id}/cancel")).json()
    assert (first["status"], first["desired"]) == ("cancelled", "cancel")
    assert first["finished_at"] is not None
    again = await client.post(f"/v1/jobs/{job_id}/cancel")
    assert (again.status_code, again.json()) == (200, first)


async def test_a_running_jobs_worker_is_told(client: httpx.AsyncClient, service: Service) -> None:
    job_id = await submit(client)
    context = service.resources.context
    await set_status(context.database, job_id, "running")
    await context.redis.hset(job_key(job_id), mapping={"attempt": "0", "desired": '"run"'})
    await context.redis.xadd(run_key(job_id), {"marker": "1"}, id="0-1")
    answer = (await client.post(f"/v1/jobs/{job_id}/cancel")).json()
    assert (answer["status"], answer["desired"]) == ("running", "cancel")
    told = await context.redis.hget(job_key(job_id), "desired")
    assert json.loads(told or b"") == "cancel"


async def test_what_has_ended_cannot_be_cancelled(client: httpx.AsyncClient, service: Service) -> None:
    job_id = await submit(client)
    await set_status(service.resources.context.database, job_id, "succeeded")
    response = await client.post(f"/v1/jobs/{job_id}/cancel")
    assert response.status_code == 409
    assert response.headers["x-should-retry"] == "false"
    assert response.json()["detail"] == f"{job_id} is succeeded and cannot be cancelled"


async def test_progress_and_latest(client: httpx.AsyncClient, service: Service) -> None:
    job_id = await submit(client)
    database = service.resources.context.database
    await set_status(database, job_id, "running")
    await add_events(database, job_id, [metrics(4, time__step_seconds=0.5, reward__mean=None)])
    job = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert job["progress"] == {"step": 4, "total_steps": 10, "eta_seconds": 3.0}
    assert job["latest"] == {"time/step_seconds": 0.5, "reward/mean": None}


async def test_the_queue_is_counted(client: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    await submit(stranger)
    await submit(client, resources={"device": "gpu"})
    job_id = await submit(client)
    job = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert job["queue_position"] == 2
