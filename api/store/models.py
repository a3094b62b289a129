"""What is in the store."""

from __future__ import annotations

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base


class Blob(Base):
    """Bytes, named by their hash; the sweep deletes what nothing refers to and nobody touched for an hour."""

    __tablename__ = "blobs"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    touched_at: Mapped[float] = mapped_column(index=True)
