"""Provings: when each undo of a command last worked."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "provings",
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("undo", sa.Text(), nullable=False),
        sa.Column("proven_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_provings_run_id")),
        sa.PrimaryKeyConstraint("command", "step", "undo", name=op.f("pk_provings")),
    )
    # The web may not write them: whoever took it over could otherwise make an undo look better than it is.
    op.execute("GRANT SELECT ON provings TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT, UPDATE ON provings TO countersign_worker")
