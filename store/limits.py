"""What limits have counted: one row for each request or call that one of them concerned, as long as it counts. Only workers write it.

A request that finds no room is refused. A call of an integration is given a turn, now or later: the row of a turn that is to come counts
already, so calls have their turns in the order in which they asked, and nobody asks twice.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from countersign.runs import FINISHED

from .bases import Base, Stamp
from .databases import ReadSession, WriteSession

LATE: Final = 10.0
"""Seconds after which a turn that was not taken is over: those of a hub that stood still do not all come at once."""


WHOLE: Final = UUID(int=0)
"""What is counted where it is the run itself and none of its calls."""


class LimitUseRow(Base):
    __tablename__ = "limit_uses"
    __table_args__ = (Index("ix_limit_uses_counted", "rule", "subject", "used_at"),)

    rule: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    call: Mapped[UUID] = mapped_column(primary_key=True, server_default=text(f"'{WHOLE}'"))
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

_ONE_BY_ONE: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:rule || chr(1) || :subject, 0))")
_FORGET: Final = text(
    "DELETE FROM limit_uses WHERE rule = :rule AND subject = :subject AND used_at <= countersign_now() - cast(:per AS interval)"
)
_FORGET_TURNS: Final = text("""
DELETE FROM limit_uses u WHERE rule = :rule AND subject = :subject
AND (used_at <= countersign_now() - cast(:per AS interval) OR (run_id = :run AND call = :call)
     OR (used_at > countersign_now() AND EXISTS (SELECT FROM runs r WHERE r.id = u.run_id AND r.status = ANY(:finished))))
""")
_THIS: Final = "rule = :rule AND run_id = :run AND call = :call"
_KNOWN_TURN: Final = text(
    f"SELECT extract(epoch FROM used_at - countersign_now()) FROM limit_uses WHERE {_THIS}"  # noqa: S608  built from constants
    " AND used_at > countersign_now() - :late * interval '1 second'"
)
_TAKE_TURN: Final = text(f"""
INSERT INTO limit_uses (rule, subject, run_id, call, used_at)
SELECT :rule, :subject, :run, :call, greatest(countersign_now(), (SELECT free_at FROM ({_FREE}) AS f))
RETURNING extract(epoch FROM used_at - countersign_now())
""")  # noqa: S608  built from constants
_SPEND: Final = text(f"""
WITH spent AS (DELETE FROM limit_uses WHERE {_THIS} RETURNING *)
INSERT INTO limit_uses (rule, subject, run_id, call, used_at) SELECT rule, subject, run_id, gen_random_uuid(), used_at FROM spent
""")  # noqa: S608  built from constants


async def find_free(session: ReadSession, limit: Limit) -> datetime | None:
    """When there is room again; None when there is room now."""
    free: datetime | None = (await session.execute(text(_FREE), _values(limit))).scalar_one()
    return free


async def use(session: WriteSession, limit: Limit, run: UUID) -> datetime | None:
    """Counts the run, once however often it is asked; None when it is counted, else when there is room again.

    One after the other for each rule and subject, so that two requests at the same instant do not both take the last use.
    """
    values = _values(limit) | {"run": run, "call": WHOLE}
    await session.execute(_ONE_BY_ONE, values)
    if (await session.execute(text("SELECT 1 FROM limit_uses WHERE rule = :rule AND run_id = :run"), values)).first():
        return None
    free = await find_free(session, limit)
    if free is not None:
        return free
    await session.execute(_FORGET, values)
    await session.execute(_TAKE_TURN, values)
    return None


async def take_turn(session: WriteSession, limit: Limit, *, run: UUID, call: UUID) -> float:
    """Counts a call of this run at its turn; returns the seconds until then, 0 when it is now.

    Asked again for the same call it is the same turn, until it has come: then it is spent, and the next call with its name is another.
    Turns of runs that have ended meanwhile are given back first.
    """
    values = _values(limit) | {"run": run, "call": call, "late": LATE, "finished": list(FINISHED)}
    await session.execute(_ONE_BY_ONE, values)
    known = (await session.execute(_KNOWN_TURN, values)).scalar_one_or_none()
    if known is None:
        await session.execute(_FORGET_TURNS, values)
        known = (await session.execute(_TAKE_TURN, values)).scalar_one()
    if known > 0:
        return float(known)
    await session.execute(_SPEND, values)
    return 0.0


async def give_turn_back(session: WriteSession, limit: Limit, *, run: UUID, call: UUID) -> None:
    """The call is not made after all."""
    values = {"rule": limit.rule, "run": run, "call": call}
    await session.execute(text(f"DELETE FROM limit_uses WHERE {_THIS} AND used_at > countersign_now()"), values)  # noqa: S608


def _values(limit: Limit) -> dict[str, object]:
    return {"rule": limit.rule, "subject": limit.subject, "count": limit.count, "per": limit.per}
