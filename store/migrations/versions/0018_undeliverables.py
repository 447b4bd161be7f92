"""Undeliverable messages: found without reading past all the others."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_index("ix_messages_dead_at", "messages", ["dead_at"], postgresql_where=sa.text("dead_at IS NOT NULL"))
