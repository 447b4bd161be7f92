"""Promises: what was lost or done twice, how far the record was counted, and what finds a run that nobody will ever take."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
_NOW = sa.text("countersign_now()")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _promises()
    op.create_table("counted_blocks", sa.Column("block", sa.BigInteger(), nullable=False))
    # Old blocks stay uncounted: their numbers would all seem to be of today.
    op.execute("INSERT INTO counted_blocks SELECT coalesce(max(n), 0) FROM audit_blocks")
    op.create_index(
        "ix_runs_adrift",
        "runs",
        ["id"],
        postgresql_where=sa.text("due_at IS NULL AND status IN ('submitted', 'planning', 'queued', 'running', 'undoing')"),
    )
    op.execute("GRANT SELECT ON promises, counted_blocks TO countersign_web, countersign_worker")
    op.execute("GRANT UPDATE ON promises, counted_blocks TO countersign_worker")
    # How long events wait for the sealer, and nothing else of that queue.
    op.execute("GRANT SELECT (at_us) ON audit_unsealed TO countersign_web")


def _promises() -> None:
    op.create_table(
        "promises",
        sa.Column("promise", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("example", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("broken_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("looked_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("promise", "what", name=op.f("pk_promises")),
    )
    for promise, what in (("lost", "request"), ("lost", "delivery"), ("doubled", "step"), ("doubled", "end")):
        op.execute(f"INSERT INTO promises (promise, what) VALUES ('{promise}', '{what}')")  # noqa: S608  constants
