"""Who stands in for whom, for how long; only workers write it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Identifier, Stamp
from .databases import ReadSession, WriteSession


class DelegationRow(Base):
    __tablename__ = "delegations"
    __table_args__ = (Index("ix_delegations_delegate", "delegate", "until"),)

    id: Mapped[Identifier]
    person: Mapped[str] = mapped_column(ForeignKey("people.name"))
    delegate: Mapped[str] = mapped_column(ForeignKey("people.name"))
    starts_at: Mapped[datetime]
    until: Mapped[datetime]
    only_run: Mapped[UUID | None]
    run_id: Mapped[UUID | None]
    made_by: Mapped[str]
    made_at: Mapped[Stamp]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]


@dataclass(frozen=True)
class Delegation:
    """`delegate` may vote for `person` from `starts_at` until `until`, or until it was ended; `only_run` limits it to one run."""

    person: str
    delegate: str
    starts_at: datetime
    until: datetime
    only_run: UUID | None

    def covers(self, at: datetime, run_id: UUID) -> bool:
        return self.starts_at <= at < self.until and self.only_run in (None, run_id)


_LATELY = text(
    "SELECT moment.now, d.person, d.delegate, d.starts_at, least(d.until, d.ended_at) AS until, d.only_run"
    " FROM (SELECT countersign_now() AS now) moment LEFT JOIN delegations d"
    " ON d.delegate = ANY(:delegates) AND d.until > countersign_now() - interval '90 days' ORDER BY d.made_at, d.id"
)


async def find_delegations(session: ReadSession, delegates: Sequence[str]) -> tuple[list[Delegation], datetime]:
    """All delegations to these people of the last 90 days, ended ones up to their end; first made, first. And what time it is."""
    rows = (await session.execute(_LATELY, {"delegates": list(delegates)})).all()
    found = [Delegation(row.person, row.delegate, row.starts_at, row.until, row.only_run) for row in rows if row.person is not None]
    return found, rows[0].now


async def add_delegation(session: WriteSession, one: DelegationRow) -> bool:
    """Adds it; False when it was added before (the id is the step's own)."""
    row = await session.execute(
        text(
            "INSERT INTO delegations (id, person, delegate, starts_at, until, only_run, run_id, made_by)"
            " VALUES (:id, :person, :delegate, :starts_at, :until, :only_run, :run_id, :made_by)"
            " ON CONFLICT (id) DO NOTHING RETURNING 1"
        ),
        {name: getattr(one, name) for name in ("id", "person", "delegate", "starts_at", "until", "only_run", "run_id", "made_by")},
    )
    return row.first() is not None


async def end_delegations(session: WriteSession, *, person: str, delegate: str, by: str) -> int:
    """Ends every live delegation of this person to this delegate; returns how many there were."""
    rows = await session.execute(
        text(
            "UPDATE delegations SET ended_at = countersign_now(), ended_by = :by WHERE person = :person AND delegate = :delegate"
            " AND ended_at IS NULL AND until > countersign_now() RETURNING 1"
        ),
        {"person": person, "delegate": delegate, "by": by},
    )
    return len(rows.all())
