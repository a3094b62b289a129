"""Uploaded data files."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base


class File(Base):
    """A JSONL file whose every line was checked."""

    __tablename__ = "files"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    filename: Mapped[str] = mapped_column(String(255))
    purpose: Mapped[str] = mapped_column(String(32))
    bytes: Mapped[int] = mapped_column(BigInteger)
    rows: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    created_at: Mapped[float]
    deleted_at: Mapped[float | None]
    """Set by DELETE; the row stays while a job refers to it, the bytes go with the next sweep."""

    __table_args__ = (Index(None, "project_id", "created_at", "id"),)
