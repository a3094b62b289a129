"""Limits of projects; null: what the settings say."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NAMES = ("max_queued_jobs", "max_running_jobs", "max_device_hours", "max_stored_bytes", "max_upload_bytes")


def upgrade() -> None:
    for name in NAMES:
        kind = sa.Double() if name == "max_device_hours" else sa.BigInteger()
        op.add_column("projects", sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    for name in reversed(NAMES):
        op.drop_column("projects", name)
