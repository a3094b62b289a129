"""Fine-tuning jobs through the SDK in strict mode: the same rows as `/v1/jobs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import openai as sdk
import pytest
from openai import AsyncOpenAI

from tests.api.conftest import Service
from tests.api.marks import on_sqlite
from tests.api.openai_compat.sdk import GRADER, method
from tests.api.rows import add_checkpoint, add_events, log, metrics, set_status, submit


async def test_a_request_becomes_a_job(
    openai: AsyncOpenAI, client: httpx.AsyncClient, training_file: str
) -> None:
    chosen = {"batch_size": 3, "n_epochs": 2, "learning_rate_multiplier": 5.0, "eval_interval": "auto"}
    made = await openai.fine_tuning.jobs.create(
        model="toy",
        training_file=training_file,
        method=method(**chosen, eval_samples=4, compute_multiplier=0.5),
        seed=7,
        suffix="sums",
        metadata={"team": "a", "note": "x y"},
        extra_body={"espo": {"algorithm": {"name": "gspo"}, "data": {"held_out": {"fraction": 0.5}}}},
    )
    assert (made.status, made.model, made.training_file, made.seed) == ("queued", "toy", training_file, 7)
    assert made.metadata == {"team": "a", "note": "x y"}
    assert (made.hyperparameters.batch_size, made.hyperparameters.n_epochs) == (3, 2)
    assert made.method is not None
    assert made.method.reinforcement is not None
    assert made.method.reinforcement.grader.to_dict() == GRADER
    assert await openai.fine_tuning.jobs.retrieve(made.id) == made
    job = (await client.get(f"/v1/jobs/{made.id}")).json()
    assert job["name"] == "sums"
    resolved = job["resolved"]
    assert resolved["data"]["file"] == training_file
    assert resolved["reward"][0]["parameters"] == {"grader": GRADER}
    assert resolved["algorithm"]["name"] == "gspo"
    assert resolved["rollout"]["prompts_per_step"] == resolved["optimiser"]["mini_batches"] == 3
    assert (resolved["rollout"]["group_size"], resolved["schedule"]["evaluate_samples"]) == (4, 4)
    # Twice the 10 of 20 rows that are not held out, 3 a step.
    assert resolved["schedule"]["steps"] == 7
    assert resolved["optimiser"]["learning_rate"] == pytest.approx(5e-6)


async def test_lists_have_cursors_and_labels(
    openai: AsyncOpenAI, client: httpx.AsyncClient, training_file: str
) -> None:
    ids = [await submit(client)]
    for team in ("a", "b", "a"):
        made = await openai.fine_tuning.jobs.create(
            model="toy",
            training_file=training_file,
            method=method(),
            metadata={"team": team, "n": str(len(ids))},
        )
        ids.append(made.id)
    jobs = openai.fine_tuning.jobs
    assert [job.id async for job in jobs.list(limit=1)] == ids[::-1]
    assert [job.id async for job in jobs.list(metadata={"team": "a"})] == [ids[3], ids[1]]
    assert [job.id async for job in jobs.list(metadata={"team": "a", "n": "1"})] == [ids[1]]
    assert [job.id async for job in jobs.list(metadata={"team": "A"})] == []
    assert [job.id async for job in jobs.list(extra_query={"metadata": "null"})] == ids[:1]
    with pytest.raises(sdk.BadRequestError, match="no job"):
        await jobs.list(after="job-nobody")
    with pytest.raises(sdk.BadRequestError, match="metadata"):
        await jobs.list(metadata={'"': "x"})


async def test_events_and_checkpoints_have_cursors(
    openai: AsyncOpenAI, service: Service, training_file: str, tmp_path: Path
) -> None:
    made = await openai.fine_tuning.jobs.create(model="toy", training_file=training_file, method=method())
    context = service.resources.context
    failed = {"type": "failed", "code": "diverged", "message": "NaN", "hint": "", "log_tail": ""}
    told = [metrics(1, reward__mean=0.5), log("hello"), failed]
    await add_events(context.database, made.id, told)
    for step in (1, 2, 3):
        files = {"config.json": b"{}"}
        await add_checkpoint(
            context.database, context.store, tmp_path, made.id, step, files, reward__mean=0.5
        )
    events = [event async for event in openai.fine_tuning.jobs.list_events(made.id, limit=1)]
    assert [event.message for event in events] == [
        "diverged: NaN",
        "hello",
        "step 1",
        "queued: submitted as a fine-tuning job",
    ]
    assert [event.level for event in events] == ["error", "info", "info", "info"]
    assert [event.type for event in events] == ["message", "message", "metrics", "message"]
    assert events[2].data["values"] == {"reward/mean": 0.5}  # type: ignore[index]
    shown = [found async for found in openai.fine_tuning.jobs.checkpoints.list(made.id, limit=2)]
    assert [found.step_number for found in shown] == [3, 2, 1]
    assert shown[0].fine_tuned_model_checkpoint == f"{made.id}:3"
    assert shown[0].metrics.model_extra == {"reward/mean": 0.5}
    again = await openai.fine_tuning.jobs.create(
        model=shown[0].fine_tuned_model_checkpoint, training_file=training_file, method=method()
    )
    assert again.model == f"{made.id}:3"
    for cursor in ("x", "ftevent-1", f"{events[0].id}x", f"{events[0].id}{9 * 10**20}"):
        with pytest.raises(sdk.BadRequestError, match="no event"):
            await openai.fine_tuning.jobs.list_events(made.id, after=cursor)


@on_sqlite
async def test_every_status_is_one_that_the_sdk_knows(
    openai: AsyncOpenAI, service: Service, training_file: str
) -> None:
    jobs = openai.fine_tuning.jobs
    made = await jobs.create(model="toy", training_file=training_file, method=method())
    paused = await jobs.pause(made.id)
    assert (paused.status, paused.model_extra["espo"]["status"]) == ("queued", "paused")  # type: ignore[index]
    assert (await jobs.resume(made.id)).status == "queued"
    for status in ("running", "succeeded", "failed"):
        await set_status(service.resources.context.database, made.id, status)
        found = await jobs.retrieve(made.id)
        assert found.status == status
        assert (found.fine_tuned_model is not None) == (status == "succeeded")
    with pytest.raises(sdk.ConflictError, match="is failed and cannot be cancelled"):
        await jobs.cancel(made.id)


@on_sqlite
async def test_a_resent_request_makes_no_second_job(openai: AsyncOpenAI, training_file: str) -> None:
    async def create(**headers: str) -> str:
        made = await openai.fine_tuning.jobs.create(
            model="toy", training_file=training_file, method=method(), extra_headers=headers
        )
        return made.id

    first = await create()
    assert await create(**{"X-Stainless-Retry-Count": "1"}) == first
    second = await create()
    assert second != first
    keyed = [await create(**{"Idempotency-Key": "k"}) for _ in range(2)]
    assert keyed[0] == keyed[1] != second


SIMILAR = {"type": "text_similarity", "name": "near", "input": "x", "reference": "y"}
MULTI = {"type": "multi", "name": "both", "calculate_output": "right"}


@on_sqlite
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": {"type": "supervised"}}, "method.type"),
        ({"method": None}, "give method"),
        ({"method": method({"type": "python", "name": "p", "source": "1"})}, "this server runs none"),
        ({"method": method(SIMILAR | {"evaluation_metric": "cosine"})}, "cosine compares embeddings"),
        ({"method": method(MULTI | {"graders": [{"type": "score_model"}]})}, "asks another model"),
        ({"method": method(MULTI | {"calculate_output": "wrong", "graders": GRADER})}, "no grader"),
        ({"method": method(reasoning_effort="high")}, "reasoning_effort"),
        ({"method": method(batch_size=0)}, "batch_size"),
        ({"validation_file": "file-1"}, "validation_file"),
        ({"model": "gpt-9"}, "no model 'gpt-9'"),
        ({"model": "a/b"}, "does not allow hub models"),
        ({"training_file": "file-" + "0" * 32}, "data.file: no file"),
        ({"metadata": {"k\0": "v"}}, "metadata"),
        ({"extra_body": {"espo": {"rollout": {"group_sise": 4}}}}, "did you mean group_size"),
        ({"extra_body": {"espo": {"schedule": 3}}}, "schedule"),
        ({"extra_body": {"sufix": "x"}}, "sufix"),
    ],
)
async def test_what_cannot_be_done_is_refused_in_words(
    openai: AsyncOpenAI, training_file: str, changes: dict[str, Any], words: str
) -> None:
    request: dict[str, Any] = {"model": "toy", "training_file": training_file, "method": method()} | changes
    with pytest.raises(sdk.APIStatusError, match=words) as refused:
        await openai.fine_tuning.jobs.create(**request)
    assert refused.value.status_code in (400, 422)
    assert refused.value.request_id


@on_sqlite
async def test_espo_may_bring_its_own_reward_and_data(
    openai: AsyncOpenAI, client: httpx.AsyncClient, training_file: str
) -> None:
    own = {"reward": [{"verifier": "numeric"}], "data": {"file": None, "task": {"name": "countdown"}}}
    made = await openai.fine_tuning.jobs.create(
        model="toy", training_file=training_file, extra_body={"espo": own}
    )
    resolved = (await client.get(f"/v1/jobs/{made.id}")).json()["resolved"]
    assert (resolved["reward"][0]["verifier"], resolved["data"]["task"]["name"]) == ("numeric", "countdown")
