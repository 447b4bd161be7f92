"""Opened glass: who went past the approvers, why, for how long; and the review that has to follow."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ForeignKey, Index, select, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Stamp
from .databases import ReadSession, WriteSession


class BreakRow(Base):
    __tablename__ = "breaks"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str]
    person: Mapped[str] = mapped_column(ForeignKey("people.name"))
    reason: Mapped[str]
    door: Mapped[str]
    broken_at: Mapped[Stamp]
    until: Mapped[datetime]


class ReviewRow(Base):
    __tablename__ = "reviews"
    __table_args__ = (Index("ix_reviews_open", "next_due", postgresql_where=text("signed_by IS NULL")),)

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    involved: Mapped[list[str]] = mapped_column(ARRAY(TEXT))
    opened_at: Mapped[Stamp]
    next_due: Mapped[datetime | None]
    signed_by: Mapped[str | None]
    signed_at: Mapped[datetime | None]
    finding: Mapped[str] = mapped_column(server_default=text("''"))


async def add_break(
    session: WriteSession, *, run_id: UUID, revision: int, digest: str, person: str, reason: str, door: str, lasts: timedelta
) -> bool:
    """Notes that this person went past the approvers of this revision; False when somebody did already."""
    row = await session.execute(
        text(
            "WITH moment AS MATERIALIZED (SELECT countersign_now() AS now)"
            " INSERT INTO breaks (run_id, revision, digest, person, reason, door, broken_at, until)"
            " SELECT :run, :revision, :digest, :person, :reason, :door, now, now + cast(:lasts AS interval) FROM moment"
            " ON CONFLICT DO NOTHING RETURNING 1"
        ),
        {"run": run_id, "revision": revision, "digest": digest, "person": person, "reason": reason, "door": door, "lasts": lasts},
    )
    return row.first() is not None


async def find_break(session: ReadSession, run_id: UUID, revision: int) -> BreakRow | None:
    return await session.get(BreakRow, (run_id, revision), populate_existing=True)


async def open_review(session: WriteSession, run_id: UUID, *, involved: Sequence[str]) -> bool:
    """Opens the review of a run, once; it is asked for until somebody who was not `involved` signs it."""
    row = await session.execute(
        text(
            "INSERT INTO reviews (run_id, involved, next_due) VALUES (:run, :involved, countersign_now() + interval '1 day')"
            " ON CONFLICT DO NOTHING RETURNING 1"
        ),
        {"run": run_id, "involved": sorted(set(involved))},
    )
    return row.first() is not None


async def find_review(session: ReadSession, run_id: UUID) -> ReviewRow | None:
    return await session.get(ReviewRow, run_id, populate_existing=True)


async def find_open_reviews(session: ReadSession, *, due: bool = False, limit: int = 50) -> list[ReviewRow]:
    """Reviews that nobody has signed, the oldest first; `due` only those to be asked for again now."""
    query = select(ReviewRow).where(ReviewRow.signed_by.is_(None)).order_by(ReviewRow.opened_at).limit(limit)
    return list(await session.scalars(query.where(text("next_due <= countersign_now()")) if due else query))


async def put_review_off(session: WriteSession, run_id: UUID, *, by: timedelta) -> None:
    """The review is asked for again after `by`."""
    await session.execute(
        text("UPDATE reviews SET next_due = countersign_now() + cast(:by AS interval) WHERE run_id = :run"), {"run": run_id, "by": by}
    )


async def sign_review(session: WriteSession, run_id: UUID, *, by: str, finding: str) -> bool:
    """Ends the review; False when it was signed already or this person was involved."""
    row = await session.execute(
        text(
            "UPDATE reviews SET signed_by = :by, signed_at = countersign_now(), finding = :finding"
            " WHERE run_id = :run AND signed_by IS NULL AND NOT :by = ANY(involved) RETURNING 1"
        ),
        {"run": run_id, "by": by, "finding": finding},
    )
    return row.first() is not None
