"""The API in this process, on both databases, with a real Redis and without background loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.auth.keys import Scope
from api.auth.service import Principal, authenticate, create_key
from api.resources import Resources
from api.settings import Settings
from tests.api.rows import make_model_folder
from tests.servers import free_port
from tests.small_disk import Disk, small_disk


@dataclass(frozen=True)
class Service:
    """A running app."""

    app: FastAPI

    @property
    def resources(self) -> Resources:
        shared: Resources = self.app.state.resources
        return shared

    async def key(self, project: str, scopes: Collection[Scope]) -> str:
        async with self.resources.context.database.write() as session:
            return (await create_key(session, project=project, name="test", scopes=scopes))[1]

    async def project_of(self, key: str) -> str:
        async with self.resources.context.database.read() as session:
            principal: Principal = await authenticate(session, key)
        return principal.project_id

    def client(self, key: str | None) -> httpx.AsyncClient:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://espo.test", headers=headers)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small disk, for a test whose `home` lies there."""
    with small_disk(tmp_path / "home", 16 << 20) as disk:
        yield disk


@pytest.fixture
def settings(home: Path, database_url: str, redis_url: str) -> Settings:
    make_model_folder(home / "models" / "toy")
    return Settings(
        home=home,
        database_url=database_url,
        redis_url=redis_url,
        loops="",
        model_path=str(home / "models"),
        max_upload_bytes=1 << 20,
        max_body_bytes=64 << 10,
    )


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield Service(app)


@pytest.fixture
async def base_url(service: Service) -> AsyncIterator[str]:
    """The same app behind a real server, for what streams."""
    port = free_port()
    config = uvicorn.Config(service.app, port=port, lifespan="off", log_config=None, ws="none")
    server = uvicorn.Server(config)
    # Not `serve`, which would take over the signals of the tests' process.
    serving = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110 - it has no event for that
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await serving


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key that may read and write, of the project `ours`."""
    async with service.client(await service.key("ours", [Scope.READ, Scope.WRITE])) as ours:
        yield ours


@pytest.fixture
async def admin(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client with every right, of the project `ours`."""
    async with service.client(await service.key("ours", list(Scope))) as ours:
        yield ours


@pytest.fixture
async def stranger(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client with every right, but of another project."""
    async with service.client(await service.key("theirs", list(Scope))) as theirs:
        yield theirs
