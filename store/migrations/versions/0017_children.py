"""Children: runs that a step of another run has submitted."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "children",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_children_run_id")),
        sa.ForeignKeyConstraint(["parent_id"], ["runs.id"], name=op.f("fk_children_parent_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_children")),
    )
    op.create_index("ix_children_parent", "children", ["parent_id"])
    # The web may not write them: whoever took it over could otherwise have a step take a run of theirs for its own.
    op.execute("GRANT SELECT ON children TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT ON children TO countersign_worker")
