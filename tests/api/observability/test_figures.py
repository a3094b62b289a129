from __future__ import annotations

import asyncio

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from sqlalchemy.exc import OperationalError

from api.jobs.lifecycle import end_attempt, lock_job
from api.loops.ingest import Ingester
from api.loops.reconcile import Reconciler
from api.observability import observer
from espo_contracts.events import FileEntry
from espo_contracts.wire import UPLOADS_KEY, Presence, Upload, queue_name, requests_key, worker_key
from tests.api.conftest import Service
from tests.api.loops.actors import FakeHints, dispatched
from tests.api.loops.samples import STARTED, metrics
from tests.api.marks import on_sqlite
from tests.api.observability.scrape import samples, scrape
from tests.api.rows import submit


@pytest.fixture(autouse=True)
def _always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer, "FRESH_SECONDS", 0.0)


async def test_a_job_that_waits_then_runs_then_ends(client: httpx.AsyncClient, service: Service) -> None:
    context = service.resources.context
    job_id = await submit(client)
    await submit(client)
    seen = await scrape(client)
    assert seen["espo_jobs", "cpu", "queued"] == seen["espo_queue_jobs", "cpu"] == 2
    assert 0 <= seen["espo_queue_oldest_age_seconds", "cpu"] < 60
    assert seen["espo_ingest_lag_events",] == seen["espo_lease_age_seconds",] == 0

    worker = await dispatched(context, job_id)
    await worker.emit(STARTED, metrics(1), metrics(2))
    await worker.beat(spool_bytes=123)
    seen = await scrape(client)
    assert seen["espo_queue_jobs", "cpu"] == 1
    assert seen["espo_attempts_live", "starting", "cpu"] == 1
    assert seen["espo_ingest_lag_events",] == 3
    assert 0 < seen["espo_ingest_lag_seconds",] < 60
    assert seen["espo_spool_bytes",] == 123

    await Ingester(context).step()
    await Reconciler(context, FakeHints()).tick(listened_seconds=1)
    seen = await scrape(client)
    assert seen["espo_attempts_live", "running", "cpu"] == seen["espo_jobs", "cpu", "running"] == 1
    assert seen["espo_ingest_lag_events",] == 0
    assert 0 <= seen["espo_lease_age_seconds",] < 60

    async with context.database.write() as session:
        job = await lock_job(session, job_id)
        assert job is not None
        await end_attempt(session, job, "lost")
    seen = await scrape(client)
    assert seen["espo_attempts_total", "lost"] == 1
    assert ("espo_attempts_live", "running", "cpu") not in seen


async def test_what_is_under_way_in_redis(client: httpx.AsyncClient, service: Service) -> None:
    redis = service.resources.context.redis
    idle = Presence(worker="w", device="gpu", device_name="g", state="idle")
    await redis.set(worker_key("w"), idle.model_dump_json())
    offer = Upload(job="j", attempt=1, step=1, files=[FileEntry(name="a", size=1, sha256="0" * 64)])
    await redis.hset(UPLOADS_KEY, "j:1:1", offer.model_dump_json())
    await redis.rpush(requests_key("j:1:1"), "a", "b")
    await redis.rpush(queue_name("gpu"), "a hint")
    seen = await scrape(client)
    assert seen["espo_workers", "gpu", "idle"] == 1
    assert seen["espo_uploads", "offered"] == 1
    assert (seen["espo_transfer_credits", "upload"], seen["espo_transfer_credits", "download"]) == (2, 0)
    assert (seen["espo_hints_waiting", "gpu"], seen["espo_hints_waiting", "cpu"]) == (1, 0)
    assert seen["espo_redis_memory_bytes",] > 0


async def test_a_stream_with_nonsense_is_counted_all_the_same(
    client: httpx.AsyncClient, service: Service
) -> None:
    worker = await dispatched(service.resources.context, await submit(client))
    await worker.send_raw(1, "no event")
    seen = await scrape(client)
    assert (seen["espo_ingest_lag_events",], seen["espo_ingest_lag_seconds",]) == (1, 0)


@on_sqlite
async def test_every_series_has_a_good_name_and_nothing_of_a_user(client: httpx.AsyncClient) -> None:
    job_id = await submit(client, name="a-secret-name", tags=["a-secret-tag"])
    await client.get(f"/v1/jobs/{job_id}")
    text = (await client.get("/metrics")).text
    assert not any(word in text for word in (job_id, "a-secret", "ours", "toy"))
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation for family in families)
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert family.name.startswith(("espo_", "process_"))
        if family.type == "counter":
            assert all(sample.name.endswith(("_total", "_created")) for sample in family.samples)


@on_sqlite
async def test_without_the_database_the_rest_is_shown(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: object) -> None:
        raise OperationalError("SELECT secret", {}, Exception("secret"))

    monkeypatch.setattr(observer, "look_at_database", away)
    text = (await client.get("/metrics")).text
    seen = samples(text)
    assert (seen["espo_up", "database"], seen["espo_up", "redis"]) == (0, 1)
    assert "espo_queue_jobs" not in text
    assert "secret" not in text


@on_sqlite
async def test_scrapes_at_one_moment_share_a_look(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observer, "FRESH_SECONDS", 60.0)
    looks = await asyncio.gather(*(scrape(client) for _ in range(5)))
    assert len({look["espo_look_seconds",] for look in looks}) == 1


@on_sqlite
async def test_a_token_is_wanted_where_one_is_set(client: httpx.AsyncClient, service: Service) -> None:
    settings = service.resources.settings
    object.__setattr__(settings, "metrics_token", SecretStr("right"))  # frozen for everybody else
    assert (await client.get("/metrics")).status_code == 401
    await scrape(client, headers={"authorization": "Bearer right"})
