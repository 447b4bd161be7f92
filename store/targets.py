"""On which target runs were carried out, so that a card can tell how the last one ended there. `journals.mark_start` writes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
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


_EARLIER: Final = text("""
SELECT w.run, r.number, r.status, r.asker, r.moved_at, r.visibility
FROM unnest(cast(:runs AS uuid[]), cast(:targets AS text[])) AS w (run, target)
CROSS JOIN LATERAL (SELECT run_id FROM targets WHERE target = w.target AND run_id <> w.run ORDER BY begun_at DESC LIMIT 1) AS t
JOIN runs r ON r.id = t.run_id
""")


async def find_earlier(session: ReadSession, targets: Mapping[UUID, str]) -> dict[UUID, Earlier]:
    """For each of these runs, which are on these targets, the other run that was begun last on its target, if there is one.

    One step of an index for each, however many there were.
    """
    if not targets:
        return {}
    rows = await session.execute(_EARLIER, {"runs": list(targets), "targets": list(targets.values())})
    return {row.run: Earlier(row.number, row.status, row.asker, row.moved_at, row.visibility) for row in rows}
