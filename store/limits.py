"""What limits have counted: one row for each request that one of them concerned, as long as it counts. Only workers write it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Stamp
from .databases import ReadSession, WriteSession


class LimitUseRow(Base):
    __tablename__ = "limit_uses"
    __table_args__ = (Index("ix_limit_uses_counted", "rule", "subject", "used_at"),)

    rule: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    subject: Mapped[str]
    used_at: Mapped[Stamp]


@dataclass(frozen=True)
class Limit:
    """At most `count` uses in any stretch of time `per`, counted for one rule and one subject."""

    rule: str
    subject: str
    count: int
    per: timedelta


# The newest `count` uses that still count; there is room again when the oldest of them stops counting.
_FREE: Final = """
SELECT CASE WHEN count(*) >= :count THEN min(used_at) + cast(:per AS interval) END AS free_at FROM
    (SELECT used_at FROM limit_uses WHERE rule = :rule AND subject = :subject AND used_at > countersign_now() - cast(:per AS interval)
     ORDER BY used_at DESC LIMIT :count) AS counted
"""


async def find_free(session: ReadSession, limit: Limit) -> datetime | None:
    """When there is room again; None when there is room now."""
    free: datetime | None = (await session.execute(text(_FREE), _values(limit))).scalar_one()
    return free


async def use(session: WriteSession, limit: Limit, run: UUID) -> datetime | None:
    """Counts the run, once however often it is asked; None when it is counted, else when there is room again.

    One after the other for each rule and subject, so that two requests at the same instant do not both take the last use.
    """
    values = _values(limit) | {"run": run}
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:rule || chr(1) || :subject, 0))"), values)
    if (await session.execute(text("SELECT 1 FROM limit_uses WHERE rule = :rule AND run_id = :run"), values)).first():
        return None
    free = await find_free(session, limit)
    if free is not None:
        return free
    await session.execute(
        text("DELETE FROM limit_uses WHERE rule = :rule AND subject = :subject AND used_at <= countersign_now() - cast(:per AS interval)"),
        values,
    )
    await session.execute(text("INSERT INTO limit_uses (rule, subject, run_id) VALUES (:rule, :subject, :run)"), values)
    return None


def _values(limit: Limit) -> dict[str, object]:
    return {"rule": limit.rule, "subject": limit.subject, "count": limit.count, "per": limit.per}
