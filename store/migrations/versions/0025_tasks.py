"""Tasks: what people are asked to do by a step."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    names = postgresql.ARRAY(sa.Text())
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "tasks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("asked", postgresql.JSONB(), nullable=False),
        sa.Column("assignees", names, nullable=False),
        sa.Column("assigned_by", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("opened_at", moment, server_default=sa.text("countersign_now()"), nullable=False),
        sa.Column("due_at", moment, nullable=True),
        sa.Column("remind", sa.Float(), nullable=True),
        sa.Column("reminded_at", moment, nullable=True),
        sa.Column("escalate_to", names, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("escalated_at", moment, nullable=True),
        sa.Column("give_up_at", moment, nullable=True),
        sa.Column("next_due", moment, nullable=True),
        sa.Column("answered_by", sa.Text(), nullable=True),
        sa.Column("answered_at", moment, nullable=True),
        sa.Column("answer", postgresql.JSONB(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_tasks_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("run_id", "revision", "position", name="uq_tasks_step"),
    )
    due = "state = 'open' AND next_due IS NOT NULL"
    op.create_index("ix_tasks_open", "tasks", ["opened_at"], postgresql_where=sa.text("state = 'open'"))
    op.create_index("ix_tasks_next_due", "tasks", ["next_due"], postgresql_where=sa.text(due))
    op.execute("GRANT SELECT ON tasks TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT, UPDATE ON tasks TO countersign_worker")
    # What is asked, and when it is given up, is the plan's: people only answer and reassign.
    op.execute("GRANT UPDATE (state, assignees, assigned_by, answered_by, answered_at, answer) ON tasks TO countersign_web")
