"""Kill switches, and the runs that one of them holds back."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "switches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("on_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.Column("on_by", sa.Text(), nullable=False),
        sa.Column("off_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("off_by", sa.Text(), nullable=True),
        sa.Column("off_run", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(["off_run"], ["runs.id"], name=op.f("fk_switches_off_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_switches")),
        sa.CheckConstraint("kind IN ('everything', 'changes', 'command', 'integration')", name="ck_switches_kind"),
    )
    op.create_index("uq_switches_on", "switches", ["kind", "target"], unique=True, postgresql_where=sa.text("off_at IS NULL"))
    op.create_table(
        "holds",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("held_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_holds_run_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_holds")),
    )
    op.execute("CREATE TRIGGER changed AFTER INSERT OR UPDATE ON switches FOR EACH STATEMENT EXECUTE FUNCTION countersign_people_changed()")
    op.execute("GRANT SELECT ON switches, holds TO countersign_web, countersign_worker")
    # Whoever may stop may do so while no worker lives; only a worker, after an approved plan, switches off again.
    op.execute("GRANT INSERT (id, kind, target, reason, on_by) ON switches TO countersign_web, countersign_worker")
    op.execute("GRANT UPDATE (off_at, off_by, off_run) ON switches TO countersign_worker")
    op.execute("GRANT INSERT, UPDATE, DELETE ON holds TO countersign_worker")
