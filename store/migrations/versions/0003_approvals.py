"""Approvals at full strength: stages, two clocks, delegation, votes taken back, edits, deferred starts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _requests()
    _decisions()
    _runs()
    _delegations()
    _audiences()
    _levels()
    _messages()


def _requests() -> None:
    op.add_column("approval_requests", sa.Column("next_due", sa.DateTime(timezone=True), nullable=True))
    op.add_column("approval_requests", sa.Column("stage", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("approval_requests", sa.Column("reminded_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("approval_requests", sa.Column("first_vote_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("approval_requests", sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("approval_requests", sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("approval_requests", sa.Column("via", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.drop_index("ix_approval_requests_expires", "approval_requests")
    op.create_index("ix_approval_requests_due", "approval_requests", ["next_due"], postgresql_where=sa.text("state = 'open'"))
    op.create_index("ix_approval_requests_open", "approval_requests", ["expires_at"], postgresql_where=sa.text("state = 'open'"))


def _decisions() -> None:
    op.add_column("decisions", sa.Column("stage", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("decisions", sa.Column("on_behalf", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("decisions", sa.Column("proof", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True))
    op.add_column("decisions", sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True))
    op.drop_constraint("uq_decisions_request_id_person", "decisions")
    op.create_index(
        "uq_decisions_request_id_person",
        "decisions",
        ["request_id", "person"],
        unique=True,
        postgresql_where=sa.text("withdrawn_at IS NULL"),
    )
    op.create_index("ix_decisions_run_id", "decisions", ["run_id"])
    op.create_index("ix_decisions_request_id", "decisions", ["request_id"])
    op.execute("GRANT UPDATE (withdrawn_at) ON decisions TO countersign_web, countersign_worker")


def _runs() -> None:
    op.add_column("runs", sa.Column("edited_by", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("handed_to", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("badge", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("runs", sa.Column("start_at", sa.DateTime(timezone=True), nullable=True))


def _delegations() -> None:
    op.create_table(
        "delegations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("delegate", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("only_run", sa.Uuid(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["person"], ["people.name"], name=op.f("fk_delegations_person")),
        sa.ForeignKeyConstraint(["delegate"], ["people.name"], name=op.f("fk_delegations_delegate")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delegations")),
    )
    op.create_index("ix_delegations_delegate", "delegations", ["delegate", "until"])
    # The web may not write them: whoever took it over could otherwise hand anybody's vote to somebody who holds a passkey.
    op.execute("GRANT SELECT ON delegations TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT, UPDATE ON delegations TO countersign_worker")


def _audiences() -> None:
    op.create_table(
        "audiences",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("asked", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audiences")),
    )
    op.add_column("approval_requests", sa.Column("audience", sa.Uuid(), nullable=True))
    op.add_column("approval_requests", sa.Column("voters", sa.Text(), nullable=True))
    op.create_index(
        "ix_approval_requests_audience",
        "approval_requests",
        ["audience", "expires_at", "run_id"],
        postgresql_where=sa.text("state = 'open'"),
    )
    op.execute("GRANT SELECT ON audiences TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT ON audiences TO countersign_worker")


def _levels() -> None:
    op.create_table(
        "service_levels",
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("asked", sa.Text(), nullable=False),
        sa.Column("figure", sa.Text(), nullable=False),
        sa.Column("bound", sa.Double(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("command", "asked", "figure", "bound", name=op.f("pk_service_levels")),
    )
    op.add_column("approval_requests", sa.Column("counted", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.execute("UPDATE approval_requests SET counted = true WHERE state <> 'open'")
    op.create_index(
        "ix_approval_requests_uncounted",
        "approval_requests",
        ["closed_at"],
        postgresql_where=sa.text("state <> 'open' AND NOT counted"),
    )
    op.execute("GRANT SELECT ON service_levels TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT, UPDATE ON service_levels TO countersign_worker")


def _messages() -> None:
    # How long a message that is shown has waited to be shown anew: set by the first of the changes that it waits with, whoever makes it.
    op.add_column("messages", sa.Column("wanted_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(
        "CREATE FUNCTION countersign_message_wanted() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.wanted_at := NEW.due_at; RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER wanted BEFORE UPDATE OF wanted ON messages FOR EACH ROW WHEN (OLD.wanted_at IS NULL AND OLD.shown > 0)"
        " EXECUTE FUNCTION countersign_message_wanted()"
    )
    # What cannot be delivered stays due for ever, and nobody should read past it each time.
    op.drop_index("ix_messages_due_at", "messages")
    op.create_index("ix_messages_due_at", "messages", ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL AND dead_at IS NULL"))
