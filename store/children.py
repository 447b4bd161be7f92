"""Children: runs that a step of another run has submitted."""

from typing import Final
from uuid import UUID

from sqlalchemy import ForeignKey, Index, select, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base
from .databases import ReadSession, WriteSession
from .journals import StepKey, values_of
from .runs import RunRow


class ChildRow(Base):
    __tablename__ = "children"
    __table_args__ = (Index("ix_children_parent", "parent_id"),)

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    parent_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    revision: Mapped[int]
    position: Mapped[int]
    phase: Mapped[str]


_DEPTH: Final = text("""
WITH RECURSIVE above AS (SELECT parent_id, 1 AS depth FROM children WHERE run_id = :run
                         UNION ALL SELECT c.parent_id, a.depth + 1 FROM children c JOIN above a ON c.run_id = a.parent_id
                         WHERE a.depth < 100)
SELECT coalesce(max(depth), 0) FROM above
""")


async def keep_child(session: WriteSession, key: StepKey, child: UUID) -> None:
    """Remembers which step submitted this run; kept once."""
    await session.execute(
        text(
            "INSERT INTO children (run_id, parent_id, revision, position, phase)"
            " VALUES (:child, :run_id, :revision, :position, :phase) ON CONFLICT DO NOTHING"
        ),
        values_of(key) | {"child": child},
    )


async def find_child(session: ReadSession, key: StepKey) -> RunRow | None:
    """The run that this step has submitted."""
    query = select(RunRow).join(ChildRow, ChildRow.run_id == RunRow.id)
    mine = (ChildRow.parent_id == key.run_id, ChildRow.revision == key.revision, ChildRow.position == key.position)
    rows = await session.scalars(query.where(*mine, ChildRow.phase == key.phase).execution_options(populate_existing=True))
    return rows.first()


async def find_children(session: ReadSession, parent: UUID) -> list[RunRow]:
    """The runs that steps of this one have submitted, oldest first."""
    query = select(RunRow).join(ChildRow, ChildRow.run_id == RunRow.id).where(ChildRow.parent_id == parent).order_by(RunRow.number)
    return list(await session.scalars(query.execution_options(populate_existing=True)))


async def find_depth(session: ReadSession, run: UUID) -> int:
    """How many runs stand above this one."""
    return int((await session.execute(_DEPTH, {"run": run})).scalar_one())
