"""Integrations: whether each is set up and answers, its last error and its last use, as workers find it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0041"
down_revision = "0040"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "integrations",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("variables", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("configured", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("problem", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True)),
        sa.Column("well_since", sa.DateTime(timezone=True)),
        sa.Column("failed_at", sa.DateTime(timezone=True)),
        sa.Column("error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_integrations")),
    )
    op.execute("GRANT SELECT ON integrations TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT, UPDATE ON integrations TO countersign_worker")


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
