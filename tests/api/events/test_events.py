from __future__ import annotations

from typing import Any

import httpx
import pytest

from api.events import service as events
from tests.api.conftest import Service
from tests.api.events.stream import Stream
from tests.api.marks import on_sqlite
from tests.api.rows import add_events, log, metrics, set_status, submit


def sample(step: int, completion: str, **changes: Any) -> dict[str, Any]:
    parts = {"prompt": "p", "group": 0, "reward": 1.0, "reward_parts": {"exact": 1.0}, "advantage": 0.5}
    return (
        {"type": "sample", "step": step, "completion": completion}
        | parts
        | {
            "is_verified": True,
            "is_truncated": False,
        }
        | changes
    )


async def test_the_log_is_read_by_cursor_and_type(client: httpx.AsyncClient, service: Service) -> None:
    job_id = await submit(client)
    database = service.resources.context.database
    await add_events(database, job_id, [log("a"), metrics(1, reward__mean=0.5), log("b"), log("c")])
    page = (await client.get(f"/v1/jobs/{job_id}/events", params={"limit": 2})).json()
    assert [(event["id"], event["type"]) for event in page["data"]] == [("1", "state"), ("2", "log")]
    assert page["has_more"]
    rest = (await client.get(f"/v1/jobs/{job_id}/events", params={"after": page["last_id"]})).json()
    assert [event["id"] for event in rest["data"]] == ["3", "4", "5"]
    assert not rest["has_more"]
    only = (await client.get(f"/v1/jobs/{job_id}/events", params={"types": ["metrics", "state"]})).json()
    assert [event["type"] for event in only["data"]] == ["state", "metrics"]
    state = only["data"][0]["data"]
    assert (state["status"], state["actor"], state["reason"]) == ("queued", "user", "submitted")


async def test_samples_and_logs(client: httpx.AsyncClient, service: Service) -> None:
    job_id = await submit(client)
    rows = [sample(1, "old", is_superseded=True), sample(1, "new"), sample(2, "two"), log("hello")]
    await add_events(service.resources.context.database, job_id, rows)
    page = (await client.get(f"/v1/jobs/{job_id}/samples")).json()
    assert [(row["step"], row["completion"]) for row in page["data"]] == [(1, "new"), (2, "two")]
    second = (await client.get(f"/v1/jobs/{job_id}/samples", params={"step": 2})).json()
    assert [row["completion"] for row in second["data"]] == ["two"]
    lines = (await client.get(f"/v1/jobs/{job_id}/logs")).json()["data"]
    assert [(line["level"], line["message"]) for line in lines] == [("info", "hello")]


async def test_the_log_of_an_attempt_that_failed_ends_with_what_it_last_printed(
    client: httpx.AsyncClient, service: Service
) -> None:
    job_id = await submit(client)
    why = {"type": "failed", "code": "diverged", "message": "no loss", "hint": "h", "is_retryable": False}
    rows = [log("hello"), why | {"log_tail": "line 1\nline 2"}, why | {"log_tail": ""}]
    await add_events(service.resources.context.database, job_id, rows)
    lines = (await client.get(f"/v1/jobs/{job_id}/logs")).json()["data"]
    told = [(line["level"], line["message"]) for line in lines]
    assert told[1:] == [("error", "diverged: no loss\nline 1\nline 2"), ("error", "diverged: no loss")]


@on_sqlite
@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 40])
async def test_a_wrong_last_event_id_is_refused(client: httpx.AsyncClient, last: str) -> None:
    job_id = await submit(client)
    headers = {"last-event-id": last, "accept": "text/event-stream"}
    response = await client.get(f"/v1/jobs/{job_id}/events", headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")


async def test_a_stream_is_live_and_ends_with_the_job(
    client: httpx.AsyncClient, service: Service, base_url: str
) -> None:
    job_id = await submit(client)
    async with Stream(base_url, client, job_id) as stream:
        first = await stream.next()
        assert first is not None
        assert (first.id, first.event) == ("1", "state")
        await add_events(service.resources.context.database, job_id, [log("live")])
        await service.resources.context.redis.publish("espo:nudge", job_id)
        second = await stream.next()
        assert second is not None
        assert (second.id, second.event, second.json()["data"]["message"]) == ("2", "log", "live")
        await client.post(f"/v1/jobs/{job_id}/cancel")
        cancelled, end = await stream.next(), await stream.next()
        assert cancelled is not None
        assert end is not None
        assert cancelled.json()["data"]["status"] == "cancelled"
        assert (end.event, end.json()) == ("end", {"status": "cancelled"})
        assert await stream.next() is None
    assert service.resources.live.listener_count == 0


async def test_a_stream_goes_on_where_it_broke(
    client: httpx.AsyncClient, service: Service, base_url: str
) -> None:
    job_id = await submit(client)
    await add_events(service.resources.context.database, job_id, [log(str(n)) for n in range(500)])
    await set_status(service.resources.context.database, job_id, "succeeded")
    async with Stream(base_url, client, job_id, **{"last-event-id": "77"}) as stream:
        ids = [event.id for _ in range(424) if (event := await stream.next())]
        assert ids == [str(n) for n in range(78, 502)]
        end = await stream.next()
        assert end is not None
        assert end.event == "end"


async def test_a_quiet_stream_shows_that_it_lives(
    client: httpx.AsyncClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)
    job_id = await submit(client)
    project_id = await service.project_of(client.headers["authorization"].split()[1])
    stream = await events.open_stream(
        service.resources, project_id=project_id, job_id=job_id, types=(), after=1
    )
    assert await anext(stream) == b": ping\n\n"


async def test_streams_are_bounded(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_STREAMS", 0)
    job_id = await submit(client)
    response = await client.get(f"/v1/jobs/{job_id}/events", headers={"accept": "text/event-stream"})
    assert (response.status_code, response.json()["error"]["code"]) == (429, "too_many_streams")


async def test_closing_ends_every_stream(client: httpx.AsyncClient, service: Service, base_url: str) -> None:
    job_id = await submit(client)
    async with Stream(base_url, client, job_id) as stream:
        assert await stream.next() is not None
        service.resources.live.close()
        assert await stream.next() is None
