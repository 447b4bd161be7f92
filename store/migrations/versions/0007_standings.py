"""Standing approvals and their uses, opened glass and the reviews that follow."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
_NOW = sa.text("countersign_now()")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _standings()
    _breaks()
    op.execute("GRANT SELECT ON standings, standing_uses, breaks, reviews TO countersign_web, countersign_worker")
    # The web opens the glass and signs reviews, as it writes decisions; what stands is written by workers alone.
    op.execute("GRANT INSERT ON breaks TO countersign_web")
    op.execute("GRANT UPDATE (signed_by, signed_at, finding) ON reviews TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT ON standings, standing_uses, reviews TO countersign_worker")
    op.execute("GRANT UPDATE ON standings, standing_uses, reviews TO countersign_worker")


def _standings() -> None:
    op.create_table(
        "standings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("arguments", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("people", postgresql.ARRAY(sa.TEXT()), nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_standings_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_standings")),
        sa.UniqueConstraint("number", name=op.f("uq_standings_number")),
    )
    op.create_index("ix_standings_command", "standings", ["command"], postgresql_where=sa.text("ended_at IS NULL"))
    op.create_table(
        "standing_uses",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("standing_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_standing_uses_run_id")),
        sa.ForeignKeyConstraint(["standing_id"], ["standings.id"], name=op.f("fk_standing_uses_standing_id")),
        sa.PrimaryKeyConstraint("run_id", "revision", name=op.f("pk_standing_uses")),
    )
    op.create_index("ix_standing_uses_standing_id", "standing_uses", ["standing_id"])


def _breaks() -> None:
    op.create_table(
        "breaks",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("door", sa.Text(), nullable=False),
        sa.Column("broken_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["person"], ["people.name"], name=op.f("fk_breaks_person")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_breaks_run_id")),
        sa.PrimaryKeyConstraint("run_id", "revision", name=op.f("pk_breaks")),
    )
    op.create_table(
        "reviews",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("involved", postgresql.ARRAY(sa.TEXT()), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("next_due", sa.DateTime(timezone=True), nullable=True),
        sa.Column("signed_by", sa.Text(), nullable=True),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finding", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_reviews_run_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_reviews")),
    )
    op.create_index("ix_reviews_open", "reviews", ["next_due"], postgresql_where=sa.text("signed_by IS NULL"))
