"""Documents and rows that tests of the API start from."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import httpx

from api.checkpoints.models import Checkpoint
from api.db import Database
from api.events.models import JobEvent
from api.jobs.models import Job
from api.store import repository as blobs
from api.store.store import Store


def job_document(**changes: Any) -> dict[str, Any]:
    """A small job that is right."""
    document: dict[str, Any] = {
        "name": "first",
        "tags": ["test"],
        "model": {"name": "toy"},
        "data": {"task": {"name": "countdown"}},
        "reward": [{"verifier": "countdown"}],
        "schedule": {"steps": 10},
    }
    return document | changes


async def submit(client: httpx.AsyncClient, **changes: Any) -> str:
    """Id of a job that was submitted."""
    response = await client.post("/v1/jobs", json=job_document(**changes))
    assert response.status_code == 201, response.text
    job_id: str = response.json()["id"]
    return job_id


def make_model_folder(folder: Path) -> None:
    """A folder that looks like a model of 12 parameters."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(
        json.dumps({"architectures": ["Toy"], "vocab_size": 4, "num_hidden_layers": 1, "hidden_size": 3})
    )
    header = json.dumps({"w": {"dtype": "F32", "shape": [4, 3], "data_offsets": [0, 48]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(48))


async def add_events(database: Database, job_id: str, events: list[dict[str, Any]]) -> None:
    """Appends events as the ingester would: numbered, with the job's latest values, in one transaction."""
    async with database.write() as session:
        job = await session.get_one(Job, job_id)
        for data in events:
            job.event_count += 1
            superseded = data.pop("is_superseded", False)
            row = JobEvent(
                job_id=job_id,
                number=job.event_count,
                attempt=1,
                seq=job.event_count,
                time=1000.0 + job.event_count,
                type=data["type"],
                step=data.get("step"),
                is_superseded=superseded,
                data=data,
            )
            session.add(row)
            if data["type"] == "metrics" and not superseded:
                job.step, job.latest = data["step"], job.latest | data["values"]


async def set_status(database: Database, job_id: str, status: str) -> None:
    async with database.write() as session:
        job = await session.get_one(Job, job_id)
        job.status = status


def metrics(step: int, non_finite: dict[str, str] | None = None, **values: float | None) -> dict[str, Any]:
    """A metrics event; `a__b` stands for the metric a/b."""
    named = {name.replace("__", "/"): value for name, value in values.items()}
    return {"type": "metrics", "step": step, "values": named, "non_finite": non_finite or {}}


def log(message: str) -> dict[str, Any]:
    """A log event."""
    return {"type": "log", "level": "info", "message": message}


async def add_checkpoint(
    database: Database,
    store: Store,
    folder: Path,
    job_id: str,
    step: int,
    files: dict[str, bytes],
    **figures: float,
) -> None:
    """Stores files and lists them as a checkpoint."""
    entries = []
    async with database.write() as session:
        for name, content in files.items():
            sha256 = hashlib.sha256(content).hexdigest()
            entries.append({"name": name, "size": len(content), "sha256": sha256})
            await blobs.touch(session, sha256, len(content))
            (folder / "incoming").write_bytes(content)
            store.adopt(folder / "incoming", sha256)
        row = Checkpoint(
            job_id=job_id,
            step=step,
            attempt=1,
            created_at=time.time(),
            bytes=sum(map(len, files.values())),
            files=entries,
            metrics={name.replace("__", "/"): value for name, value in figures.items()},
        )
        session.add(row)
