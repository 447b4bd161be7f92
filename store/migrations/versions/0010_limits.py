"""Limits: what each has counted."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "limit_uses",
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.PrimaryKeyConstraint("rule", "run_id", name=op.f("pk_limit_uses")),
    )
    op.create_index("ix_limit_uses_counted", "limit_uses", ["rule", "subject", "used_at"])
    # The web may not write them: whoever took it over could otherwise use up somebody's limit, or free their own.
    op.execute("GRANT SELECT ON limit_uses TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT, DELETE ON limit_uses TO countersign_worker")
