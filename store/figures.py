"""Figures about the runs of the last days, counted by half hours (migration 0037): how they ended, who decided, how commands do."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column

from countersign.runs import RunStatus

from .bases import Base
from .databases import ReadSession
from .listings import exactly


class RunSlotRow(Base):
    """How many runs of a command were asked for in one half hour, without dry runs, and how they have ended so far."""

    __tablename__ = "run_slots"

    slot: Mapped[datetime] = mapped_column(primary_key=True)
    command: Mapped[str] = mapped_column(primary_key=True)
    asked: Mapped[int]
    good: Mapped[int]
    bad: Mapped[int]


class VoteSlotRow(Base):
    """How somebody voted on the runs of one half hour; what was taken back is not counted."""

    __tablename__ = "vote_slots"

    slot: Mapped[datetime] = mapped_column(primary_key=True)
    person: Mapped[str] = mapped_column(primary_key=True)
    approved: Mapped[int]
    denied: Mapped[int]


# A run's number grows with its age, so that a span of days is a span of the number's index.
_SINCE: Final = (
    "number >= countersign_number_at(cast(:since AS timestamptz) - interval '1 minute') AND created_at >= :since AND NOT dry_run"
)
_GOOD: Final = (RunStatus.succeeded, RunStatus.answered)
_BAD: Final = (RunStatus.failed, RunStatus.rolled_back, RunStatus.rollback_failed, RunStatus.interrupted)
# What the housekeeper has counted, and what is newer than its last turn as it is.
_COUNTED: Final = """
WITH mark AS MATERIALIZED (SELECT greatest(cast(:since AS timestamptz), date_bin('30 minutes', to_timestamp(at_us / 1000000.0),
            '2000-01-01 00:00:00+00')) AS upto FROM audit_marks WHERE name = 'searched'),
fresh AS MATERIALIZED (SELECT r.* FROM mark CROSS JOIN LATERAL (SELECT * FROM counted_runs
            WHERE number >= countersign_number_at(mark.upto - interval '1 minute') AND created_at >= mark.upto) r),
"""
_RUNS: Final = f"""{_COUNTED} runs_of AS (
    SELECT slot, command, asked, good, bad FROM run_slots, mark WHERE slot >= :since AND slot < mark.upto
    UNION ALL SELECT slot, command, 1, good::int, bad::int FROM fresh)
"""  # noqa: S608  built from constants
_DAYS: Final = text(f"""{_RUNS}
SELECT (slot AT TIME ZONE :zone)::date AS day, sum(good) AS good, sum(bad) AS bad, sum(asked) AS asked FROM runs_of GROUP BY 1 ORDER BY 1
""")  # noqa: S608  built from constants
_COMMANDS: Final = text(f"""{_RUNS}
SELECT command, sum(good) AS good, sum(bad) AS bad, sum(asked) AS asked FROM runs_of GROUP BY command ORDER BY asked DESC, command
""")  # noqa: S608  built from constants
_DECIDERS: Final = text(f"""{_COUNTED} votes_of AS (
    SELECT person, approved, denied FROM vote_slots, mark WHERE slot >= :since AND slot < mark.upto
    UNION ALL SELECT d.person, (d.verdict = 'approve')::int, (d.verdict = 'deny')::int FROM fresh r JOIN decisions d ON d.run_id = r.id
    WHERE d.withdrawn_at IS NULL)
SELECT person, sum(approved) AS approved, sum(denied) AS denied FROM votes_of GROUP BY person
HAVING sum(approved + denied) > 0 ORDER BY sum(approved + denied) DESC, person LIMIT 20
""")  # noqa: S608  built from constants
LATEST: Final = 200
USED_DAYS: Final = 90
PROVEN_DAYS: Final = 30
_USED: Final = text(f"""
SELECT c.name AS command, l.asked, l.good, l.bad, l.last_at,
       EXISTS (SELECT FROM provings WHERE command = c.name AND proven_at > countersign_now() - interval '{PROVEN_DAYS} days') AS proven
FROM unnest(cast(:names AS text[])) AS c(name) CROSS JOIN LATERAL (
  SELECT count(*) AS asked, count(*) FILTER (WHERE status = ANY(:good)) AS good, count(*) FILTER (WHERE status = ANY(:bad)) AS bad,
         max(created_at) AS last_at
  FROM (SELECT status, created_at FROM runs WHERE {exactly("command", "c.name")} AND NOT dry_run ORDER BY number DESC LIMIT {LATEST}) latest
  WHERE created_at > countersign_now() - interval '{USED_DAYS} days') l
""")  # noqa: S608  built from constants


_REVIEWED: Final = text(f"""
SELECT to_timestamp(e.at_us / 1000000.0) AS at, coalesce(d.detail -> 'kept', '[]') AS kept,
       coalesce(d.detail -> 'to_give_up', '[]') AS to_give_up
