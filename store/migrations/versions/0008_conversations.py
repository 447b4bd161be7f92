"""Conversations: what people say about a run, beneath every card of it; and on which target runs were carried out."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _conversations()
    _threads()
    _targets()


def _conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("n", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("about", sa.Uuid(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.ForeignKeyConstraint(["person"], ["people.name"], name=op.f("fk_conversations_person")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_conversations_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversations")),
    )
    op.create_index("ix_conversations_run_id", "conversations", ["run_id", "n"], unique=False)
    # Nobody takes back or changes what was said.
    op.execute("GRANT SELECT, INSERT ON conversations TO countersign_web, countersign_worker")


def _threads() -> None:
    op.add_column("messages", sa.Column("follows", sa.Uuid(), nullable=True))
    op.add_column("messages", sa.Column("line", sa.BigInteger(), nullable=True))
    op.create_foreign_key(op.f("fk_messages_follows"), "messages", "messages", ["follows"], ["id"])
    op.create_index("ix_messages_follows", "messages", ["follows", "line"], postgresql_where=sa.text("follows IS NOT NULL"))
    # In a place where several cards of a run stand, because it was planned or asked about again, each line stands once.
    op.create_index(
        "uq_messages_line",
        "messages",
        ["run_id", "platform", "team", "channel", "person", "line"],
        unique=True,
        postgresql_where=sa.text("line IS NOT NULL"),
    )


def _targets() -> None:
    op.create_table(
        "targets",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_targets_run_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_targets")),
    )
    op.create_index("ix_targets_target", "targets", ["target", "begun_at"], unique=False)
    # Part of the journal: the web may read it, and only workers write it.
    op.execute("GRANT SELECT ON targets TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT ON targets TO countersign_worker")
