"""The API: `python -m uvicorn --factory api.app:create_app`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_swagger import patch_fastapi
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from starlette.middleware.cors import CORSMiddleware

from api.audit.endpoints import router as audit
from api.auth.endpoints import router as keys
from api.catalogue.endpoints import router as catalogue
from api.checkpoints.endpoints import router as checkpoints
from api.errors import install_handlers
from api.events.endpoints import router as events
from api.files.endpoints import router as files
from api.health import router as health
from api.jobs.endpoints import router as jobs
from api.limits.endpoints import router as limits
from api.limits.headers import RateHeaders
from api.loops.runner import run_loops
from api.metrics.endpoints import router as metrics
from api.middleware import Bounds, RequestIds, Timing
from api.openai_compat.endpoints import router as fine_tuning
from api.openai_compat.grader_endpoints import router as graders
from api.openapi import install_openapi
from api.resources import Resources, open_resources
from api.settings import Settings
from api.shutdown import called_at_stop_signals

EXPOSED_HEADERS = ("etag", "location", "ratelimit", "ratelimit-policy", "retry-after", "x-request-id")
"""What a web page of another origin may read beside the body."""
DESCRIPTION = """Fine-tunes language models by reinforcement with ESPO (arXiv 2512.00499) and its relatives.

Every call but the health checks wants `Authorization: Bearer espo_…`. Errors are RFC 9457 problems."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; without settings, as the environment says. It opens nothing before it is started."""
    settings = settings or Settings()
    registry = CollectorRegistry()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(_prepare, settings)
        async with open_resources(settings, registry) as resources:
            app.state.resources = resources
            with called_at_stop_signals(resources.live.close):
                async with _running_loops(resources):
                    yield

    app = FastAPI(
        title="ESPO Service",
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    _install(app, settings, registry)
    return app


def _install(app: FastAPI, settings: Settings, registry: CollectorRegistry) -> None:
    # FastAPI's own /docs loads its script from a CDN: blank without internet, and somebody else's code.
    patch_fastapi(app, swagger_ui_parameters={"persistAuthorization": True, "filter": True})
    install_handlers(app)
    install_openapi(app)
    _add_middleware(app, settings, registry)
    own = (jobs, events, metrics, checkpoints, files, catalogue, keys, audit, limits, health)
    for router in (*own, fine_tuning, graders):
        app.include_router(router)


def _add_middleware(app: FastAPI, settings: Settings, registry: CollectorRegistry) -> None:
    """The last one added is the outermost."""
    histogram = Histogram(
        "espo_http_request_duration_seconds",
        "Seconds to the first byte of the answer.",
        ["method", "route", "status"],
        registry=registry,
    )
    ProcessCollector(registry=registry)
    by_path = {"/v1/files": settings.max_upload_bytes}
    app.add_middleware(RateHeaders)
    app.add_middleware(Bounds, default=settings.max_body_bytes, by_path=by_path)
    app.add_middleware(Timing, histogram=histogram)
    app.add_middleware(RequestIds)
    origins = [origin for part in settings.cors_origins.split(",") if (origin := part.strip())]
    if origins:
        # Keys travel in a header that the page sets itself, so no cookies: `allow_credentials` stays off.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )


def _prepare(settings: Settings) -> None:
    """Makes the data folder, and brings an embedded database to the newest revision."""
    settings.home.mkdir(parents=True, exist_ok=True)
    if settings.is_embedded:
        # Migrations need a big library for a second; where nobody asks for it, it is not imported.
        from api.migrate import upgrade

        upgrade(settings.database_url)


@asynccontextmanager
async def _running_loops(resources: Resources) -> AsyncIterator[None]:
    """Runs the background loops of this process; on leaving, stops them and waits for their end."""
    loops = asyncio.create_task(run_loops(resources.settings.loop_names, resources.context))
    # Loops that cannot even begin, such as with a URL that is none, end the start instead of idling unseen.
    await asyncio.sleep(0)
    if loops.done():
        await loops
    try:
        yield
    finally:
        resources.context.stop.set()
        await loops
