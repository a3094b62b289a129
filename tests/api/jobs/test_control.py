"""Pause, resume, retry, clone and cancel over HTTP: in every state, repeated, and at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpx
import pytest

from api.jobs.lifecycle import Cause, lock_job, retry_or_fail
from api.jobs.models import Job
from api.loops.attempts import next_attempt
from api.loops.effects import apply
from espo_contracts.events import Failed, Finished, Started
from espo_contracts.job import FailureCode
from tests.api.conftest import Service
from tests.api.marks import on_sqlite
from tests.api.rows import job_document, submit

STARTED = Started(total_steps=10, device="cpu", parameters=1, trainable_parameters=1)
ACTIONS = ("cancel", "pause", "resume", "retry")
STATES = ("queued", "running", "pausing", "cancelling", "paused", "succeeded", "failed", "cancelled")


async def run_events(service: Service, job_id: str, *events: Any) -> None:
    """What a worker's events do to the job; a new attempt for the first."""
    async with service.resources.context.database.write() as session:
        job = await lock_job(session, job_id)
        assert job is not None
        for event in events:
            if isinstance(event, Started):
                await next_attempt(session, job)
                await session.flush()
            await apply(session, job, event)


async def bring(service: Service, client: httpx.AsyncClient, state: str) -> str:
    """Id of a job that is in a state."""
    job_id = await submit(client)
    ends: dict[str, Iterable[Any]] = {
        "succeeded": [STARTED, Finished(step=10)],
        "failed": [STARTED, Failed(code=FailureCode.DIVERGED, message="NaN")],
        "queued": [],
        "cancelled": [],
        "paused": [],
    }
    await run_events(service, job_id, *ends.get(state, [STARTED]))
    wish = {"pausing": "pause", "paused": "pause", "cancelling": "cancel", "cancelled": "cancel"}.get(state)
    if wish is not None:
        assert (await client.post(f"/v1/jobs/{job_id}/{wish}")).status_code == 200
    return job_id


# The status and wish after an action, or the words of its refusal.
WRONG = {
    "running": "is running",
    "pausing": "is running and about to be paused",
    "cancelling": "is running and about to be cancelled",
    "paused": "is paused",
    "succeeded": "is succeeded",
    "failed": "is failed",
    "cancelled": "is cancelled",
}
OUTCOMES: dict[tuple[str, str], tuple[str, str]] = {
    ("queued", "cancel"): ("cancelled", "cancel"),
    ("queued", "pause"): ("paused", "pause"),
    ("queued", "resume"): ("queued", "run"),
    ("queued", "retry"): ("queued", "run"),
    ("running", "cancel"): ("running", "cancel"),
    ("running", "pause"): ("running", "pause"),
    ("running", "resume"): ("running", "run"),
    ("running", "retry"): ("running", "run"),
    ("pausing", "cancel"): ("running", "cancel"),
    ("pausing", "pause"): ("running", "pause"),
    ("pausing", "resume"): ("running", "run"),
    ("cancelling", "cancel"): ("running", "cancel"),
    ("paused", "cancel"): ("cancelled", "cancel"),
    ("paused", "pause"): ("paused", "pause"),
    ("paused", "resume"): ("queued", "run"),
    ("failed", "retry"): ("queued", "run"),
    ("cancelled", "cancel"): ("cancelled", "cancel"),
    ("cancelled", "retry"): ("queued", "run"),
}


@pytest.mark.parametrize("state", STATES)
async def test_every_wish_in_every_state_and_again(
    client: httpx.AsyncClient, service: Service, state: str
) -> None:
    for action in ACTIONS:
        job_id = await bring(service, client, state)
        first = await client.post(f"/v1/jobs/{job_id}/{action}")
        again = await client.post(f"/v1/jobs/{job_id}/{action}")
        assert again.status_code == first.status_code
        expected = OUTCOMES.get((state, action))
        if expected is None:
            assert_refused(first, job_id, f"{WRONG[state]} and cannot be")
        else:
            assert (first.json()["status"], first.json()["desired"]) == expected, action
            assert again.json()["event_count"] == first.json()["event_count"], "a repetition did something"


