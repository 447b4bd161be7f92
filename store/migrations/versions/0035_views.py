"""Views: filters of lists that somebody keeps under a name, for themselves or for a group."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "views",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("page", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("query", postgresql.JSONB(), nullable=False),
        sa.Column("shared_with", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("first", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("saved_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["people.name"], name=op.f("fk_views_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_views")),
        sa.UniqueConstraint("owner", "page", "name", name=op.f("uq_views_owner_page_name")),
    )
    op.create_index("uq_views_first", "views", ["owner", "page"], unique=True, postgresql_where=sa.text("first"))
    op.create_index("ix_views_shared_with", "views", ["shared_with", "page"], postgresql_where=sa.text("shared_with <> ''"))
    op.execute("GRANT SELECT ON views TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT, UPDATE, DELETE ON views TO countersign_web")


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
