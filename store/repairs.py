"""Repairs: which run undid another, or went on with it; each at most once."""

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Stamp
from .databases import ReadSession, WriteSession


class RepairRow(Base):
    __tablename__ = "repairs"
    __table_args__ = (CheckConstraint("kind IN ('undo', 'resume')", name="kind"),)

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    by_run: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    began_at: Mapped[Stamp]


async def claim_repair(session: WriteSession, run_id: UUID, *, kind: str, by_run: UUID) -> int | None:
    """None when it is this run's to do from now on, else the number of the run that was first."""
    await session.execute(
        text("INSERT INTO repairs (run_id, kind, by_run) VALUES (:run, :kind, :by) ON CONFLICT DO NOTHING"),
        {"run": run_id, "kind": kind, "by": by_run},
    )
    found = (await find_repairs(session, run_id))[kind]
    return None if found[0] == by_run else found[1]


async def find_repairs(session: ReadSession, run_id: UUID) -> dict[str, tuple[UUID, int, str]]:
    """By kind: the id, number and status of the run that undid this one or went on with it."""
    rows = await session.execute(
        text("SELECT p.kind, r.id, r.number, r.status FROM repairs p JOIN runs r ON r.id = p.by_run WHERE p.run_id = :run"), {"run": run_id}
    )
    return {row.kind: (row.id, row.number, row.status) for row in rows}
