"""Triggers, and what was delivered to them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
_NOW = sa.text("countersign_now()")
_JSON = postgresql.JSONB(astext_type=sa.Text())
_EMPTY = sa.text("''")
_NONE = sa.text("0")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _triggers()
    _deliveries()
    op.execute("GRANT SELECT ON triggers, deliveries TO countersign_web, countersign_worker")
    # The web only writes down what came in. What a trigger does, and what has become of a delivery, is written by workers alone.
    op.execute("GRANT INSERT, UPDATE ON triggers, deliveries TO countersign_worker")
    op.execute("GRANT DELETE ON deliveries TO countersign_worker")
    op.execute("GRANT INSERT, UPDATE (count) ON deliveries TO countersign_web")


def _triggers() -> None:
    op.create_table(
        "triggers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("body", _JSON, nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=True),
        sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["account"], ["people.name"], name=op.f("fk_triggers_account")),
        sa.ForeignKeyConstraint(["holder"], ["people.name"], name=op.f("fk_triggers_holder")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_triggers_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_triggers")),
    )
    op.create_index("uq_triggers_name", "triggers", ["name"], unique=True, postgresql_where=sa.text("ended_at IS NULL"))
    op.execute("CREATE TRIGGER changed AFTER INSERT OR UPDATE ON triggers FOR EACH STATEMENT EXECUTE FUNCTION countersign_people_changed()")


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("trigger_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default=_EMPTY, nullable=False),
        sa.Column("said", sa.Text(), server_default=_EMPTY, nullable=False),
        sa.Column("delivery", sa.Text(), server_default=_EMPTY, nullable=False),
        sa.Column("event", sa.Text(), server_default=_EMPTY, nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("size", sa.Integer(), server_default=_NONE, nullable=False),
        sa.Column("count", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=_NONE, nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("trace", sa.Text(), server_default=_EMPTY, nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(["trigger_id"], ["triggers.id"], name=op.f("fk_deliveries_trigger_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index("ix_deliveries_due_at", "deliveries", ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    op.create_index("ix_deliveries_trigger", "deliveries", ["trigger_id", "received_at"])
    op.create_index("ix_deliveries_received_at", "deliveries", ["received_at"])