def assert_refused(response: httpx.Response, job_id: str, words: str) -> None:
    assert (response.status_code, response.json()["error"]["code"]) == (409, "state_conflict")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-should-retry"] == "false"
    assert f"{job_id} {words}" in response.json()["detail"]


@on_sqlite
@pytest.mark.parametrize("action", [*ACTIONS, "clone"])
async def test_an_unknown_job_is_not_found(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, action: str
) -> None:
    job_id = await submit(client)
    for asker, asked in ((client, "job-" + "0" * 32), (stranger, job_id)):
        response = await asker.post(f"/v1/jobs/{asked}/{action}")
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


async def test_a_retry_gives_all_attempts_anew_and_forgets_the_error(
    client: httpx.AsyncClient, service: Service
) -> None:
    job_id = await bring(service, client, "failed")
    failed = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert failed["error"]["code"] == "diverged"
    retried = (await client.post(f"/v1/jobs/{job_id}/retry", content=b"")).json()
    assert (retried["error"], retried["finished_at"], retried["queue_position"]) == (None, None, 1)
    assert (retried["attempt"], retried["max_attempts"]) == (1, 1 + service.resources.settings.max_attempts)
    assert service.resources.context.dispatch_wanted.is_set()
    await run_events(service, job_id, STARTED, Finished(step=10))
    done = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert (done["status"], done["attempt"]) == ("succeeded", 2)


async def test_a_pause_uses_up_no_attempt(client: httpx.AsyncClient, service: Service) -> None:
    job_id = await bring(service, client, "pausing")
    await run_events(service, job_id, Finished(outcome="paused", step=3))
    paused = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert (paused["status"], paused["attempt"], paused["max_attempts"]) == ("paused", 1, 4)


async def lose(service: Service, job_id: str) -> None:
    """As the reconciler does."""
    async with service.resources.context.database.write() as session:
        job = await lock_job(session, job_id)
        assert job is not None
        error = {"code": "worker_lost", "message": "gone", "hint": ""}
        retry_or_fail(session, job, error, Cause(actor="reconciler", reason="silent"))


CRASH = Failed(code=FailureCode.INTERNAL, message="x", is_retryable=True)
ENDS: dict[str, Callable[[Service, str], Awaitable[None]]] = {
    "paused": lambda service, job_id: run_events(service, job_id, Finished(outcome="paused", step=3)),
    "handed back": lambda service, job_id: run_events(
        service, job_id, Finished(outcome="handed_back", step=3)
    ),
    "failed for a passing reason": lambda service, job_id: run_events(service, job_id, CRASH),
    "lost": lose,
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    ("wishes", "status"),
    [
        (["pause"], "paused"),
        (["cancel"], "cancelled"),
        (["pause", "cancel"], "cancelled"),
        (["pause", "resume"], "queued"),
        (["pause", "resume", "pause"], "paused"),
    ],
)
@on_sqlite
async def test_however_an_attempt_ends_the_job_rests_where_its_user_wants_it(
    client: httpx.AsyncClient, service: Service, end: str, wishes: list[str], status: str
) -> None:
    job_id = await bring(service, client, "running")
    for wish in wishes:
        assert (await client.post(f"/v1/jobs/{job_id}/{wish}")).status_code == 200
    await ENDS[end](service, job_id)
    assert (await client.get(f"/v1/jobs/{job_id}")).json()["status"] == status


