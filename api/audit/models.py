"""Who did what."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base


class AuditEntry(Base):
    """One call that changed something, stored in the transaction of its change. Stays as it is."""

    __tablename__ = "audit_entries"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    key_id: Mapped[str | None] = mapped_column(String(64))
    """Null: the operator, by a command on the server."""
    action: Mapped[str] = mapped_column(String(64))
    """The endpoint's name, such as `cancel_job`."""
    object_id: Mapped[str | None] = mapped_column(String(128))
    request_id: Mapped[str | None] = mapped_column(String(128))
    created_at: Mapped[float]

    __table_args__ = (Index(None, "project_id", "created_at", "id"),)
