"""Schedules, and what became of each of their slots."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
_NOW = sa.text("countersign_now()")
_EMPTY = sa.text("''")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _schedules()
    _slots()
    op.execute("GRANT SELECT ON schedules, schedule_slots TO countersign_web, countersign_worker")
    # The web may not write them: whoever took it over could otherwise have service accounts ask for things.
    op.execute("GRANT INSERT, UPDATE ON schedules, schedule_slots TO countersign_worker")


def _schedules() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("arguments", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("cadence", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("overlap", sa.Text(), nullable=False),
        sa.Column("catch_up", sa.Text(), nullable=False),
        sa.Column("pause_after", sa.Integer(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("anchor", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_by", sa.Text(), server_default=_EMPTY, nullable=False),
        sa.Column("paused_because", sa.Text(), server_default=_EMPTY, nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account"], ["people.name"], name=op.f("fk_schedules_account")),
        sa.ForeignKeyConstraint(["owner"], ["people.name"], name=op.f("fk_schedules_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
    )
    op.create_index("uq_schedules_name", "schedules", ["name"], unique=True, postgresql_where=sa.text("removed_at IS NULL"))
    op.create_index("ix_schedules_due", "schedules", ["next_at"], postgresql_where=sa.text("next_at IS NOT NULL"))


def _slots() -> None:
    op.create_table(
        "schedule_slots",
        sa.Column("schedule_id", sa.Uuid(), nullable=False),
        sa.Column("slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("asked_by", sa.Text(), server_default=_EMPTY, nullable=False),
        sa.Column("because", sa.Text(), server_default=_EMPTY, nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_schedule_slots_run_id")),
        sa.ForeignKeyConstraint(["schedule_id"], ["schedules.id"], name=op.f("fk_schedule_slots_schedule_id")),
        sa.PrimaryKeyConstraint("schedule_id", "slot", name=op.f("pk_schedule_slots")),
    )
    open_ones = sa.text("state IN ('waiting', 'sent')")
    op.create_index("ix_schedule_slots_open", "schedule_slots", ["schedule_id", "slot"], postgresql_where=open_ones)