@pytest.mark.parametrize("state", ["queued", "running", "paused", "failed"])
async def test_wishes_at_once_end_in_one_legal_state(
    client: httpx.AsyncClient, service: Service, state: str
) -> None:
    job_id = await bring(service, client, state)
    wishes = [*ACTIONS, *ACTIONS]
    answers = await asyncio.gather(*(client.post(f"/v1/jobs/{job_id}/{wish}") for wish in wishes))
    assert {answer.status_code for answer in answers} <= {200, 409}
    job = (await client.get(f"/v1/jobs/{job_id}")).json()
    events = (await client.get(f"/v1/jobs/{job_id}/events?limit=1000")).json()["data"]
    assert [int(event["id"]) for event in events] == list(range(1, job["event_count"] + 1))
    previous = None
    for event in events:
        if event["type"] == "state":
            assert event["data"]["previous"] == previous
            previous = event["data"]["status"]
    last = events[-1]["data"]
    assert (job["status"], job["desired"]) == (last["status"], last["desired"])
    assert (job["finished_at"] is not None) == (job["status"] in {"cancelled", "failed"})


async def test_a_clone_is_the_same_document_with_changes(client: httpx.AsyncClient) -> None:
    document = job_document(optimiser={"learning_rate": 1e-4, "beta1": 0.8})
    origin = (await client.post("/v1/jobs", json=document)).json()
    plain = await client.post(f"/v1/jobs/{origin['id']}/clone")
    assert plain.status_code == 201
    copy = plain.json()
    assert plain.headers["location"] == f"/v1/jobs/{copy['id']}"
    assert (copy["spec"], copy["resolved"], copy["status"]) == (document, origin["resolved"], "queued")
    assert copy["id"] != origin["id"]
    changes = {"seed": 7, "optimiser": {"learning_rate": 3e-4, "beta1": None}, "tags": ["other"]}
    merge_patch = {"content-type": "application/merge-patch+json"}
    changed = await client.post(f"/v1/jobs/{origin['id']}/clone", json=changes, headers=merge_patch)
    assert changed.json()["spec"] == document | changes | {"optimiser": {"learning_rate": 3e-4}}
    events = (await client.get(f"/v1/jobs/{copy['id']}/events")).json()["data"]
    assert events[0]["data"]["reason"] == f"cloned from {origin['id']}"


@on_sqlite
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"optimiser": {"learning_rat": 1}}', 422),
        (b'{"model": null}', 422),
        (b"[]", 400),
        (b"null", 400),
        (b"{", 400),
        (b'{"a":' * 40 + b"1" + b"}" * 40, 400),
        (b'{"a":' * 900 + b"1" + b"}" * 900, 400),
    ],
)
async def test_changes_that_make_no_job_are_refused(
    client: httpx.AsyncClient, body: bytes, status: int
) -> None:
    job_id = await submit(client)
    response = await client.post(
        f"/v1/jobs/{job_id}/clone", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code == status
    assert len((await client.get("/v1/jobs")).json()["data"]) == 1


async def test_a_clone_with_a_key_is_made_once(client: httpx.AsyncClient) -> None:
    job_id, other = await submit(client), await submit(client)
    headers = {"idempotency-key": "k1"}
    path = f"/v1/jobs/{job_id}/clone"
    answers = await asyncio.gather(*(client.post(path, json={"seed": 2}, headers=headers) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    for refused in (
        await client.post(path, json={"seed": 3}, headers=headers),
        await client.post(f"/v1/jobs/{other}/clone", json={"seed": 2}, headers=headers),
    ):
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_conflict")


async def test_what_is_paused_in_the_queue_takes_its_attempt_from_the_workers(
    client: httpx.AsyncClient, service: Service
) -> None:
    job_id = await submit(client)
    async with service.resources.context.database.write() as session:
        job = await lock_job(session, job_id)
        assert job is not None
        await next_attempt(session, job)
    paused = (await client.post(f"/v1/jobs/{job_id}/pause")).json()
    assert (paused["status"], paused["max_attempts"]) == ("paused", 4)
    resumed = (await client.post(f"/v1/jobs/{job_id}/resume")).json()
    assert (resumed["status"], resumed["queue_position"]) == ("queued", 1)
    async with service.resources.context.database.read() as session:
        assert (await session.get_one(Job, job_id)).attempt == 1
