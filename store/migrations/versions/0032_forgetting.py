"""Forgetting: logs may be removed when their time is over, and those that are old are found without looking at all."""

from alembic import op

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_index("ix_log_chunks_at", "log_chunks", ["at"], unique=False, postgresql_using="brin")
    op.execute("GRANT DELETE ON log_chunks TO countersign_worker")
