"""Repairs: which run undid another, or went on with it."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "repairs",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("by_run", sa.Uuid(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.CheckConstraint("kind IN ('undo', 'resume')", name=op.f("ck_repairs_kind")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_repairs_run_id")),
        sa.ForeignKeyConstraint(["by_run"], ["runs.id"], name=op.f("fk_repairs_by_run")),
        sa.PrimaryKeyConstraint("run_id", "kind", name=op.f("pk_repairs")),
    )
    op.execute("GRANT SELECT ON repairs TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT ON repairs TO countersign_worker")
