"""Locks: which runs hold them and which want them, in order. A lock ends with the status of its run: the move is the release.

A row counts while its run is queued, running, waiting, being undone or interrupted, under the plan for which it was made. So nothing
has to be let go of when a run ends, and a worker that dies leaves its run's locks to whoever goes on with the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Stamp
from .databases import ReadSession, WriteSession
from .messages import Priority, telling


class LockRow(Base):
    __tablename__ = "locks"
    __table_args__ = (Index("ix_locks_name", "name"),)

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    revision: Mapped[int]
    most: Mapped[int]
    priority: Mapped[int]
    holds: Mapped[bool]
    since: Mapped[Stamp]


@dataclass(frozen=True)
class Wanted:
    """A lock that a run wants, which at most so many runs hold at once."""

    name: str
    most: int


@dataclass(frozen=True)
class InTheWay:
    """A run that is before another one at a lock: it holds it, or wants it and comes first."""

    name: str
    run_id: UUID
    number: int
    status: str
    visibility: str
    holds: bool
    asker: str


MOST_SHOWN: Final = 10
LIVE: Final = (
    "r.revision = l.revision AND (r.status = 'queued' OR (l.holds AND r.status IN ('running', 'waiting', 'undoing', 'interrupted')))"
)
# Whoever is held back by a kill switch keeps its row and loses its place meanwhile, so that it holds up nobody.
_QUEUE: Final = f"""SELECT l.run_id, l.name, l.most, l.holds, l.priority, l.since, r.number, r.status, r.visibility, r.asker,
       row_number() OVER (PARTITION BY l.name ORDER BY l.holds DESC, l.priority DESC, l.since, r.number) AS place
FROM locks l JOIN runs r ON r.id = l.run_id
WHERE {LIVE} AND (l.holds OR NOT EXISTS (SELECT FROM holds h WHERE h.run_id = l.run_id))"""  # noqa: S608  built from constants
# One after the other for each name, and always in the same order, so that two transactions never wait for each other.
_ALONE = text("""
SELECT count(pg_advisory_xact_lock(key)) FROM
    (SELECT DISTINCT hashtextextended('lock ' || name, 0) AS key FROM unnest(cast(:names AS text[])) AS name ORDER BY key) AS keys
""")
_FORGET = text(f"DELETE FROM locks l USING runs r WHERE r.id = l.run_id AND l.name = ANY(:names) AND NOT ({LIVE})")  # noqa: S608  built from constants
_WANT = text("""
INSERT INTO locks (run_id, name, revision, most, priority, holds, since)
SELECT r.id, w.name, r.revision, w.most, :priority, false, moment.now
FROM jsonb_to_recordset(cast(:wanted AS jsonb)) AS w(name text, most int), (SELECT countersign_now() AS now) AS moment, runs r
WHERE r.id = :run AND r.status = 'queued' AND r.attempt = :attempt AND r.worker IS NOT NULL
ON CONFLICT (run_id, name) DO UPDATE SET most = excluded.most, priority = excluded.priority RETURNING 1
""")
_TAKE = text(f"""
WITH queue AS ({_QUEUE} AND l.name = ANY(:names)),
fits AS (SELECT 1 FROM queue WHERE run_id = :run HAVING count(*) = :count AND bool_and(place <= most))
UPDATE locks SET holds = true WHERE run_id = :run AND name = ANY(:names) AND EXISTS (SELECT FROM fits) RETURNING 1
""")  # noqa: S608  built from constants
_AHEAD = text(f"""
WITH queue AS ({_QUEUE} AND l.name = ANY(:names)),
own AS (SELECT name, place, most FROM queue WHERE run_id = :run)
SELECT q.name, q.run_id, q.number, q.status, q.visibility, q.holds, q.asker FROM queue q LEFT JOIN own o ON o.name = q.name
WHERE q.run_id <> :run AND (o.place IS NULL OR (o.place > o.most AND q.place < o.place)) ORDER BY q.name, q.place
""")  # noqa: S608  built from constants
_ABOVE = text(f"""
WITH RECURSIVE above AS (SELECT parent_id FROM children WHERE run_id = :run
                         UNION SELECT c.parent_id FROM children c JOIN above a ON c.run_id = a.parent_id)
