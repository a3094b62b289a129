"""The one log of a job: state changes by the API and every numbered event of its runs, in one order."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base


class JobEvent(Base):
    """One entry; `number` counts within the job and is the cursor of every reader."""

    __tablename__ = "events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    attempt: Mapped[int | None]
    seq: Mapped[int | None] = mapped_column(BigInteger)
    """Place in its attempt's order; null for what the API itself wrote."""
    time: Mapped[float]
    type: Mapped[str] = mapped_column(String(16))
    """`state` for a change of status or wish; else the type of espo_contracts.events."""
    step: Mapped[int | None]
    is_superseded: Mapped[bool] = mapped_column(default=False)
    """A later attempt did this step again, from a checkpoint before it."""
    data: Mapped[dict[str, Any]]

    __table_args__ = (
        Index("ix_events_effective", "job_id", "type", "is_superseded", "step"),
        Index("uq_events_source", "job_id", "attempt", "seq", unique=True),
    )
