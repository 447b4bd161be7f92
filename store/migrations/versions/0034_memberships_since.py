"""Since when somebody is in a group, for who looks over their access; of what is there already nobody knows."""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("memberships", sa.Column("since", sa.DateTime(timezone=True), nullable=True))
    op.execute("ALTER TABLE memberships ALTER COLUMN since SET DEFAULT countersign_now()")


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
