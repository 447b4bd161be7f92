"""Claims: a run held by one worker under an attempt until its lease ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.rows import tuple_row
from sqlalchemy import text

from countersign.runs import RunId, RunStatus

from .databases import ReadSession, WriteDriver, WriteSession, driver_under
from .drivers import plain
from .workers import OFFERED_SECONDS, offered, waking


@dataclass(frozen=True)
class Claim:
    """A run held by this worker under `attempt` until its lease ends, claimed `at` this time."""

    run_id: RunId
    attempt: int
    status: RunStatus
    failures: int
    at: datetime


CLAIMED: Final = f"""
WITH chosen AS (SELECT id, status, lease_until IS NOT NULL AS lost FROM runs r
                WHERE id = ANY(:ids) AND status = ANY(:statuses) AND due_at <= countersign_now()
                  AND (lease_until IS NULL OR lease_until < countersign_now())
                  AND (label = '' OR label = ANY(:labels)) AND (code_version = ANY(:versions) OR NOT {offered("cast(:offered AS float)")})
                FOR UPDATE SKIP LOCKED),
held AS (UPDATE runs r SET worker = :worker, attempt = r.attempt + 1, lease_until = countersign_now() + cast(:lease AS interval),
                failures = r.failures + c.lost::int
         FROM chosen c WHERE r.id = c.id RETURNING r.id, r.attempt, r.status, r.failures, c.lost, r AS whole),
noted AS (INSERT INTO audit_events (id, canonical)
          SELECT gen_random_uuid(), json_build_object('kind', 'run:reclaimed', 'actor', 'countersign', 'run', h.id, 'detail',
                 jsonb_build_object('worker', cast(:worker AS text), 'attempt', h.attempt, 'status', h.status))::text
          FROM held h WHERE h.lost)
"""  # noqa: S608  built from constants
_CLAIM: Final = text(f"{CLAIMED.replace(', r AS whole', '')}SELECT id, attempt, status, failures, countersign_now() AS at FROM held")  # noqa: S608


async def claim(
    session: WriteSession,
    ids: Sequence[UUID],
    *,
    statuses: Sequence[RunStatus],
    worker: str,
    lease: float,
    versions: Sequence[str],
    unoffered: float = OFFERED_SECONDS,
    labels: Sequence[str] = (),
) -> list[Claim]:
    """Claims those of these runs that are due, unclaimed or whose lease has ended, and whose code this worker has.

    Or whose code nobody has offered for `unoffered` seconds. A run with a label is left to workers that have it. `lease` is in seconds.
    The attempt is counted here; a claim of a run whose lease had ended counts as one failure.
    """
    take = claiming(statuses=statuses, worker=worker, lease=lease, versions=versions, unoffered=unoffered, labels=labels)
    rows = await session.execute(_CLAIM, take | {"ids": list(ids)})
    return [Claim(row.id, row.attempt, RunStatus(row.status), row.failures, row.at) for row in rows]


def claiming(
    *,
    statuses: Sequence[RunStatus],
    worker: str,
    lease: float,
    versions: Sequence[str],
    unoffered: float = OFFERED_SECONDS,
    labels: Sequence[str] = (),
) -> dict[str, Any]:
    """The parameters of `CLAIMED`, but for the runs."""
    seconds = {"lease": f"{lease} seconds", "offered": unoffered}
    return seconds | {"worker": worker, "versions": list(versions), "labels": list(labels), "statuses": list(statuses)}


_GIVE_BACK = text("""
WITH given AS (UPDATE runs SET worker = NULL, lease_until = NULL, due_at = countersign_now() + :after * interval '1 second'
               WHERE id = :id AND attempt = :attempt AND worker IS NOT NULL RETURNING id),
noted AS (INSERT INTO audit_events (id, canonical)
          SELECT gen_random_uuid(), json_build_object('kind', 'run:given_back', 'actor', 'countersign', 'run', id, 'detail',
                 json_build_object('worker', cast(:worker AS text), 'attempt', cast(:attempt AS int)))::text FROM given),
