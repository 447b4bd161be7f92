"""Artifacts: the files that steps leave; a row is written before the bytes."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "artifacts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dropped_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_artifacts_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifacts")),
    )
    op.create_index("ix_artifacts_run_id", "artifacts", ["run_id", "name"], unique=False)
    op.create_index("ix_artifacts_dropped_at", "artifacts", ["dropped_at"], postgresql_where=sa.text("dropped_at IS NOT NULL"))
    op.create_index("ix_artifacts_at", "artifacts", ["at"], postgresql_where=sa.text("stored_at IS NULL"))
    op.create_index(
        "uq_artifacts_run_id",
        "artifacts",
        ["run_id", "name"],
        unique=True,
        postgresql_where=sa.text("stored_at IS NOT NULL AND dropped_at IS NULL"),
    )
    # Part of the journal: the web may read it, and only workers write it; what a file is never changes, only whether it is there.
    op.execute("GRANT SELECT ON artifacts TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT, UPDATE (stored_at, dropped_at), DELETE ON artifacts TO countersign_worker")
