"""Lanes: when the next message may go to a place, and how often a platform may be asked for one thing, for all senders together."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import Double, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base
from .databases import WriteSession

PAUSE: Final = 1.0
"""Seconds between the end of one write to a place and the beginning of the next."""
HOLD: Final = 30
"""Seconds for which a message that is on its way has its place to itself; after a crash, until somebody else may go on."""


class LaneRow(Base):
    """`PLATFORM PLACE` is one place, which one message at a time has to itself; `PLATFORM:ACTION` is a budget.

    A budget gives one call `every` so many seconds since `free_at`, and at most `burst` at once after a while without.
    """

    __tablename__ = "lanes"
    __table_args__ = (
        Index("ix_lanes_held_by", "held_by", postgresql_where=text("held_by IS NOT NULL")),
        Index("ix_lanes_budget", "lane", postgresql_where=text("every IS NOT NULL")),
    )

    lane: Mapped[str] = mapped_column(primary_key=True)
    free_at: Mapped[datetime]
    held_by: Mapped[UUID | None]
    every: Mapped[float | None] = mapped_column(Double)
    burst: Mapped[int | None]


def lane_of(platform: str, place: str) -> str:
    """The name of a place's lane, as the column `lane` of a message has it."""
    return f"{platform} {place}"


ENTERING: Final = """ON CONFLICT (lane) DO UPDATE SET free_at = excluded.free_at, held_by = excluded.held_by
WHERE s.free_at <= countersign_now() AND s.every IS NULL"""
"""How a statement enters lanes `s` that are free: whoever comes second finds them taken."""
HELD: Final = f"countersign_now() + interval '{HOLD} seconds'"
LEAVING: Final = f"UPDATE lanes SET free_at = countersign_now() + interval '{PAUSE} seconds', held_by = NULL WHERE held_by = ANY({{ids}})"  # noqa: S608
"""How a statement leaves the lanes that these messages had."""
_ENTER = text(f"""
WITH entered AS (INSERT INTO lanes AS s (lane, free_at, held_by) VALUES (:lane, {HELD}, :message) {ENTERING} RETURNING 1)
SELECT CASE WHEN EXISTS (SELECT FROM entered) THEN 0
            ELSE coalesce((SELECT CASE WHEN held_by IS NOT NULL THEN {PAUSE} ELSE extract(epoch FROM free_at - countersign_now()) END
                           FROM lanes WHERE lane = :lane), 0) + 0.05 END AS seconds
""")  # noqa: S608  built from constants


async def enter_lane(session: WriteSession, lane: str, message: UUID) -> float:
    """Gives the message this lane too and returns 0; where another has it, the seconds after which to ask again."""
    row = await session.execute(_ENTER, {"lane": lane, "message": message})
    return float(row.scalar_one())


async def hold_lane(session: WriteSession, lane: str, *, seconds: float) -> None:
    """Nobody goes there, or does that, for so many seconds: the platform said so."""
    await session.execute(
        text(
            "INSERT INTO lanes AS s (lane, free_at) VALUES (:lane, countersign_now() + cast(:seconds AS interval))"
            " ON CONFLICT (lane) DO UPDATE SET free_at = greatest(s.free_at, excluded.free_at)"
        ),
        {"lane": lane, "seconds": f"{seconds} seconds"},
    )


async def keep_budgets(session: WriteSession, budgets: Mapping[str, tuple[float, int]]) -> None:
    """Says how often each action may be done, as every sender does when it starts: seconds for each, and how many at once."""
    rows: Sequence[object] = [{"lane": lane, "every": every, "burst": burst} for lane, (every, burst) in sorted(budgets.items())]
    await session.execute(
        text(
            "INSERT INTO lanes (lane, free_at, every, burst)"
            " SELECT lane, countersign_now() - every * burst * interval '1 second', every, burst"
            " FROM jsonb_to_recordset(cast(:rows AS jsonb)) AS b(lane text, every float8, burst int) ORDER BY lane"
            " ON CONFLICT (lane) DO UPDATE SET every = excluded.every, burst = excluded.burst"
        ),
        {"rows": Jsonb(rows)},
    )
