from __future__ import annotations

import asyncio
import time

import httpx
import pytest
import yaml
from sqlalchemy import func, select, update

from api.jobs.models import IdempotencyKey, Job
from tests.api.conftest import Service
from tests.api.marks import on_sqlite
from tests.api.rows import job_document, submit


async def test_a_job_is_stored_as_given_and_as_resolved(client: httpx.AsyncClient) -> None:
    document = job_document(algorithm={"name": "espo", "parameters": {"alpha": 0.1}})
    response = await client.post("/v1/jobs", json=document)
    assert response.status_code == 201
    made = response.json()
    assert response.headers["location"] == f"/v1/jobs/{made['id']}"
    assert made["spec"] == document
    assert (
        made["resolved"]["algorithm"]["parameters"] | {"alpha": 0.1}
        == made["resolved"]["algorithm"]["parameters"]
    )
    assert made["resolved"]["algorithm"]["parameters"]["advantage"] == "zscore"
    assert made["resolved"]["rollout"]["group_size"] == 8
    assert made["resolved"]["data"]["task"]["parameters"]
    assert (made["status"], made["desired"], made["queue_position"]) == ("queued", "run", 1)
    assert made["waiting_reason"] == "no cpu worker is connected"
    assert made["progress"] == {"step": 0, "total_steps": 10, "eta_seconds": None}
    assert (await client.get(f"/v1/jobs/{made['id']}")).json() == made


async def test_a_job_for_several_devices_says_what_it_waits_for(client: httpx.AsyncClient) -> None:
    document = job_document(resources={"device": "gpu", "devices": 4})
    made = (await client.post("/v1/jobs", json=document)).json()
    assert made["waiting_reason"] == "no gpu worker with 4 devices is connected"


async def test_yaml_is_the_same_job(client: httpx.AsyncClient) -> None:
    text = yaml.safe_dump(job_document())
    response = await client.post("/v1/jobs", content=text, headers={"content-type": "application/yaml"})
    assert response.status_code == 201
    assert response.json()["spec"] == job_document()


@on_sqlite
@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("{", "application/json", 400),
        ('{"seed": NaN}', "application/json", 400),
        ('{"seed": 1e999}', "application/json", 400),
        ("[" * 20_000, "application/json", 400),
        ("a: [", "application/yaml", 400),
        ("a: &x [1]\nb: *x\n", "application/yaml", 400),
        ("a: !!python/object/apply:os.system [ls]", "application/yaml", 400),
        ("- " * 5_000, "application/yaml", 400),
        ("? {a: 1}\n: 2", "application/yaml", 400),
        ("null", "application/json", 422),
        ("[]", "application/json", 422),
        ("", "application/json", 400),
        ("{}", "text/plain", 415),
        ('"\\ud800"', "application/json", 422),
    ],
)
async def test_a_body_that_is_no_document_is_refused(
    client: httpx.AsyncClient, body: str, content_type: str, status: int
) -> None:
    response = await client.post("/v1/jobs", content=body, headers={"content-type": content_type})
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")


async def test_the_same_key_gives_the_same_job(client: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "k1"}
    first = await client.post("/v1/jobs", json=job_document(), headers=headers)
    again = await client.post("/v1/jobs", json=job_document(), headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert (first.headers["idempotent-replayed"], again.headers["idempotent-replayed"]) == ("false", "true")
    other = await client.post("/v1/jobs", json=job_document(name="other"), headers=headers)
    assert other.status_code == 409
    assert other.json()["error"]["code"] == "idempotency_conflict"
    assert other.headers["x-should-retry"] == "false"


async def test_a_key_is_forgotten_after_a_day_and_belongs_to_its_project(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, service: Service
) -> None:
    headers = {"idempotency-key": "k1"}
    first = await client.post("/v1/jobs", json=job_document(), headers=headers)
    theirs = await stranger.post("/v1/jobs", json=job_document(), headers=headers)
    async with service.resources.context.database.write() as session:
        await session.execute(update(IdempotencyKey).values(created_at=time.time() - 24.9 * 3600))
    again = await client.post("/v1/jobs", json=job_document(), headers=headers)
    assert again.json()["id"] == first.json()["id"], "to a clock that is ahead its day is over already"
    async with service.resources.context.database.write() as session:
        await session.execute(update(IdempotencyKey).values(created_at=time.time() - 25 * 3600 - 1))
    later = await client.post("/v1/jobs", json=job_document(name="other"), headers=headers)
    assert later.status_code == 201
    assert len({answer.json()["id"] for answer in (first, theirs, later)}) == 3


async def test_ten_at_once_with_one_key_make_one_job(client: httpx.AsyncClient, service: Service) -> None:
    headers = {"idempotency-key": "k1"}
    answers = await asyncio.gather(
        *(client.post("/v1/jobs", json=job_document(), headers=headers) for _ in range(10))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    async with service.resources.context.database.read() as session:
        assert await session.scalar(select(func.count()).select_from(Job)) == 1


async def test_a_submission_wakes_the_dispatcher(client: httpx.AsyncClient, service: Service) -> None:
    assert not service.resources.context.dispatch_wanted.is_set()
    await submit(client)
    assert service.resources.context.dispatch_wanted.is_set()
