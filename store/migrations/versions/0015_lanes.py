"""Lanes: the pace of what is shown, shared by all senders; what goes first has a number."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
LANE = (
    "CASE WHEN platform = 'room' OR (kind = 'reply' AND follows IS NULL AND remote_channel IS NULL) THEN ''"
    " ELSE platform || ' ' || coalesce(remote_channel, nullif(channel, ''), '@' || person) END"
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "lanes",
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("free_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("held_by", sa.Uuid(), nullable=True),
        sa.Column("every", sa.Double(), nullable=True),
        sa.Column("burst", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("lane", name=op.f("pk_lanes")),
    )
    op.create_index("ix_lanes_held_by", "lanes", ["held_by"], postgresql_where=sa.text("held_by IS NOT NULL"))
    op.create_index("ix_lanes_budget", "lanes", ["lane"], postgresql_where=sa.text("every IS NOT NULL"))
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON lanes TO countersign_worker")
    op.execute("GRANT SELECT ON lanes TO countersign_web")
    _messages()


def _messages() -> None:
    op.add_column("messages", sa.Column("priority", sa.SmallInteger(), server_default=sa.text("3"), nullable=False))
    op.execute("UPDATE messages SET priority = CASE WHEN kind = 'reply' THEN 2 WHEN urgent THEN 3 ELSE 5 END WHERE due_at IS NOT NULL")
    op.drop_column("messages", "urgent")
    # Since when a post may have been made that nobody knows of: it is looked for from then on.
    op.add_column("messages", sa.Column("posting_since", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE messages SET posting_since = created_at WHERE posting")
    op.drop_column("messages", "posting")
    op.add_column("messages", sa.Column("lane", sa.Text(), sa.Computed(LANE, persisted=True), nullable=False))
    op.create_index(
        "ix_messages_lane",
        "messages",
        ["lane", "priority", "due_at"],
        postgresql_where=sa.text("due_at IS NOT NULL AND dead_at IS NULL"),
    )
