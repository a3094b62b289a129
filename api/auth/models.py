"""Projects own everything; keys belong to a project."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base


class Project(Base):
    """A tenant."""

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[float]
    # Limits, see api/limits/quotas.py. Null: what the settings say.
    max_queued_jobs: Mapped[int | None] = mapped_column(BigInteger)
    max_running_jobs: Mapped[int | None] = mapped_column(BigInteger)
    max_device_hours: Mapped[float | None]
    max_stored_bytes: Mapped[int | None] = mapped_column(BigInteger)
    max_upload_bytes: Mapped[int | None] = mapped_column(BigInteger)


class ApiKey(Base):
    """A key, stored as the SHA-256 of its 256 random bits."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    name: Mapped[str] = mapped_column(String(128))
    prefix: Mapped[str] = mapped_column(String(16))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    revoked_at: Mapped[float | None]
    last_used_at: Mapped[float | None]
    """To the minute; see api/auth/use.py."""

    def is_active(self, now: float) -> bool:
        """Whether the key works at that time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)
