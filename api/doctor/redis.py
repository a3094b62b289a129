"""Whether Redis can carry events, and whether somebody takes what lies in its queues."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from api.doctor.database import clock_finding
from api.loops.workers import present
from api.settings import Settings
from espo_contracts.finding import Finding, fail, ok, warn
from espo_contracts.wire import Presence, own_version, queue_name

CHECK = "redis"
OLDEST = (6, 2)
SMALL_BYTES = 128 << 20
"""Streams and chunks of a few runs need some 64 MB at a time."""


async def examine_redis(settings: Settings) -> list[Finding]:
    """Findings about the server, its queues and the workers that listen there."""
    hint = "Check ESPO_REDIS_URL and ESPO_BROKER_URL, and that the server runs and lets us in."
    try:
        client, broker = (
            Redis.from_url(url, socket_connect_timeout=3, socket_timeout=5)
            for url in (settings.redis_url, settings.broker_url)
        )
    except ValueError as error:
        return [fail(CHECK, f"its address is none: {error}", hint)]
    async with client, broker:
        where = _place(client)
        try:
            return [*await _server(client, where), *await _workers(client, broker)]
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            return [fail(CHECK, f"{where} cannot be used: {type(error).__name__}: {error}", hint)]


def _place(client: Redis) -> str:
    """The address without its password."""
    options = client.connection_pool.connection_kwargs
    return str(options.get("path") or f"{options.get('host')}:{options.get('port')}")


async def _server(client: Redis, where: str) -> list[Finding]:
    began = time.time()
    seconds, microseconds = await client.time()
    clock = clock_finding("redis clock", seconds + microseconds / 1e6, began=began, ended=time.time())
    info: dict[str, Any] = await client.info()
    return [_version(info, where), _role(info), _memory(info), _persistence(info), clock]


def _version(info: dict[str, Any], where: str) -> Finding:
    told = str(info.get("valkey_version") or info["redis_version"])
    if tuple(int(part) for part in str(info["redis_version"]).split(".")[:2]) >= OLDEST:
        return ok(CHECK, f"{where} answers, version {told}")
    return fail(CHECK, f"{where} has version {told}", "Run Redis 6.2 or newer, or Valkey.")


def _role(info: dict[str, Any]) -> Finding:
    if info["role"] == "master":
        return ok("redis role", "it can be written to")
    return fail("redis role", "it is a replica, which refuses writes", "Set ESPO_REDIS_URL to its primary.")


def _memory(info: dict[str, Any]) -> Finding:
    bound, used, policy = int(info["maxmemory"]), int(info["used_memory"]), str(info["maxmemory_policy"])
    if bound and policy != "noeviction":
        hint = "`CONFIG SET maxmemory-policy noeviction`: full means that senders wait, and nothing is lost."
        return fail("redis memory", f"maxmemory-policy is {policy}: it deletes events to make room", hint)
    if bound and used >= 0.9 * bound:
        hint = "Raise maxmemory; look at espo_ingest_lag_events: is an ingester running?"
        return warn("redis memory", f"{used >> 20} of {bound >> 20} MiB are used", hint)
    if bound and bound < SMALL_BYTES:
        hint = f"Give it {SMALL_BYTES >> 20} MiB or more."
        return warn("redis memory", f"maxmemory is {bound >> 20} MiB: checkpoints will travel slowly", hint)
    return ok("redis memory", f"{used >> 20} MiB used, bound {bound >> 20} MiB" if bound else "unbounded")


def _persistence(info: dict[str, Any]) -> Finding:
    if info.get("aof_enabled"):
        return ok("redis persistence", "append-only file")
    return ok("redis persistence", "none: after its restart runs send again what is not in the database")


async def _workers(client: Redis, broker: Redis) -> list[Finding]:
    workers = await present(client)
    if not workers:
        hint = (
            "Start one: `espo up` has one; else `python -m celery -A worker.celery_app worker -Q espo.gpu`."
        )
        return [warn("workers", "none listens, so jobs stay queued", hint)]
    names = ", ".join(f"{worker.worker} ({worker.device}, {worker.state})" for worker in workers)
    return [ok("workers", names), _versions(workers), *await _queues(broker, workers)]


def _versions(workers: Sequence[Presence]) -> Finding:
    ours = own_version()
    others = sorted({f"{worker.worker}: {worker.version}" for worker in workers if worker.version != ours})
    if not others:
        return ok("worker versions", f"all of {ours or 'an unnamed version'}, as this installation")
    return warn("worker versions", f"not {ours}: {', '.join(others)}", "Update them, service first.")


async def _queues(broker: Redis, workers: Sequence[Presence]) -> list[Finding]:
    findings = []
    for resources in ("cpu", "gpu"):
        length: Any = await broker.llen(queue_name(resources))
        is_served = any(worker.serves(resources) for worker in workers)
        if length and not is_served:
            hint = f"Start a worker with -Q {queue_name(resources)}, or cancel these jobs."
            findings.append(
                warn("queues", f"{length} hints wait for a {resources} worker; none listens", hint)
            )
    return findings or [ok("queues", "nothing waits for a worker that is not there")]
