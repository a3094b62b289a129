from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.observability import observer
from tests.api.marks import on_sqlite
from tests.api.observability.scrape import scrape
from tests.servers import RedisServer


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of this test's own, in place of the session's."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@on_sqlite
async def test_without_redis_the_rest_is_shown(
    client: httpx.AsyncClient, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observer, "FRESH_SECONDS", 0.0)
    assert (await scrape(client))["espo_up", "redis"] == 1
    redis_server.signal(signal.SIGSTOP)
    began = time.monotonic()
    hung = await scrape(client)
    assert time.monotonic() - began < 4 * observer.LOOK_SECONDS
    redis_server.kill()
    gone = await scrape(client)
    for seen in (hung, gone):
        assert (seen["espo_up", "redis"], seen["espo_up", "broker"]) == (0, 0)
        assert (seen["espo_up", "database"], seen["espo_up", "store"]) == (1, 1)
        assert ("espo_ingest_lag_events",) not in seen
        assert seen["espo_store_bytes",] == 0
