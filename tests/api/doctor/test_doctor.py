from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from api.db import Database
from api.doctor.__main__ import examine
from api.doctor.database import clock_finding, examine_database
from api.doctor.redis import examine_redis
from api.doctor.store import examine_models, examine_store
from api.observability.probes import revisions
from api.settings import Settings
from espo_contracts.finding import Finding
from espo_contracts.wire import Presence, queue_name, worker_key
from tests.api.rows import make_model_folder


@pytest.fixture
def settings(home: Path, database_url: str, redis_url: str) -> Settings:
    return Settings(
        home=home, database_url=database_url, redis_url=redis_url, model_path=str(home / "models")
    )


@pytest.fixture
def on_sqlite(home: Path, redis_url: str) -> Settings:
    """Settings of which the database does not matter."""
    return Settings(home=home, redis_url=redis_url, model_path=str(home / "models"))


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


def of_level(findings: list[Finding], level: str) -> dict[str, str]:
    assert all(bool(finding.hint) == (finding.level != "ok") for finding in findings)
    return {finding.check: finding.message for finding in findings if finding.level == level}


async def test_all_is_well(settings: Settings, redis: Redis) -> None:
    make_model_folder(settings.home / "models" / "toy")
    (settings.home / "store").mkdir()
    await _listen(redis, device="cpu")
    findings = await examine(settings)
    assert of_level(findings, "fail") == {}
    assert set(of_level(findings, "warn")) <= {"worker versions"}
    assert "written, read and deleted" in of_level(findings, "ok")["store"]
    assert not [path for path in (settings.home / "store").rglob("*") if path.is_file()]


async def test_tables_that_are_old_new_or_none(settings: Settings, database: Database) -> None:
    async def found(statement: str) -> list[Finding]:
        async with database.write() as session:
            await session.execute(text(statement))
        return await examine_database(settings)

    old = of_level(await found("UPDATE alembic_version SET version_num = '0001'"), "fail")
    assert old["database"] == f"the tables are of revision 0001, this version wants {revisions()[-1]}"
    new = of_level(await found("UPDATE alembic_version SET version_num = '9999'"), "warn")
    assert "newer than this version" in new["database"]
    assert "has no tables" in of_level(await found("DROP TABLE alembic_version"), "fail")["database"]


async def test_a_file_that_is_no_database(on_sqlite: Settings) -> None:
    (on_sqlite.home / "espo.db").write_bytes(b"no database" * 1000)
    assert "file is not a database" in of_level(await examine_database(on_sqlite), "fail")["database"]


async def test_a_redis_that_deletes_what_it_carries(on_sqlite: Settings, redis: Redis) -> None:
    await redis.config_set("maxmemory", 200 << 20)
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        found = of_level(await examine_redis(on_sqlite), "fail")
        assert "allkeys-lru" in found["redis memory"]
        await redis.config_set("maxmemory-policy", "noeviction")
        await redis.config_set("maxmemory", 32 << 20)
        assert "slowly" in of_level(await examine_redis(on_sqlite), "warn")["redis memory"]
        await redis.config_set("maxmemory", 1 << 20)
        assert "are used" in of_level(await examine_redis(on_sqlite), "warn")["redis memory"]
    finally:
        await redis.config_set("maxmemory", 0)


async def test_workers_that_are_missing_or_of_another_version(on_sqlite: Settings, redis: Redis) -> None:
    assert "none listens" in of_level(await examine_redis(on_sqlite), "warn")["workers"]
    await _listen(redis, device="cpu", version="0.0.1")
    await redis.rpush(queue_name("gpu"), "a hint")
    warnings = of_level(await examine_redis(on_sqlite), "warn")
    assert "1 hints wait for a gpu worker" in warnings["queues"]
    assert "one: 0.0.1" in warnings["worker versions"]


async def test_a_redis_address_that_is_none(home: Path) -> None:
    settings = Settings(home=home, redis_url="http://127.0.0.1")
    assert "its address is none" in of_level(await examine_redis(settings), "fail")["redis"]


def test_a_store_that_cannot_be_written_to(on_sqlite: Settings) -> None:
    (on_sqlite.home / "store").write_text("a file")
    assert "cannot be used" in of_level(examine_store(on_sqlite), "fail")["store"]


def test_no_model_at_all(on_sqlite: Settings) -> None:
    assert "no job is valid" in of_level(examine_models(on_sqlite), "warn")["models"]


def test_a_clock_that_is_off() -> None:
    now = time.time()
    assert clock_finding("clock", now + 0.01, began=now, ended=now + 0.02).level == "ok"
    for told in (now + 60, now - 60):
        found = clock_finding("clock", told, began=now, ended=now + 0.02)
        assert (found.level, found.message) == ("warn", "differs from this machine's by 60.0 s")


async def _listen(redis: Redis, *, device: str, version: str = "") -> None:
    presence = Presence(worker="one", device=device, device_name="x", state="idle", version=version)
    await redis.set(worker_key("one"), presence.model_dump_json())
