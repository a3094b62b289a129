"""Blocks of metrics, and checkpoints that are kept for as long as their owner wants."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "metric_blocks",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_metric_blocks_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "size", "start", name=op.f("pk_metric_blocks")),
    )
    op.add_column("jobs", sa.Column("summarised", sa.Integer(), server_default="0", nullable=False))
    op.create_index(op.f("ix_jobs_finished_at"), "jobs", ["finished_at"], unique=False)
    op.add_column(
        "checkpoints", sa.Column("is_pinned", sa.Boolean(), server_default=sa.false(), nullable=False)
    )


def downgrade() -> None:
    op.drop_column("checkpoints", "is_pinned")
    op.drop_index(op.f("ix_jobs_finished_at"), table_name="jobs")
    op.drop_column("jobs", "summarised")
    op.drop_table("metric_blocks")