FROM (SELECT id, number FROM runs WHERE {exactly("command", ":review")} ORDER BY number DESC LIMIT :latest) r
JOIN audit_events e ON e.run_id = r.id AND e.kind = 'catalogue:reviewed'
CROSS JOIN LATERAL (SELECT audit_detail(e.canonical, e.payload) AS detail) d ORDER BY r.number DESC
""")  # noqa: S608  built from constants
_SAVINGS: Final = text(f"""
SELECT to_char(created_at AT TIME ZONE :zone, 'YYYY-MM') AS month, command, asker, count(*) FILTER (WHERE status = 'succeeded') AS good,
       count(*) FILTER (WHERE status = ANY(:bad)) AS bad
FROM runs WHERE {_SINCE} AND command = ANY(:commands) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
""")  # noqa: S608  built from constants
_APPROVALS: Final = text(f"""
SELECT count(*) FILTER (WHERE q.state IN ('approved', 'denied')) AS decided, count(*) FILTER (WHERE q.state = 'denied') AS denied,
       count(*) FILTER (WHERE q.state = 'expired') AS expired,
       extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY q.closed_at - q.opened_at)
         FILTER (WHERE q.state IN ('approved', 'denied'))) AS median,
       extract(epoch FROM percentile_cont(0.9) WITHIN GROUP (ORDER BY q.closed_at - q.opened_at)
         FILTER (WHERE q.state IN ('approved', 'denied'))) AS nine_of_ten
FROM approval_requests q JOIN (SELECT id FROM runs WHERE {_SINCE}) r ON r.id = q.run_id WHERE q.via = ''
""")  # noqa: S608  built from constants
_ENDS: Final = text(f"""
SELECT command, status, count(*) AS asked FROM runs WHERE {_SINCE} AND created_at < :until GROUP BY 1, 2 ORDER BY 1, 2
""")  # noqa: S608  built from constants


async def find_savings(session: ReadSession, since: datetime, *, zone: str, commands: Sequence[str]) -> list[Any]:
    """By month of the zone, these commands, and who asked: month, command, asker, good (succeeded), bad; without dry runs."""
    values = {"since": since, "zone": zone, "commands": list(commands), "bad": [one.value for one in _BAD]}
    return list((await session.execute(_SAVINGS, values)).all()) if commands else []


async def find_approvals(session: ReadSession, since: datetime) -> Any:
    """Of requests about runs of that time: decided, denied, expired, and the median and nine_of_ten of their seconds, if any."""
    return (await session.execute(_APPROVALS, {"since": since})).one()


async def find_ends(session: ReadSession, since: datetime, until: datetime) -> dict[str, dict[str, int]]:
    """How many runs asked for in that time each command has in each status now, by its name; without dry runs."""
    found: dict[str, dict[str, int]] = {}
    for row in await session.execute(_ENDS, {"since": since, "until": until}):
        found.setdefault(row.command, {})[row.status] = row.asked
    return found


async def find_days(session: ReadSession, since: datetime, *, zone: str) -> list[Any]:
    """For each day of the zone with runs: day, good, bad, asked; dry runs are left out."""
    return list((await session.execute(_DAYS, {"since": since, "zone": zone})).all())


async def find_commands(session: ReadSession, since: datetime) -> list[Any]:
    """For each command that was asked for: command, good, bad, asked; the one asked most first."""
    return list((await session.execute(_COMMANDS, {"since": since})).all())


async def find_deciders(session: ReadSession, since: datetime) -> list[Any]:
    """Whose votes counted on runs of that time: person, approved, denied; the busiest twenty."""
    rows = await session.execute(_DECIDERS, {"since": since})
    return list(rows.all())


async def find_reviewed(session: ReadSession, review: str, *, latest: int) -> dict[str, tuple[datetime, bool]]:
    """When each command was last reviewed, and whether it is to be given up, in the latest so many runs of this command; by name."""
    found: dict[str, tuple[datetime, bool]] = {}
    for row in await session.execute(_REVIEWED, {"review": review, "latest": latest}):
        for name in (*row.kept, *row.to_give_up):
            found.setdefault(name, (row.at, name in row.to_give_up))
    return found


async def find_used(session: ReadSession, commands: Sequence[str]) -> dict[str, Any]:
    """How each of these commands did in the latest LATEST runs of the last USED_DAYS days: asked, good, bad, last_at; by name.

    `proven`: an undo of it has worked in the last PROVEN_DAYS days.
    """
    values = {"names": list(commands), "good": [one.value for one in _GOOD], "bad": [one.value for one in _BAD]}
    return {row.command: row for row in await session.execute(_USED, values)}
