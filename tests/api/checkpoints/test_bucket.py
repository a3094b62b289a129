"""Checkpoints whose bytes lie in an object store."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import httpx
import pytest

from api.settings import Settings
from tests.api.conftest import Service
from tests.api.marks import on_sqlite
from tests.api.rows import add_checkpoint, submit

pytestmark = on_sqlite

WEIGHTS = bytes(range(256)) * 10_000


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"store_url": "memory:///"})


@pytest.fixture
async def path(client: httpx.AsyncClient, service: Service, tmp_path: Path) -> str:
    """Where a job's only checkpoint is."""
    job_id = await submit(client)
    context = service.resources.context
    files = {"model.safetensors": WEIGHTS, "empty.txt": b""}
    await add_checkpoint(context.database, context.store, tmp_path, job_id, 1, files)
    return f"/v1/jobs/{job_id}/checkpoints/1"


async def test_whole_in_part_or_not_at_all(client: httpx.AsyncClient, path: str) -> None:
    file = f"{path}/files/model.safetensors"
    whole = await client.get(file)
    assert (whole.status_code, whole.content) == (200, WEIGHTS)
    assert whole.headers["content-length"] == str(len(WEIGHTS))
    part = await client.get(file, headers={"range": "bytes=1000000-2500000"})
    assert (part.status_code, part.content) == (206, WEIGHTS[1_000_000:2_500_001])
    assert part.headers["content-range"] == f"bytes 1000000-2500000/{len(WEIGHTS)}"
    assert (await client.get(file, headers={"range": "bytes=9-5"})).status_code == 200
    assert (await client.get(file, headers={"range": f"bytes={len(WEIGHTS)}-"})).status_code == 416
    known = await client.get(file, headers={"if-none-match": whole.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert (await client.get(f"{path}/files/empty.txt")).content == b""


async def test_the_archive(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(f"{path}/archive")
    assert response.headers["content-length"] == str(len(response.content))
    with tarfile.open(fileobj=io.BytesIO(response.content)) as tar:
        file = tar.extractfile("checkpoint-1/model.safetensors")
        assert file is not None
        assert file.read() == WEIGHTS
