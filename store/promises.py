"""The hub's own promises, measured: what was lost, what was done twice, and what should have moved by now and has not."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Stamp
from .databases import ReadSession, WriteSession
from .runs import RunRow

LATE_SECONDS: Final = 60.0
"""What is due for longer than this is late: a lost hint costs two seconds, a dead worker its lease."""
MARGIN_SECONDS: Final = 30.0
"""No request is still being written when so much time has passed: its door gave up long before."""


class PromiseRow(Base):
    """`promise` is `lost` or `doubled`, `what` is what of; `count` only grows, `example` is the latest one."""

    __tablename__ = "promises"

    promise: Mapped[str] = mapped_column(primary_key=True)
    what: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    example: Mapped[str] = mapped_column(server_default=text("''"))
    broken_at: Mapped[datetime | None]
    looked_at: Mapped[Stamp]


Index(
    "ix_runs_adrift",
    RunRow.id,
    postgresql_where=text("due_at IS NULL AND status IN ('submitted', 'planning', 'queued', 'running', 'undoing')"),
)


@dataclass(frozen=True)
class Promise:
    """How often a promise was broken since the hub was set up, the latest example, and how many seconds ago somebody looked last."""

    promise: str
    what: str
    count: int
    example: str
    broken_at: datetime | None
    looked: float


@dataclass(frozen=True)
class Late:
    """What is late now: how many, for how many seconds the one that waits longest, and that one."""

    what: str
    count: int
    seconds: float
    example: str


KINDS_OF_LATE: Final = ("planning", "executing", "adrift", "wake", "expiry", "schedule", "delivery")
"""A run to plan, to execute, one that no worker will ever find, one that waits too long, a request, a schedule, a trigger's delivery."""


async def look_for_lost(session: WriteSession) -> int:
    """Counts what was accepted since the last look and is nowhere: keys of requests whose run is missing, deliveries that nobody has.

    Returns how many. Any number of processes may do it: one of them does.
    """
    return int((await session.execute(_LOST, {"margin": MARGIN_SECONDS})).scalar_one())


async def find_promises(session: ReadSession) -> list[Promise]:
    """How often each promise was broken."""
    rows = await session.execute(
        text(
            "SELECT promise, what, count AS broken, example, broken_at, extract(epoch FROM countersign_now() - looked_at) AS looked"
            " FROM promises ORDER BY promise DESC, what"
        )
    )
    return [Promise(row.promise, row.what, row.broken, row.example, row.broken_at, max(0.0, float(row.looked))) for row in rows]


async def find_late(session: ReadSession) -> list[Late]:
    """What is late at this moment, each of KINDS_OF_LATE, with a count of 0 where nothing is."""
    found = {row.what: row for row in await session.execute(_LATE, {"late": LATE_SECONDS})}
    return [
        Late(what, found[what].n, float(found[what].seconds), found[what].example) if what in found else Late(what, 0, 0.0, "")
        for what in KINDS_OF_LATE
    ]


_LOST: Final = text("""
WITH due AS MATERIALIZED (SELECT promise, what, looked_at, countersign_now() - make_interval(secs => :margin) AS upto
                          FROM promises FOR UPDATE SKIP LOCKED),
missing AS (SELECT d.what, count(*) AS n, max(i.key) AS example FROM due d JOIN inbox i ON i.received_at > d.looked_at
              AND i.received_at <= d.upto AND i.run_id IS NOT NULL AND NOT EXISTS (SELECT FROM runs r WHERE r.id = i.run_id)
            WHERE d.promise = 'lost' AND d.what = 'request' GROUP BY d.what
            UNION ALL
            SELECT d.what, count(*), max(v.id::text) FROM due d JOIN deliveries v ON v.received_at > d.looked_at
              AND v.received_at <= d.upto AND v.state = 'waiting' AND v.due_at IS NULL
            WHERE d.promise = 'lost' AND d.what = 'delivery' GROUP BY d.what),
looked AS (UPDATE promises p SET looked_at = greatest(p.looked_at, d.upto), count = p.count + coalesce(m.n, 0),
                  example = coalesce(left(m.example, 100), p.example),
                  broken_at = CASE WHEN m.n IS NULL THEN p.broken_at ELSE countersign_now() END
           FROM due d LEFT JOIN missing m ON d.promise = 'lost' AND m.what = d.what WHERE p.promise = d.promise AND p.what = d.what)
SELECT coalesce(sum(n), 0) FROM missing
""")
_LATE: Final = text("""
WITH moment AS MATERIALIZED (SELECT countersign_now() AS now, countersign_now() - make_interval(secs => :late) AS late),
waiting AS (
  SELECT CASE WHEN r.status IN ('submitted', 'planning') THEN 'planning' ELSE 'executing' END AS what,
         greatest(r.due_at, r.lease_until) AS since, 'run ' || r.number AS example
  FROM runs r WHERE r.status IN ('submitted', 'planning', 'queued', 'running', 'undoing') AND r.due_at < (SELECT late FROM moment)
    AND (r.lease_until IS NULL OR r.lease_until < (SELECT late FROM moment))
  UNION ALL
  SELECT 'adrift', r.moved_at, 'run ' || r.number
  FROM runs r WHERE r.due_at IS NULL AND r.status IN ('submitted', 'planning', 'queued', 'running', 'undoing')
    AND r.moved_at < (SELECT late FROM moment)
    AND NOT EXISTS (SELECT FROM waits w WHERE w.run_id = r.id) AND NOT EXISTS (SELECT FROM holds h WHERE h.run_id = r.id)
  UNION ALL
  SELECT 'adrift', r.moved_at, 'run ' || r.number
  FROM runs r WHERE r.status = 'waiting' AND r.moved_at < (SELECT late FROM moment)
    AND NOT EXISTS (SELECT FROM waits w WHERE w.run_id = r.id) AND NOT EXISTS (SELECT FROM holds h WHERE h.run_id = r.id)
  UNION ALL
  SELECT 'wake', w.due_at, 'run ' || r.number FROM waits w JOIN runs r ON r.id = w.run_id
  WHERE w.due_at < (SELECT late FROM moment) AND r.due_at IS NULL AND r.status IN ('waiting', 'queued', 'undoing')
    AND NOT EXISTS (SELECT FROM holds h WHERE h.run_id = r.id)
  UNION ALL
  SELECT 'expiry', a.expires_at, 'run ' || r.number FROM approval_requests a JOIN runs r ON r.id = a.run_id
  WHERE a.state = 'open' AND a.expires_at < (SELECT late FROM moment)
  UNION ALL
  SELECT 'schedule', s.next_at, 'schedule ' || s.name FROM schedules s WHERE s.next_at < (SELECT late FROM moment)
  UNION ALL
  SELECT 'delivery', d.due_at, 'delivery ' || d.id FROM deliveries d WHERE d.due_at < (SELECT late FROM moment))
SELECT what, count(*) AS n, extract(epoch FROM (SELECT now FROM moment) - min(since)) AS seconds,
       (array_agg(example ORDER BY since))[1] AS example
FROM waiting GROUP BY what
""")
