"""Waits: what parked runs wait for; and who has paused a run."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("runs", sa.Column("paused_by", sa.Text(), nullable=True))
    op.create_index("ix_runs_waiting", "runs", ["id"], postgresql_where=sa.text("status = 'waiting'"))
    op.create_table(
        "waits",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_waits_run_id")),
        sa.PrimaryKeyConstraint("run_id", "kind", "subject", name=op.f("pk_waits")),
    )
    op.create_index("ix_waits_subject", "waits", ["kind", "subject"])
    op.create_index("ix_waits_due_at", "waits", ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    # Only workers park. The web wakes what somebody answers, lets go on or cancels; a run whose row is gone is woken by the sweep.
    op.execute("GRANT SELECT, DELETE ON waits TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT ON waits TO countersign_worker")
