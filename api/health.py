"""Liveness, readiness by dependency, and Prometheus figures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from pydantic import BaseModel
from sqlalchemy import text

from api.dependencies import ReadSession, Shared
from api.jobs import repository as jobs
from api.resources import Resources
from api.store import repository as store

router = APIRouter(tags=["health"])

_CHECK_SECONDS = 2.0


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Check(BaseModel):
    """One dependency; `detail` says what is wrong with it."""

    is_ok: bool
    detail: str = ""


class Readiness(BaseModel):
    """`degraded`: without Redis everything can be read and submitted, but nothing new is trained."""

    status: Literal["ok", "degraded", "unavailable"]
    checks: dict[str, Check]


@router.get("/healthz")
async def healthz() -> Health:
    """Liveness."""
    return Health()


@router.get("/readyz", responses={503: {"model": Readiness}})
async def readyz(shared: Shared, response: Response) -> Readiness:
    """Readiness: 503 when database or store cannot be used."""
    checks = {
        "database": await _check(_probe_database(shared)),
        "store": await _check(asyncio.to_thread(shared.context.store.probe)),
        "redis": await _check(_probe_redis(shared)),
    }
    is_usable = checks["database"].is_ok and checks["store"].is_ok
    if not is_usable:
        response.status_code = 503
        return Readiness(status="unavailable", checks=checks)
    return Readiness(status="ok" if checks["redis"].is_ok else "degraded", checks=checks)


@router.get("/metrics", response_class=Response)
async def metrics(shared: Shared, session: ReadSession) -> Response:
    """Figures for Prometheus: counts from the database, times of this process's requests."""
    registry = CollectorRegistry()
    by_state = Gauge(
        "espo_jobs", "Jobs by status and resource class.", ["status", "device"], registry=registry
    )
    for (status, device), count in (await jobs.counts(session)).items():
        by_state.labels(status, device).set(count)
    stored = Gauge("espo_store_bytes", "Bytes in the store.", registry=registry)
    stored.set(await store.used_bytes(session))
    listeners = Gauge("espo_event_streams", "Live event streams of this process.", registry=registry)
    listeners.set(shared.live.listener_count)
    body = generate_latest(registry) + generate_latest(shared.registry)
    return Response(body, media_type=CONTENT_TYPE_LATEST)


async def _probe_database(shared: Resources) -> None:
    async with shared.context.database.read() as session:
        await session.execute(text("SELECT 1"))


async def _probe_redis(shared: Resources) -> None:
    # The client's annotation is that of its blocking twin, too.
    answer: Awaitable[bool] | bool = shared.context.redis.ping()
    if not isinstance(answer, bool):
        await answer


async def _check(probe: Awaitable[None]) -> Check:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await probe
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer to the question asked
        return Check(is_ok=False, detail=type(error).__name__)
    return Check(is_ok=True)
