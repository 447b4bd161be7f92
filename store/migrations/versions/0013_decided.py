"""What a person decided lately is found by that person."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_index("ix_decisions_person", "decisions", ["person", "decided_at"])
