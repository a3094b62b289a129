"""The rate limit of a key: the bucket, its headers, and that it stands in nobody's way without Redis."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from redis.asyncio import Redis

from api.app import create_app
from api.auth.keys import Scope
from api.limits.rate import MemoryLimiter, Rate, RedisLimiter
from api.settings import Settings
from tests.api.conftest import Service
from tests.api.marks import on_sqlite
from tests.servers import free_port

RATE = Rate(requests=4, seconds=60)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_bucket_gives_all_at_once_and_then_fills_steadily() -> None:
    clock = Clock()
    limiter = MemoryLimiter(RATE, clock)
    verdicts = [await limiter.take("a") for _ in range(5)]
    assert [verdict.is_allowed for verdict in verdicts] == [True] * 4 + [False]
    assert [verdict.remaining for verdict in verdicts] == [3, 2, 1, 0, 0]
    assert verdicts[-1].retry_after == 15
    assert (await limiter.take("b")).remaining == 3
    clock.now += 14
    assert not (await limiter.take("a")).is_allowed
    clock.now += 1
    assert (await limiter.take("a")).is_allowed
    assert not (await limiter.take("a")).is_allowed
    clock.now += 3600
    assert (await limiter.take("a")).remaining == 3


@pytest.mark.parametrize("requests", [1, 3, 7, 1000])
async def test_the_policy_is_met_exactly(requests: int) -> None:
    limiter = MemoryLimiter(Rate(requests=requests, seconds=7), Clock())
    allowed = [(await limiter.take("a")).is_allowed for _ in range(requests + 3)]
    assert sum(allowed) == requests


async def test_processes_count_together_in_redis(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as one, Redis.from_url(redis_url) as other:
        limiters = [RedisLimiter(RATE, one), RedisLimiter(RATE, other)]
        verdicts = [await limiters[number % 2].take("a") for number in range(6)]
        assert [verdict and verdict.is_allowed for verdict in verdicts] == [True] * 4 + [False] * 2
        assert [verdict and verdict.remaining for verdict in verdicts] == [3, 2, 1, 0, 0, 0]
        assert 0 < await one.pttl("espo:rate:a") <= 60_000


async def test_without_redis_everything_passes_and_nothing_waits(caplog: pytest.LogCaptureFixture) -> None:
    async with Redis.from_url(f"redis://127.0.0.1:{free_port()}") as away:
        limiter = RedisLimiter(RATE, away)
        assert [await limiter.take("a") for _ in range(50)] == [None] * 50
    # Fifty requests, and Redis was asked about once a second.
    assert 1 <= caplog.text.count("requests are not counted") <= 5


@asynccontextmanager
async def limited(settings: Settings, **limits: object) -> AsyncIterator[Service]:
    """The service with these limits."""
    app = create_app(settings.model_copy(update=limits))
    async with app.router.lifespan_context(app):
        yield Service(app)


@on_sqlite
async def test_every_answer_tells_how_the_key_stands(settings: Settings) -> None:
    async with limited(settings, rate_limit_requests=3) as service:
        key, other = [await service.key("ours", [Scope.READ]) for _ in range(2)]
        async with service.client(key) as client:
            first = await client.get("/v1/jobs")
            assert first.headers["ratelimit-policy"] == '"key";q=3;w=60'
            assert first.headers["ratelimit"] == '"key";r=2;t=20'
            assert (await client.get("/v1/jobs/none")).headers["ratelimit"].startswith('"key";r=1;')
            assert (await client.post("/v1/jobs")).headers["ratelimit"].startswith('"key";r=0;')
            refused = await client.get("/v1/jobs")
        _is_refused(refused)
        async with service.client(other) as client:
            assert (await client.get("/v1/jobs")).status_code == 200
            assert "ratelimit" not in (await client.get("/healthz")).headers


def _is_refused(response: httpx.Response) -> None:
    problem = response.json()
    assert (response.status_code, problem["error"]["code"]) == (429, "rate_limited")
    assert problem["error"]["type"] == "rate_limit_error"
    assert 1 <= int(response.headers["retry-after"]) <= 20
    assert response.headers["ratelimit"].startswith('"key";r=0;')
    assert problem["limit"]["limit"] == 3
    assert problem["limit"]["frees_at"] == pytest.approx(time.time() + 20, abs=20)


@on_sqlite
async def test_no_limit_is_none(settings: Settings) -> None:
    async with limited(settings, rate_limit_requests=0) as service:
        key = await service.key("ours", [Scope.READ])
        async with service.client(key) as client:
            assert "ratelimit" not in (await client.get("/v1/jobs")).headers


async def test_a_request_is_counted_in_microseconds() -> None:
    limiter = MemoryLimiter(Rate(requests=10_000_000, seconds=1))

    async def once() -> float:
        begin = time.process_time()
        for number in range(1000):
            await limiter.take(f"key-{number % 10}")
        return (time.process_time() - begin) / 1000

    assert min([await once() for _ in range(5)]) < 0.2e-3


@on_sqlite
async def test_web_pages_of_other_origins_are_let_in_by_name_only(settings: Settings) -> None:
    preflight = {"origin": "https://ours.test", "access-control-request-method": "GET"}
    for origins, is_open in (("", False), ("https://ours.test, https://b.test", True)):
        async with limited(settings, cors_origins=origins) as service, service.client(None) as client:
            asked = await client.options("/v1/jobs", headers=preflight)
            plain = await client.get("/healthz", headers={"origin": "https://ours.test"})
            foreign = await client.get("/healthz", headers={"origin": "https://evil.test"})
        assert (asked.status_code == 200) is is_open
        assert ("access-control-allow-origin" in plain.headers) is is_open
        assert "access-control-allow-origin" not in foreign.headers
        assert "access-control-allow-credentials" not in plain.headers
