from __future__ import annotations

from typing import Any

import httpx
import pytest

from api.files.models import File
from tests.api.conftest import Service
from tests.api.rows import job_document, submit


async def test_every_error_comes_at_once_with_its_path(client: httpx.AsyncClient) -> None:
    document = job_document(
        model={"name": "toi"},
        algorithm={"name": "espo", "parameters": {"alfa": 0.1, "alpha": -1, "advantage": "zscor"}},
        reward=[{"verifier": "countdwn"}, {"verifier": "exact", "weight": "much"}],
        data={"task": {"name": "countdown", "parameters": {"nombers": 4}}},
        rollouts={},
        seed=-1,
    )
    response = await client.post("/v1/jobs", json=document)
    assert response.status_code == 422
    problem = response.json()
    errors = {error["loc"]: error["message"] for error in problem["errors"]}
    assert set(errors) == {
        "seed",
        "rollouts",
        "reward[1].weight",
        "algorithm.parameters.alfa",
        "algorithm.parameters.alpha",
        "algorithm.parameters.advantage",
        "reward[0].verifier",
        "data.task.parameters.nombers",
        "model.name",
    }
    assert errors["rollouts"] == "unknown field; did you mean rollout?"
    assert errors["algorithm.parameters.alfa"] == "unknown parameter; did you mean alpha?"
    assert errors["algorithm.parameters.advantage"] == "no choice 'zscor'; did you mean zscore?"
    assert errors["reward[0].verifier"] == "no verifier 'countdwn'; did you mean countdown?"
    assert errors["model.name"] == "no model 'toi'; did you mean toy?"
    assert problem["error"]["code"] == "invalid_spec"
    assert problem["error"]["param"] in errors


@pytest.mark.parametrize(
    ("changes", "loc", "message"),
    [
        ({"model": {"name": "zzzzz"}}, "model.name", "no model 'zzzzz'; valid: toy"),
        ({"model": {"hub": {"id": "a/b"}}}, "model.hub", "the operator does not allow hub models"),
        ({"data": {"hub": {"id": "a/b"}}}, "data.hub", "the operator does not allow hub datasets"),
        ({"data": {"file": f"file-{'0' * 32}"}}, "data.file", "no file"),
        ({"algorithm": {"name": "grp"}}, "algorithm.name", "no algorithm 'grp'; did you mean grpo?"),
        ({"model": {"checkpoint": {"job": f"job-{'0' * 32}", "step": 1}}}, "model.checkpoint.job", "no job"),
        ({"model": {"name": "../toy"}}, "model.name", "String should match"),
    ],
)
async def test_what_a_job_refers_to_must_be_there(
    client: httpx.AsyncClient, changes: dict[str, Any], loc: str, message: str
) -> None:
    response = await client.post("/v1/jobs/validate", json=job_document(**changes))
    answer = response.json()
    assert (response.status_code, answer["is_valid"], answer["resolved"]) == (200, False, None)
    assert [error["loc"] for error in answer["errors"]] == [loc]
    assert answer["errors"][0]["message"].startswith(message)


