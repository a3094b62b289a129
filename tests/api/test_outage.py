"""The API while Redis is away: everything can be read and submitted, and a live stream polls."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from espo_contracts.wire import NUDGE_CHANNEL
from tests.api.conftest import Service
from tests.api.events.stream import Stream
from tests.api.rows import add_events, job_document, log, submit
from tests.servers import RedisServer


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of this test's own, in place of the session's."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


async def test_without_redis_it_is_degraded_and_without_store_unavailable(
    client: httpx.AsyncClient, service: Service, redis_server: RedisServer
) -> None:
    redis_server.kill()
    degraded = await client.get("/readyz")
    assert (degraded.status_code, degraded.json()["status"]) == (200, "degraded")
    redis = degraded.json()["checks"]["redis"]
    assert (redis["is_ok"], redis["detail"]) == (False, "ConnectionError")
    shutil.rmtree(service.resources.settings.home / "store")
    unavailable = await client.get("/readyz")
    assert (unavailable.status_code, unavailable.json()["status"]) == (503, "unavailable")


async def test_a_job_is_taken_and_cancelled(client: httpx.AsyncClient, redis_server: RedisServer) -> None:
    redis_server.kill()
    response = await client.post("/v1/jobs", json=job_document())
    assert response.status_code == 201
    assert response.json()["waiting_reason"] == "Redis does not answer"
    cancelled = await client.post(f"/v1/jobs/{response.json()['id']}/cancel")
    assert cancelled.json()["status"] == "cancelled"


async def test_a_stream_polls_and_is_woken_again_when_redis_is_back(
    client: httpx.AsyncClient,
    service: Service,
    base_url: str,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.events.live.POLL_SECONDS", 0.1)
    context = service.resources.context
    job_id = await submit(client)
    async with Stream(base_url, client, job_id) as stream:
        assert await stream.next() is not None
        redis_server.kill()
        await add_events(context.database, job_id, [log("polled")])
        polled = await stream.next()
        redis_server.start()
        await add_events(context.database, job_id, [log("back")])
        async with Redis.from_url(redis_server.url) as publisher:
            await publisher.publish(NUDGE_CHANNEL, job_id)
        back = await stream.next()
    assert polled is not None
    assert back is not None
    assert [event.json()["data"]["message"] for event in (polled, back)] == ["polled", "back"]
