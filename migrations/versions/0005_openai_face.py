"""What a request through the OpenAI face said beside its job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fine_tuning_requests",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("labels", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("body_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_fine_tuning_requests_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_fine_tuning_requests_project_id_projects")
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_fine_tuning_requests")),
    )
    op.create_index(
        op.f("ix_fine_tuning_requests_project_id_body_sha256"),
        "fine_tuning_requests",
        ["project_id", "body_sha256"],
    )


def downgrade() -> None:
    op.drop_table("fine_tuning_requests")
