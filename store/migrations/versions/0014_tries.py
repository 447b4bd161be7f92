"""Steps are begun again after failures: the number of the try, when the first began, when the next is due, and how earlier ones ended."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("steps", sa.Column("tries", sa.Integer(), server_default=sa.text("1"), nullable=False))
    op.add_column("steps", sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False))
    op.add_column("steps", sa.Column("due_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "steps",
        sa.Column("earlier", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
    )