async def test_a_checkpoint_of_another_step_is_named_with_those_that_exist(client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    document = job_document(model={"checkpoint": {"job": job_id, "step": 7}})
    answer = (await client.post("/v1/jobs/validate", json=document)).json()
    assert answer["errors"] == [
        {"loc": "model.checkpoint.step", "message": "no checkpoint of step 7; there are: none"}
    ]


async def test_another_projects_job_and_file_are_not_there(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    job_id = await submit(stranger)
    upload = await stranger.post("/v1/files", files={"file": ("a.jsonl", b'{"prompt": "x"}\n')})
    checkpoint = {"model": {"checkpoint": {"job": job_id, "step": 1}}}
    for changes, loc in (
        (checkpoint, "model.checkpoint.job"),
        ({"data": {"file": upload.json()["id"]}}, "data.file"),
    ):
        answer = (await client.post("/v1/jobs/validate", json=job_document(**changes))).json()
        assert [error["loc"] for error in answer["errors"]] == [loc]


async def test_validation_estimates_and_stores_nothing(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/v1/jobs/validate", json=job_document())).json()
    assert answer["is_valid"]
    assert answer["resolved"]["schedule"]["steps"] == 10
    assert answer["estimate"]["rollout_tokens"] == 10 * 32 * 8 * 256
    assert answer["estimate"]["parameters"] == 12
    assert answer["estimate"]["memory_bytes"] > 12 * 16
    assert answer["estimate"]["seconds"] > 0
    assert set(answer["estimate"]["time"]) == {"sampling", "update", "evaluation"}
    assert {"process", "weights", "optimiser", "kv_cache", "activations"} <= set(answer["estimate"]["memory"])
    assert answer["estimate"]["prompt_tokens"] == 12
    assert (await client.get("/v1/jobs")).json()["data"] == []


async def test_an_estimate_takes_prompts_to_be_as_long_as_the_rows_of_a_file(
    client: httpx.AsyncClient,
) -> None:
    rows = b'{"prompt": "123456789"}\n' * 10
    upload = await client.post("/v1/files", files={"file": ("a.jsonl", rows)})
    document = job_document(data={"file": upload.json()["id"]}, reward=[{"verifier": "exact"}])
    answer = (await client.post("/v1/jobs/validate", json=document)).json()
    assert answer["estimate"]["prompt_tokens"] == 24


async def test_a_job_remembers_its_file(client: httpx.AsyncClient, service: Service) -> None:
    upload = await client.post("/v1/files", files={"file": ("a.jsonl", b'{"prompt": "x"}\n')})
    file_id = upload.json()["id"]
    await submit(client, data={"file": file_id}, reward=[{"verifier": "exact"}])
    refused = await client.delete(f"/v1/files/{file_id}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "state_conflict")
    async with service.resources.context.database.read() as session:
        assert (await session.get_one(File, file_id)).deleted_at is None


async def test_a_megabyte_of_wrong_names_gives_a_bounded_answer(client: httpx.AsyncClient) -> None:
    document = job_document(**{"x" * 30_000: 1}) | {f"y{index}": 1 for index in range(1000)}
    response = await client.post("/v1/jobs", json=document)
    assert response.status_code == 422
    assert len(response.content) < 100_000
    assert len(response.json()["errors"]) == 100


@pytest.mark.parametrize(
    ("algorithm", "asked", "rounds"),
    [("dapo", None, 4), ("dapo", False, 1), ("espo", None, 1), ("espo", True, 4)],
)
async def test_dynamic_sampling_is_as_the_paper_has_it_unless_the_job_says(
    client: httpx.AsyncClient, algorithm: str, asked: bool | None, rounds: int
) -> None:
    rollout = {} if asked is None else {"dynamic_sampling": asked}
    document = job_document(algorithm={"name": algorithm}, rollout=rollout)
    answer = (await client.post("/v1/jobs/validate", json=document)).json()
    assert answer["resolved"]["rollout"]["dynamic_sampling"] is (rounds > 1)
    steps = answer["resolved"]["schedule"]["steps"]
    assert answer["estimate"]["rollout_tokens"] == steps * rounds * 32 * 8 * 256


async def test_every_algorithm_is_offered_and_its_defaults_are_valid(client: httpx.AsyncClient) -> None:
    offered = (await client.get("/v1/algorithms")).json()["data"]
    assert len(offered) == 15
    for entry in offered:
        answer = await client.post("/v1/jobs/validate", json=job_document(algorithm={"name": entry["name"]}))
        resolved = answer.json()["resolved"]["algorithm"]
        again = await client.post("/v1/jobs/validate", json=job_document(algorithm=resolved))
        assert again.json()["resolved"]["algorithm"] == resolved
