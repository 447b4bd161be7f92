"""Visits: when each session was last used, beside the tokens, whose changes have every process read people anew."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "visits",
        sa.Column("token_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.id"], name=op.f("fk_visits_token_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_visits")),
    )
    op.execute("GRANT SELECT ON visits TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT, UPDATE ON visits TO countersign_web")


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
