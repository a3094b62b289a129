from __future__ import annotations

import asyncio

import httpx
import pytest
from sqlalchemy import text

from api.loops import ingest
from api.loops.context import Context, Pulses
from api.loops.pulse import Publisher
from api.loops.runner import run_loops
from api.observability import probes
from espo_contracts.wire import loops_key
from tests.api.conftest import Service
from tests.api.loops.actors import eventually
from tests.api.marks import on_sqlite

LOOPS = ("dispatch", "ingest", "reconcile")


async def checks(client: httpx.AsyncClient) -> dict[str, str]:
    """What is wrong, by dependency."""
    answer = (await client.get("/readyz")).json()
    assert all(check["seconds"] >= 0 for check in answer["checks"].values())
    return {name: check["detail"] for name, check in answer["checks"].items() if not check["is_ok"]}


def elsewhere(service: Service, pulses: Pulses) -> Context:
    """Another process of the service."""
    ours = service.resources.context
    return Context(
        settings=ours.settings, database=ours.database, redis=ours.redis, store=ours.store, pulses=pulses
    )


async def test_loops_of_another_process_count_until_it_is_gone(
    client: httpx.AsyncClient, service: Service
) -> None:
    other = elsewhere(service, Pulses())
    loops = asyncio.create_task(run_loops(LOOPS, other))

    async def is_ready() -> bool:
        return (await client.get("/readyz")).json()["status"] == "ok"

    await eventually(is_ready)
    other.stop.set()
    await loops
    assert await checks(client) == {f"loop_{name}": "no process runs it" for name in LOOPS}


@on_sqlite
async def test_a_loop_that_hangs_shows(
    client: httpx.AsyncClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(ingest.Ingester, "step", hang)
    monkeypatch.setattr("api.loops.runner.STOP_SECONDS", 0.1)
    monkeypatch.setattr(probes, "HANGING_SECONDS", 3.0)
    context = service.resources.context
    loops = asyncio.create_task(run_loops(("ingest", "reconcile"), context))

    async def is_seen() -> bool:
        return "no good round for" in (await checks(client)).get("loop_ingest", "")

    await eventually(is_seen, seconds=60)
    context.stop.set()
    await loops


async def test_what_a_process_told_expires_with_it(service: Service) -> None:
    other = elsewhere(service, Pulses())
    other.pulses.note("ingest")
    telling = asyncio.create_task(Publisher(other).step())
    key = loops_key(other.pulses.process)
    await eventually(lambda: other.redis.exists(key))
    assert 0 < await other.redis.ttl(key) <= 15
    telling.cancel()


async def test_tables_of_another_version(client: httpx.AsyncClient, service: Service) -> None:
    async def become(revision: str) -> None:
        async with service.resources.context.database.write() as session:
            await session.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision})

    await become("0001")
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    newest = probes.revisions()[-1]
    detail = answer.json()["checks"]["migrations"]["detail"]
    assert detail == f"at revision 0001, wants {newest}: python -m alembic upgrade head"
    await become("9999")
    assert (await client.get("/readyz")).status_code == 200


async def test_a_full_redis_shows(client: httpx.AsyncClient, service: Service) -> None:
    redis = service.resources.context.redis
    await redis.config_set("maxmemory", 1)
    try:
        assert "senders wait" in (await checks(client))["redis"]
    finally:
        await redis.config_set("maxmemory", 0)
