"""On which target runs were carried out, so that a card can tell how the last one ended there. `journals.mark_start` writes it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Stamp
from .databases import ReadSession


class TargetRow(Base):
    __tablename__ = "targets"
    __table_args__ = (Index("ix_targets_target", "target", "begun_at"),)

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    target: Mapped[str]
    begun_at: Mapped[Stamp]


@dataclass(frozen=True)
class Earlier:
    """The run that was carried out on the same target last, and how far it is."""

    number: int
    status: str
    asker: str
    at: datetime
    visibility: str


async def find_earlier(session: ReadSession, run_id: UUID, target: str) -> Earlier | None:
    """The other run that was begun last on this target; one step of an index, however many there were."""
    row = (
        await session.execute(
            text(
                "SELECT r.number, r.status, r.asker, r.moved_at, r.visibility FROM runs r JOIN (SELECT run_id FROM targets"
                " WHERE target = :target AND run_id <> :run ORDER BY begun_at DESC LIMIT 1) t ON t.run_id = r.id"
            ),
            {"target": target, "run": run_id},
        )
    ).first()
    return Earlier(row.number, row.status, row.asker, row.moved_at, row.visibility) if row else None