SELECT DISTINCT l.name FROM above a JOIN locks l ON l.run_id = a.parent_id AND l.holds JOIN runs r ON r.id = l.run_id WHERE {LIVE}
""")  # noqa: S608  built from constants
_FREE = text(f"""
WITH wanted AS (SELECT DISTINCT name FROM locks WHERE NOT holds),
queue AS ({_QUEUE} AND l.name IN (SELECT name FROM wanted))
SELECT q.run_id FROM queue q JOIN runs r ON r.id = q.run_id AND r.due_at IS NULL AND r.worker IS NULL AND r.status = 'queued'
GROUP BY q.run_id HAVING NOT bool_or(q.holds) AND bool_and(q.place <= q.most) LIMIT 200
""")  # noqa: S608  built from constants

_SHOW = text(f"""
WITH line AS (SELECT run_id FROM locks WHERE name = ANY(:names) AND NOT holds ORDER BY priority DESC, since LIMIT :most),
shown AS (UPDATE messages m SET {telling(Priority.progress, soon=False)}
          FROM line l WHERE m.run_id = l.run_id AND m.kind <> 'reply' RETURNING 1)
SELECT pg_notify('countersign_work', 'messages') FROM shown LIMIT 1
""")  # noqa: S608  built from constants


async def take_locks(
    session: WriteSession, run_id: UUID, wanted: Sequence[Wanted], *, attempt: int, priority: int
) -> list[InTheWay] | None:
    """Takes all of these locks at once, or none, and gets in line; returns who is in the way, nobody when they are taken.

    None when the claim was lost. What a run above this one holds, which waits for its end, this one has with it. The transaction keeps
    every other run from these locks until it ends.
    """
    held = {row.name for row in await session.execute(_ABOVE, {"run": run_id})}
    wanted = [one for one in wanted if one.name not in held]
    names = sorted(one.name for one in wanted)
    if not names:
        return []
    await session.execute(_ALONE, {"names": names})
    await session.execute(_FORGET, {"names": names})
    values = {"run": run_id, "attempt": attempt, "priority": priority, "wanted": Jsonb([one.__dict__ for one in wanted])}
    if not (await session.execute(_WANT, values)).all():
        return None
    taken = (await session.execute(_TAKE, {"run": run_id, "names": names, "count": len(names)})).all()
    return [] if taken else await find_in_the_way(session, names, run_id=run_id)


async def find_in_the_way(session: ReadSession, names: Sequence[str], *, run_id: UUID) -> list[InTheWay]:
    """Who is before this run at these locks, in order; for a run that wants none of them yet, everybody who holds or wants one."""
    rows = await session.execute(_AHEAD, {"names": list(names), "run": run_id})
    return [InTheWay(row.name, row.run_id, row.number, row.status, row.visibility, row.holds, row.asker) for row in rows]


async def find_lines(session: ReadSession, *, limit: int) -> list[Any]:
    """Who holds and who wants which lock: name, holds, since, and the run's number and command; holders first."""
    rows = await session.execute(
        text(
            "SELECT l.name, l.holds, l.since, r.number, r.command FROM locks l JOIN runs r ON r.id = l.run_id"
            " ORDER BY l.name, l.holds DESC, l.priority DESC, l.since LIMIT :limit"
        ),
        {"limit": limit},
    )
    return list(rows.all())


async def show_line(session: WriteSession, names: Sequence[str]) -> None:
    """Makes the cards current of the runs that are next in line at these locks: somebody else is before them now."""
    await session.execute(_SHOW, {"names": list(names), "most": MOST_SHOWN})


async def let_go(session: WriteSession, run_id: UUID, *, attempt: int) -> None:
    """The run has not begun after all: it keeps its place and holds nothing. Nothing happens when another worker has it already."""
    query = (
        "UPDATE locks SET holds = false WHERE run_id = :run AND holds AND EXISTS (SELECT FROM runs WHERE id = :run AND attempt = :attempt)"
    )
    await session.execute(text(query), {"run": run_id, "attempt": attempt})


async def leave_line(session: WriteSession, run_id: UUID) -> None:
    """The run wants nothing for now: it may not begin before some later time."""
    await session.execute(text("DELETE FROM locks WHERE run_id = :run"), {"run": run_id})


async def find_free(session: ReadSession) -> list[UUID]:
    """At most 200 parked runs whose turn it is at all the locks that they want."""
    return [row.run_id for row in await session.execute(_FREE)]


async def forget_locks(session: WriteSession) -> None:
    """Takes away the rows of runs that have ended; they count no more anyway."""
    await session.execute(text(f"DELETE FROM locks l USING runs r WHERE r.id = l.run_id AND NOT ({LIVE})"))  # noqa: S608  built from constants


async def find_since(session: ReadSession, run_id: UUID) -> datetime | None:
    """Since when the run is in line."""
    row = await session.execute(text("SELECT min(since) FROM locks WHERE run_id = :run"), {"run": run_id})
    since: datetime | None = row.scalar_one()
    return since
