"""Checkpoints as the API shows them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from api.checkpoints.models import Checkpoint
from espo_contracts.events import FileEntry


class CheckpointObject(BaseModel):
    """A whole HF model folder with its training state. Only complete ones are ever shown."""

    id: str
    object: Literal["job.checkpoint"] = "job.checkpoint"
    job_id: str
    step: int
    attempt: int
    created_at: float
    bytes: int
    files: list[FileEntry]
    metrics: dict[str, float | None]
    is_pinned: bool
    """Kept whatever `schedule.keep` says."""


def checkpoint_object(row: Checkpoint) -> CheckpointObject:
    return CheckpointObject(
        id=f"{row.job_id}:{row.step}",
        job_id=row.job_id,
        step=row.step,
        attempt=row.attempt,
        created_at=row.created_at,
        bytes=row.bytes,
        files=row.files,
        metrics=row.metrics,
        is_pinned=row.is_pinned,
    )
