"""Liveness, readiness by dependency, and Prometheus figures."""

from __future__ import annotations

import hmac
from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from api.dependencies import Credentials, Shared
from api.errors import Code, DomainError
from api.observability.exposition import exposition
from api.observability.probes import probe_all

router = APIRouter(tags=["health"])

# Without these nothing can be read or submitted.
_NEEDED = ("database", "migrations", "store")


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Check(BaseModel):
    """One dependency: whether it can be used, how long the answer took, and what is wrong with it."""

    is_ok: bool
    seconds: float
    detail: str = ""


class Readiness(BaseModel):
    """`degraded`: without Redis or a loop everything can be read and submitted, but not all is trained."""

    status: Literal["ok", "degraded", "unavailable"]
    checks: dict[str, Check]


@router.get("/healthz")
async def healthz() -> Health:
    """Liveness."""
    return Health()


@router.get("/readyz", responses={503: {"model": Readiness}})
async def readyz(shared: Shared, response: Response) -> Readiness:
    """Readiness: 503 when database or store cannot be used."""
    found = await probe_all(shared.context)
    checks = {
        name: Check(is_ok=one.is_ok, seconds=round(one.seconds, 4), detail=one.detail)
        for name, one in found.items()
    }
    if not all(checks[name].is_ok for name in _NEEDED):
        response.status_code = 503
        return Readiness(status="unavailable", checks=checks)
    is_whole = all(check.is_ok for check in checks.values())
    return Readiness(status="ok" if is_whole else "degraded", checks=checks)


@router.get("/metrics", response_class=Response)
async def metrics(shared: Shared, credentials: Credentials) -> Response:
    """Figures for Prometheus; with ESPO_METRICS_TOKEN set they want it as the bearer token."""
    wanted = shared.settings.metrics_token.get_secret_value()
    given = credentials.credentials if credentials else ""
    if wanted and not hmac.compare_digest(given.encode(), wanted.encode()):
        raise DomainError(Code.INVALID_API_KEY, "these figures want the token of ESPO_METRICS_TOKEN")
    view = await shared.observer.view()
    body = exposition(view, shared.registry, streams=shared.live.listener_count)
    return Response(body, media_type=CONTENT_TYPE_LATEST)
