"""Groups of alerts, their alerts and history; messages that are about one."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0022"
down_revision = "0021"
_NOW = sa.text("countersign_now()")
_JSON = postgresql.JSONB(astext_type=sa.Text())
_EMPTY = sa.text("''")
_NONE = sa.text("0")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _groups()
    _alerts()
    _messages()
    op.execute("GRANT SELECT ON alert_groups, alerts, alert_history TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT, UPDATE ON alert_groups, alerts TO countersign_worker")
    # People acknowledge and resolve by a click, as they decide.
    op.execute(
        "GRANT UPDATE (status, acknowledged_by, acknowledged_at, resolved_by, resolved_at, changed_at) ON alert_groups TO countersign_web"
    )
    op.execute("GRANT INSERT ON alert_history TO countersign_web, countersign_worker")


def _groups() -> None:
    op.create_table(
        "alert_groups",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("trigger_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), server_default=_EMPTY, nullable=False),
        sa.Column("link", sa.Text(), server_default=_EMPTY, nullable=False),
        sa.Column("labels", _JSON, nullable=False),
        sa.Column("annotations", _JSON, nullable=False),
        sa.Column("firing", sa.Integer(), server_default=_NONE, nullable=False),
        sa.Column("resolved", sa.Integer(), server_default=_NONE, nullable=False),
        sa.Column("truncated", sa.Integer(), server_default=_NONE, nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_by", sa.Text(), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["trigger_id"], ["triggers.id"], name=op.f("fk_alert_groups_trigger_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_groups")),
        sa.UniqueConstraint("number", name=op.f("uq_alert_groups_number")),
    )
    # One open group for each key: whoever comes second at the same instant finds the first one's.
    op.create_index(
        "uq_alert_groups_open", "alert_groups", ["trigger_id", "key"], unique=True, postgresql_where=sa.text("status <> 'resolved'")
    )
    op.create_index("ix_alert_groups_key", "alert_groups", ["trigger_id", "key", "number"])


def _alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("group_id", sa.Uuid(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("labels", _JSON, nullable=False),
        sa.Column("annotations", _JSON, nullable=False),
        sa.Column("link", sa.Text(), server_default=_EMPTY, nullable=False),
        sa.Column("times", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["alert_groups.id"], name=op.f("fk_alerts_group_id")),
        sa.PrimaryKeyConstraint("group_id", "fingerprint", name=op.f("pk_alerts")),
    )
    op.create_table(
        "alert_history",
        sa.Column("n", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("group_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["alert_groups.id"], name=op.f("fk_alert_history_group_id")),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_alert_history")),
    )
    op.create_index("ix_alert_history_group_id", "alert_history", ["group_id", "n"])


def _messages() -> None:
    op.add_column("messages", sa.Column("alert_group_id", sa.Uuid(), nullable=True))
    op.create_foreign_key("fk_messages_alert_group_id", "messages", "alert_groups", ["alert_group_id"], ["id"], postgresql_not_valid=True)
    op.create_index(
        "uq_messages_alert_place",
        "messages",
        ["alert_group_id", "kind", "platform", "team", "channel", "person"],
        unique=True,
        postgresql_where=sa.text("alert_group_id IS NOT NULL AND kind <> 'reply'"),
    )
