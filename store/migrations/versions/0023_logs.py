"""Logs in chunks: a row for what a step wrote in a quarter of a second, not one for each line."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "log_chunks",
        sa.Column("n", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("lines", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_log_chunks_run_id")),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_log_chunks")),
    )
    op.create_index("ix_log_chunks_run_id", "log_chunks", ["run_id", "n"], unique=False)
    op.execute(
        "INSERT INTO log_chunks (run_id, position, at, size, lines)"
        " SELECT run_id, position, at, 1, ARRAY[line] FROM log_lines ORDER BY log_lines.n"
    )
    op.drop_table("log_lines")
    # Part of the journal: the web may read it, and only workers write it.
    op.execute("GRANT SELECT ON log_chunks TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT ON log_chunks TO countersign_worker")
