"""Limits count calls of integrations too, each at its turn."""

from uuid import UUID

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    # With a default, so that workers of the version before count on while hosts are upgraded one after the other.
    op.add_column("limit_uses", sa.Column("call", sa.Uuid(), server_default=sa.text(f"'{UUID(int=0)}'"), nullable=False))
    op.drop_constraint(op.f("pk_limit_uses"), "limit_uses")
    op.create_primary_key(op.f("pk_limit_uses"), "limit_uses", ["rule", "run_id", "call"])


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
