"""Access: grants for a while have numbers, approvers, an instant at which something is due, and a history."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _grants()
    _extensions()


def _grants() -> None:
    op.add_column("grants", sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False))
    op.add_column("grants", sa.Column("approved_by", postgresql.ARRAY(sa.TEXT()), server_default=sa.text("'{}'"), nullable=False))
    op.add_column("grants", sa.Column("ended_how", sa.Text(), nullable=True))
    op.add_column("grants", sa.Column("next_due", sa.DateTime(timezone=True), nullable=True))
    op.create_unique_constraint("uq_grants_number", "grants", ["number"])
    op.create_index("ix_grants_history", "grants", ["subject", "number"])
    op.create_index("ix_grants_due", "grants", ["next_due"], postgresql_where=sa.text("next_due IS NOT NULL"))
    op.execute("UPDATE grants SET ended_how = 'revoked' WHERE ended_at IS NOT NULL")
    op.execute("UPDATE grants SET next_due = until WHERE ended_at IS NULL AND until IS NOT NULL")


def _extensions() -> None:
    op.create_table(
        "grant_extensions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("grant_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("was", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("approved_by", postgresql.ARRAY(sa.TEXT()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("extended_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.ForeignKeyConstraint(["grant_id"], ["grants.id"], name=op.f("fk_grant_extensions_grant_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_grant_extensions_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grant_extensions")),
    )
    op.create_index("ix_grant_extensions_grant_id", "grant_extensions", ["grant_id"])
    op.execute("GRANT SELECT ON grant_extensions TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT ON grant_extensions TO countersign_worker")