woken AS (SELECT pg_notify('countersign_work', 'execute ' || id) FROM given)
SELECT id, (SELECT count(*) FROM woken) AS woken FROM given
""")


async def give_back(session: WriteSession, run_id: UUID, *, attempt: int, worker: str, after: float = 0.0) -> bool:
    """Ends the claim of a run that a worker goes on with at once, or `after` seconds: nothing went wrong. False: the claim was lost."""
    row = await session.execute(_GIVE_BACK, {"id": run_id, "attempt": attempt, "worker": worker, "after": after})
    return row.first() is not None


async def put_off(session: WriteSession, run_id: UUID, *, attempt: int, until: datetime, outcome: str) -> bool:
    """Ends the claim of a run that may not be planned or begun yet; it is due again at `until`. False when the claim was lost."""
    row = await session.execute(
        text(
            "UPDATE runs SET worker = NULL, lease_until = NULL, due_at = :until, outcome = :outcome"
            " WHERE id = :id AND status IN ('planning', 'queued') AND attempt = :attempt AND worker IS NOT NULL RETURNING 1"
        ),
        {"id": run_id, "attempt": attempt, "until": until, "outcome": outcome},
    )
    return row.first() is not None


RENEW_PLAIN: Final = (
    "UPDATE runs SET lease_until = countersign_now() + %(lease)s::interval"
    " WHERE id = ANY(%(ids)s) AND worker = %(worker)s AND lease_until > countersign_now()"
)
"""Extends those of these leases that `worker` still holds; for the leases thread, which has a plain connection of its own."""


_RELEASE: Final = text(f"""
WITH ended AS (UPDATE runs SET lease_until = countersign_now() - interval '1 second'
               WHERE starts_with(worker, :slot) AND worker <> :but AND lease_until > countersign_now() RETURNING id, label, status),
woken AS (SELECT pg_notify('countersign_work', w) FROM
          ({waking("plan", "ended WHERE status = 'planning'")}
           UNION ALL {waking("execute", "ended WHERE status <> 'planning'")}) AS wakes)
SELECT (SELECT count(*) FROM ended) AS ended, (SELECT count(*) FROM woken) AS woken
""")  # noqa: S608  built from constants
RELEASE_PLAIN: Final = plain(_RELEASE)
"""What `release` does, for a process that has no session yet."""


async def release(session: WriteSession, *, slot: str, but: str) -> int:
    """Ends the leases of earlier processes of a supervised slot, which are known to be gone, and wakes others for their runs.

    `but` is the one living now. Returns how many there were.
    """
    return int((await session.execute(_RELEASE, {"slot": slot, "but": but})).one().ended)


# Line by line through the index: however many runs wait in one line, no more of them are read than are wanted.
_DUE: Final = text("""
WITH RECURSIVE lines AS (
  (SELECT label, rank, line FROM runs WHERE due_at IS NOT NULL AND label = :label ORDER BY label, rank DESC, line LIMIT 1)
  UNION ALL SELECT n.* FROM lines l, LATERAL (SELECT * FROM (
    (SELECT label, rank, line FROM runs WHERE due_at IS NOT NULL AND label = l.label AND rank = l.rank AND line > l.line
     ORDER BY line LIMIT 1)
    UNION ALL
    (SELECT label, rank, line FROM runs WHERE due_at IS NOT NULL AND label = l.label AND rank < l.rank
     ORDER BY label, rank DESC, line LIMIT 1)) two ORDER BY rank DESC, line LIMIT 1) n)
SELECT d.id FROM lines l, LATERAL (
  SELECT id, due_at, row_number() OVER (ORDER BY due_at, number) AS place FROM runs r
  WHERE label = l.label AND rank = l.rank AND line = l.line AND status = ANY(:statuses)
        AND due_at <= countersign_now() - cast(:quiet AS interval) AND (lease_until IS NULL OR lease_until < countersign_now())
  ORDER BY due_at, number LIMIT :limit) d
ORDER BY l.rank DESC, d.place, d.due_at LIMIT :limit
""")


_UNDER_WAY: Final = 100  # more than any rank: what has begun holds locks, and people look at it


async def find_due(session: ReadSession, *, statuses: Sequence[RunStatus], quiet: float, limit: int, label: str = "") -> list[UUID]:
    """Runs with this label that a worker should take: due for `quiet` seconds, and unclaimed or with an ended lease.

    The highest rank first, then one of each line in turn, the oldest of a line first.
    """
    rows = await session.execute(_DUE, {"statuses": list(statuses), "quiet": f"{quiet} seconds", "limit": limit, "label": label})
    return [row.id for row in rows]


_READY: Final = """SELECT count(*) FROM (SELECT FROM runs WHERE status = 'queued' AND due_at <= countersign_now() AND worker IS NULL
                                      LIMIT %s) AS ready"""


async def count_ready(driver: WriteDriver, *, most: int) -> int:
    """How many runs may be carried out now and are not claimed; no more than `most` are counted. This writes nothing."""
    async with driver.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_READY, [most])
        return int((await cursor.fetchall())[0][0])


_LINES: Final = f"""SELECT id, rank + CASE WHEN status IN ('running', 'undoing') THEN {_UNDER_WAY} ELSE 0 END, line
                    FROM runs WHERE id = ANY(%s)"""  # noqa: S608  built from constants


async def find_lines(through: ReadSession | WriteDriver, ids: Sequence[UUID]) -> dict[UUID, tuple[int, str]]:
    """The rank and the line of each of these runs, those under way before those that have not begun; unknown ids are left out."""
    async with (await driver_under(through)).cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_LINES, [list(ids)])
        return {run: (rank, line) for run, rank, line in await cursor.fetchall()}
