"""What asked, where it was no person: a schedule or a trigger, as a service account."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("runs", sa.Column("source", sa.Text(), server_default=sa.text("''"), nullable=False))
