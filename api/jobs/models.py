"""Jobs and their attempts. A queued job without a live attempt is the outbox: the dispatcher makes its next
attempt in one transaction and hints a worker after the commit."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base


class Job(Base):
    """What a user submitted, and what became of it."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    name: Mapped[str] = mapped_column(String(128))
    tags: Mapped[list[str]]
    spec: Mapped[dict[str, Any]]
    """As given."""
    resolved: Mapped[dict[str, Any]]
    """With every default filled in; never changes."""
    algorithm: Mapped[str] = mapped_column(String(64), index=True)
    model: Mapped[str] = mapped_column(String(256), index=True)
    device: Mapped[str] = mapped_column(String(16))
    """Resource class: `cpu`, `gpu`, or `gpu.4` where four train together."""
    file_id: Mapped[str | None] = mapped_column(ForeignKey("files.id"), index=True)
    status: Mapped[str] = mapped_column(String(16))
    desired: Mapped[str] = mapped_column(String(16))
    priority: Mapped[int] = mapped_column(default=0)
    attempt: Mapped[int] = mapped_column(default=0)
    """Number of the current or last attempt; 0 before the first."""
    max_attempts: Mapped[int]
    step: Mapped[int] = mapped_column(default=0)
    """Last step whose metrics are in the database."""
    summarised: Mapped[int] = mapped_column(default=0, server_default="0")
    """Metrics of the steps before this one are in blocks too (api/metrics/blocks.py)."""
    total_steps: Mapped[int]
    latest: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Newest value of each metric, so that lists never join metrics."""
    event_count: Mapped[int] = mapped_column(BigInteger, default=0)
    """Number of the newest event: the cursor of everything that happened to this job."""
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]

    __table_args__ = (
        Index(None, "project_id", "created_at", "id"),
        Index(None, "status", "priority", "created_at"),
        Index(None, "finished_at"),
    )


class Attempt(Base):
    """One execution of a job. Its number fences it: only events of the job's current attempt are accepted."""

    __tablename__ = "attempts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    opened: Mapped[str] = mapped_column(String(32))
    """Token of the stream's last opening; see Assignment.opened."""
    last_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    """Watermark: the last seq that is in the database."""
    resumed_from: Mapped[int | None]
    """Step of the checkpoint that it continues from."""
    worker: Mapped[str | None] = mapped_column(String(128))
    beat: Mapped[dict[str, Any] | None]
    beat_at: Mapped[float | None]
    outcome: Mapped[str | None] = mapped_column(String(16))
    """succeeded, failed, cancelled, paused, handed_back, lost, replaced; null while it lives."""
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    ended_at: Mapped[float | None]

    __table_args__ = (Index(None, "ended_at"),)


class IdempotencyKey(Base):
    """The first answer to a submission, given again for the same key and body."""

    __tablename__ = "idempotency_keys"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    body_sha256: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[float]
