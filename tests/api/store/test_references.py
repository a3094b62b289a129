"""The sweep spares what files and checkpoints name."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest
from sqlalchemy import delete, update

from api.checkpoints.models import Checkpoint
from api.store.models import Blob
from api.store.service import Sweep
from tests.api.conftest import Service
from tests.api.rows import add_checkpoint, submit


async def test_named_bytes_stay(
    client: httpx.AsyncClient, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.store.service.WATCH_SECONDS", 0.0)
    context = service.resources.context
    sweep = Sweep(context.database, context.store)
    job_id = await submit(client)
    files = {"config.json": b"{}", "model.safetensors": b"weights"}
    await add_checkpoint(context.database, context.store, tmp_path, job_id, 1, files)
    file_id = (await client.post("/v1/files", files={"file": ("a", b'{"a": 1}\n')})).json()["id"]
    async with context.database.write() as session:
        await session.execute(update(Blob).values(touched_at=time.time() - 3601))
    assert await sweep.round() == 0
    await client.delete(f"/v1/files/{file_id}")
    assert await sweep.round() == 1
    async with context.database.write() as session:
        await session.execute(delete(Checkpoint))
    assert await sweep.round() == 2
