"""Locks: which runs hold them and which want them."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "locks",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("most", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("holds", sa.Boolean(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_locks_run_id")),
        sa.PrimaryKeyConstraint("run_id", "name", name=op.f("pk_locks")),
    )
    op.create_index("ix_locks_name", "locks", ["name"])
    # The web ends a lock as it ends its run, by the run's own row; it takes none and takes none away.
    op.execute("GRANT SELECT ON locks TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT, UPDATE, DELETE ON locks TO countersign_worker")
