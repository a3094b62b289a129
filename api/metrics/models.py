"""Summaries of a job's metrics, so that a page of a long job reads hundreds of rows and not millions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base


class MetricBlock(Base):
    """The extremes of each metric in ranges of the steps from `start` to before `start + size`.

    A copy for speed: the events are the truth, and with `jobs.summarised` back at 0 every block is made anew.
    """

    __tablename__ = "metric_blocks"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    size: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Steps of a block: one of blocks.SIZES."""
    start: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    data: Mapped[dict[str, Any]]
    """A block as blocks.py describes it."""
