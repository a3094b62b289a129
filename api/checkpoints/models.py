"""Checkpoints: a row exists only when every byte of its files is in the store."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, false
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base


class Checkpoint(Base):
    """A downloadable HF model folder with its training state."""

    __tablename__ = "checkpoints"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    created_at: Mapped[float]
    bytes: Mapped[int] = mapped_column(BigInteger)
    files: Mapped[list[Any]]
    """FileEntry documents: name, size, sha256."""
    metrics: Mapped[dict[str, Any]]
    is_pinned: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Kept whatever the job's rule says."""
