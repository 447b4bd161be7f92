"""Tasks: what people are asked to do by a step, who may answer now, and what they answered. Only workers open them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import ForeignKey, Index, UniqueConstraint, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from countersign.runs import FINISHED

from .bases import Base, Identifier, Stamp, new_id
from .databases import ReadSession, WriteSession

_LIVE: Final = "t.state = 'open' AND r.status IN ('running', 'waiting') AND t.revision = r.revision"


class TaskRow(Base):
    """`assignees` are people and `@groups`. `state` is open, answered, given_up or closed."""

    __tablename__ = "tasks"
    __table_args__ = (
        UniqueConstraint("run_id", "revision", "position", name="uq_tasks_step"),
        Index("ix_tasks_open", "opened_at", postgresql_where=text("state = 'open'")),
        Index("ix_tasks_next_due", "next_due", postgresql_where=text("state = 'open' AND next_due IS NOT NULL")),
    )

    id: Mapped[Identifier]
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    revision: Mapped[int]
    position: Mapped[int]
    asked: Mapped[dict[str, Any]]
    assignees: Mapped[list[str]] = mapped_column(ARRAY(TEXT))
    assigned_by: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default=text("'open'"))
    opened_at: Mapped[Stamp]
    due_at: Mapped[datetime | None]
    remind: Mapped[float | None]
    reminded_at: Mapped[datetime | None]
    escalate_to: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{}'"))
    escalated_at: Mapped[datetime | None]
    give_up_at: Mapped[datetime | None]
    next_due: Mapped[datetime | None]
    answered_by: Mapped[str | None]
    answered_at: Mapped[datetime | None]
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))


@dataclass(frozen=True)
class NewTask:
    """A task about to be opened; its times are seconds from now."""

    run_id: UUID
    revision: int
    position: int
    asked: dict[str, Any]
    assignees: Sequence[str]
    escalate_to: Sequence[str] = ()
    due: float | None = None
    remind: float | None = None
    give_up: float | None = None
    id: UUID = field(default_factory=new_id)


_OPEN = text("""
INSERT INTO tasks (id, run_id, revision, position, asked, assignees, escalate_to, remind, due_at, give_up_at, next_due)
SELECT :id, :run_id, :revision, :position, :asked, :assignees, :escalate_to, :remind, now + :due * interval '1 second',
       now + :give_up * interval '1 second',
       now + least(cast(:due AS float), cast(:remind AS float), cast(:give_up AS float)) * interval '1 second'
FROM (SELECT countersign_now() AS now) AS moment
ON CONFLICT DO NOTHING RETURNING 1
""")


async def open_task(session: WriteSession, task: NewTask) -> bool:
    """Opens it; False when the step's task is there already."""
    values = task.__dict__ | {"asked": Jsonb(task.asked), "assignees": list(task.assignees), "escalate_to": list(task.escalate_to)}
    return (await session.execute(_OPEN, values)).first() is not None


async def find_task(session: ReadSession, task_id: UUID) -> TaskRow | None:
    return await session.get(TaskRow, task_id, populate_existing=True)


async def lock_task(session: WriteSession, task_id: UUID) -> TaskRow | None:
    """The task, locked until the transaction ends, so that two answers at the same instant are taken one after the other."""
    return await session.get(TaskRow, task_id, populate_existing=True, with_for_update=True)


async def find_step_task(session: ReadSession, run_id: UUID, *, revision: int, position: int) -> TaskRow | None:
    query = select(TaskRow).where(TaskRow.run_id == run_id, TaskRow.revision == revision, TaskRow.position == position)
    return (await session.scalars(query.execution_options(populate_existing=True))).first()


async def find_run_tasks(session: ReadSession, run_id: UUID, *, revision: int) -> list[TaskRow]:
    """The tasks of a run's present plan, in the order in which they were opened."""
    query = select(TaskRow).where(TaskRow.run_id == run_id, TaskRow.revision == revision).order_by(TaskRow.opened_at, TaskRow.position)
    return list(await session.scalars(query.execution_options(populate_existing=True)))


async def find_open_tasks(session: ReadSession, names: Sequence[str], *, limit: int) -> list[TaskRow]:
    """Open tasks of runs under way that are assigned to one of these people or `@groups`, the most urgent first."""
    rows = await session.execute(
        text(
            f"SELECT t.id FROM tasks t JOIN runs r ON r.id = t.run_id WHERE {_LIVE} AND t.assignees && cast(:names AS text[])"  # noqa: S608
            " ORDER BY t.due_at NULLS LAST, t.opened_at LIMIT :limit"
        ),
        {"names": list(names), "limit": limit},
    )
    ids = [row.id for row in rows]
    found = {one.id: one for one in await session.scalars(select(TaskRow).where(TaskRow.id.in_(ids)))}
    return [found[one] for one in ids if one in found]


async def answer_task(session: WriteSession, task_id: UUID, *, by: str, answer: Mapping[str, Any]) -> bool:
    """Keeps the answer of a task that is open; False when it is not any more."""
    row = await session.execute(
        text(
            "UPDATE tasks SET state = 'answered', answered_by = :by, answered_at = countersign_now(), answer = :answer"
            " WHERE id = :id AND state = 'open' RETURNING 1"
        ),
        {"id": task_id, "by": by, "answer": Jsonb(dict(answer))},
    )
    return row.first() is not None


async def assign_task(session: WriteSession, task_id: UUID, *, to: Sequence[str], by: str) -> bool:
    """Asks these people and groups instead of those before; False when the task is not open any more."""
    row = await session.execute(
        text("UPDATE tasks SET assignees = :to, assigned_by = :by WHERE id = :id AND state = 'open' RETURNING 1"),
        {"id": task_id, "to": list(to), "by": by},
    )
    return row.first() is not None


async def find_due_tasks(session: ReadSession, *, limit: int) -> list[tuple[UUID, UUID]]:
    """Open tasks of which something is due, each with its run, longest due first."""
    rows = await session.execute(
        text("SELECT id, run_id FROM tasks WHERE state = 'open' AND next_due <= countersign_now() ORDER BY next_due LIMIT :limit"),
        {"limit": limit},
    )
    return [(row.id, row.run_id) for row in rows]


async def close_ended_tasks(session: WriteSession) -> None:
    """Closes the tasks of runs that have ended or are planned anew; nobody can answer those anyway."""
    await session.execute(
        text(
            "UPDATE tasks t SET state = 'closed', next_due = NULL FROM runs r WHERE r.id = t.run_id AND t.state = 'open'"
            " AND (r.status = ANY(:finished) OR t.revision <> r.revision)"
        ),
        {"finished": sorted(FINISHED)},
    )
