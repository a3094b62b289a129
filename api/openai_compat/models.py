"""What the OpenAI face of a job has beside the job itself."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base


class FineTuningRequest(Base):
    """The request that made a job through the OpenAI face; a job made otherwise has none."""

    __tablename__ = "fine_tuning_requests"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    body: Mapped[dict[str, Any]]
    """As given, with graders in their one form."""
    labels: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """The request's `metadata`."""
    body_sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float]

    __table_args__ = (Index(None, "project_id", "body_sha256"),)
