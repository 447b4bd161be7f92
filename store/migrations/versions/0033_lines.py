"""Lines: which workers may take a run, and which of those that wait comes first."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("workers", sa.Column("labels", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False))
    op.add_column("runs", sa.Column("label", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("runs", sa.Column("rank", sa.SmallInteger(), server_default=sa.text("1"), nullable=False))
    op.add_column("runs", sa.Column("line", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.create_index(
        "ix_runs_line", "runs", ["label", sa.text("rank DESC"), "line", "due_at"], postgresql_where=sa.text("due_at IS NOT NULL")
    )
