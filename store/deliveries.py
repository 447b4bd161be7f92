"""Taking due messages, each lane's first one, and recording how their delivery ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import text

from .conversations import beneath
from .databases import ReadSession, WriteSession
from .lanes import ENTERING, HELD, LEAVING
from .messages import Priority

_WAITS: Final = "m.due_at IS NOT NULL AND m.dead_at IS NULL"
_DUE: Final = "m.due_at <= countersign_now() AND m.dead_at IS NULL AND (m.lease_until IS NULL OR m.lease_until < countersign_now())"
# What is beneath a card comes after the card itself, and each line after the one before; a line that cannot be delivered holds up none.
_READY: Final = """(m.follows IS NULL OR (EXISTS (SELECT FROM messages f WHERE f.id = m.follows AND f.shown > 0)
 AND NOT EXISTS (SELECT FROM messages e WHERE e.follows = m.follows AND e.line < m.line AND e.shown = 0 AND e.dead_at IS NULL)))"""
# The lanes in which anything waits: one step of the index for each, however much waits in it.
_LANES: Final = f"""waiting AS (
  (SELECT lane FROM messages m WHERE {_WAITS} AND lane > '' ORDER BY lane LIMIT 1)
  UNION ALL
  SELECT (SELECT m.lane FROM messages m WHERE {_WAITS} AND m.lane > w.lane ORDER BY m.lane LIMIT 1)
  FROM waiting w WHERE w.lane IS NOT NULL)"""  # noqa: S608  built from constants
# What a message asks of the platform first, which is what its budget counts.
_ACTION: Final = """m.platform || ':' || CASE WHEN m.remote_id IS NOT NULL THEN 'edit' WHEN m.posting_since IS NOT NULL THEN 'look'
 WHEN m.remote_channel IS NULL AND m.channel = '' THEN 'open' ELSE 'post' END"""
_FIRST: Final = f"""SELECT m.id, m.lane, m.priority, m.due_at, {_ACTION} AS budget FROM messages m"""  # noqa: S608  built from constants
_TAKE = text(f"""
WITH RECURSIVE {_LANES},
heads AS (
  SELECT h.* FROM waiting w CROSS JOIN LATERAL ({_FIRST} WHERE m.lane = w.lane AND {_DUE} AND {_READY}
                                                ORDER BY m.priority, m.due_at LIMIT 1) h
  WHERE w.lane IS NOT NULL AND NOT EXISTS (SELECT FROM lanes s WHERE s.lane = w.lane AND s.free_at > countersign_now())
  UNION ALL
  (SELECT h.* FROM ({_FIRST} WHERE m.lane = '' AND {_DUE} AND {_READY} ORDER BY m.priority, m.due_at LIMIT :limit) h)),
budgets AS (
  SELECT lane, every, floor(extract(epoch FROM countersign_now()
         - greatest(free_at, countersign_now() - burst * every * interval '1 second')) / every + 0.001) AS calls
  FROM lanes WHERE every IS NOT NULL ORDER BY lane FOR UPDATE),
ranked AS (SELECT h.*, row_number() OVER (PARTITION BY budget ORDER BY priority, due_at) AS place FROM heads h),
allowed AS (
  SELECT r.* FROM ranked r LEFT JOIN budgets b ON b.lane = r.budget AND r.lane <> '' WHERE b.lane IS NULL OR r.place <= b.calls
  ORDER BY r.priority, r.due_at LIMIT :limit),
locked AS (SELECT m.id, m.lane, m.posting_since, m.follows FROM messages m WHERE m.id IN (SELECT id FROM allowed) AND {_DUE}
           FOR UPDATE SKIP LOCKED),
entered AS (INSERT INTO lanes AS s (lane, free_at, held_by) SELECT DISTINCT ON (lane) lane, {HELD}, id FROM locked
            WHERE lane <> '' ORDER BY lane
            {ENTERING} RETURNING held_by),
spent AS (
  UPDATE lanes s SET free_at = greatest(s.free_at, countersign_now() - s.burst * s.every * interval '1 second')
                               + u.n * s.every * interval '1 second'
  FROM (SELECT budget, count(*) AS n FROM allowed WHERE id IN (SELECT held_by FROM entered) GROUP BY budget) u
  WHERE s.lane = u.budget AND s.every IS NOT NULL)
UPDATE messages m SET lease_until = {HELD}, attempts = m.attempts + 1, posting_since = CASE
       WHEN m.remote_id IS NULL AND m.platform <> 'room' THEN coalesce(m.posting_since, countersign_now()) END
FROM locked c LEFT JOIN messages f ON f.id = c.follows WHERE m.id = c.id AND (c.lane = '' OR c.id IN (SELECT held_by FROM entered))
RETURNING m.id, m.run_id, m.alert_group_id, m.kind, m.platform, m.team, m.channel, m.thread, m.person, m.wanted, m.shown, m.attempts,
          m.due_at, c.posting_since,
          m.remote_channel, m.remote_id, m.card, m.account, m.created_at, m.follows, m.file, m.lane, m.priority,
          f.remote_channel AS card_channel,
          CASE WHEN f.thread <> '' AND f.remote_channel = f.channel THEN f.thread ELSE f.remote_id END AS card_thread,
          coalesce(m.answer_to, (SELECT r.answer_to FROM runs r WHERE r.id = m.run_id AND m.kind = 'reply')) AS answer_to
""")  # noqa: S608  built from constants


async def take_due(session: WriteSession, *, limit: int) -> list[Any]:
    """Takes due messages for 30 s: of each lane that is free the first one, by priority; a reply's `answer_to` is its own or its run's.

    The lanes and the budgets of what is taken are taken with it, so any number of senders keep to one pace.
    Intent before effect: what is to be posted is marked with the taking, and whoever takes it again after a crash sees `posting_since`,
    so that a post whose outcome is unclear is looked for before it is made again. What `follows` a card goes into `card_thread` of
    `card_channel`.
    """
    return list((await session.execute(_TAKE, {"limit": limit})).all())


@dataclass(frozen=True)
class Delivered:
    """What is shown now: the version of the run's state, the card, and where the platform keeps it; `first` when it was not before.

    `due` is when the message was due as it was taken: one that is due later has been wanted at once since then.
    """

    id: UUID
    version: int
    card: dict[str, Any]
    remote_channel: str | None = None
    remote_id: str | None = None
    first: bool = False
    due: datetime | None = None


_DONE = text(f"""
WITH done AS (UPDATE messages m SET shown = d.version, card = d.card, remote_channel = coalesce(d.remote_channel, m.remote_channel),
       remote_id = coalesce(d.remote_id, m.remote_id), edited_at = countersign_now(), lease_until = NULL, attempts = 0,
       posting_since = NULL, error = '', wanted_at = CASE WHEN m.wanted > d.version AND m.kind <> 'reply' THEN countersign_now() END,
       priority = CASE WHEN m.due_at > d.due THEN m.priority ELSE {Priority.progress} END,
       due_at = CASE WHEN m.wanted > d.version AND m.kind <> 'reply' THEN countersign_now()
                     + CASE WHEN m.due_at > d.due THEN interval '0' ELSE interval '2 seconds' END END
FROM jsonb_to_recordset(cast(:rows AS jsonb)) AS d(id uuid, version int, card jsonb, remote_channel text, remote_id text, first bool,
     due timestamptz)
WHERE m.id = d.id RETURNING m.id, m.run_id, m.kind, m.platform, m.team, m.channel, m.remote_channel, m.person, d.first),
left_free AS ({LEAVING.format(ids="SELECT id FROM done")}),
beneath AS ({beneath("(SELECT * FROM done WHERE first)", "conversations")}),
places AS (SELECT DISTINCT CASE WHEN person <> '' THEN '@' || person ELSE channel END AS place FROM done WHERE platform = 'room')
SELECT pg_notify('countersign_room', place) FROM places
""")  # noqa: S608  built from constants


async def mark_delivered(session: WriteSession, delivered: Sequence[Delivered]) -> None:
    """Records what is shown; a message whose run has moved on meanwhile stays due. Beneath a new card comes what was said before it.

    Open rooms are told which places changed: a channel, or `@person` for what is for one person alone.
    """
    if not delivered:
        return
    rows = [one.__dict__ | {"id": str(one.id), "due": one.due.isoformat() if one.due else None} for one in delivered]
    rows.sort(key=lambda row: row["id"])  # as moves of many runs have it
    await session.execute(_DONE, {"rows": Jsonb(rows)})


_PUT_OFF = text(f"""
WITH kept AS (UPDATE messages SET lease_until = NULL, due_at = countersign_now() + cast(:seconds AS interval), error = :error,
                     posting_since = CASE WHEN :unclear THEN posting_since END, remote_channel = coalesce(:channel, remote_channel),
                     dead_at = CASE WHEN :dead THEN countersign_now() END WHERE id = :id RETURNING id, run_id, dead_at),
noted AS (INSERT INTO audit_events (id, canonical) SELECT gen_random_uuid(), jsonb_strip_nulls(jsonb_build_object(
          'kind', 'message:undeliverable', 'actor', 'countersign', 'run', run_id,
          'detail', jsonb_build_object('message', id, 'error', cast(:error AS text))))::text
          FROM kept WHERE dead_at IS NOT NULL)
{LEAVING.format(ids="SELECT id FROM kept")}
""")  # noqa: S608  built from constants


async def put_off(
    session: WriteSession, message_id: UUID, *, seconds: float, error: str, unclear: bool, dead: bool = False, channel: str | None = None
) -> None:
    """Keeps a message that could not be delivered for `seconds`, or for a person to look at when `dead`, which is recorded.

    `unclear` when it may have been posted; `channel` is where it turned out to belong.
    """
    await session.execute(
        _PUT_OFF,
        {"id": message_id, "seconds": f"{seconds} seconds", "error": error[:300], "unclear": unclear, "dead": dead, "channel": channel},
    )


# What is due, in a free lane and ready would have been taken, so what remains waits for its time, its lane or its budget.
_NEXT = text(f"""
WITH RECURSIVE {_LANES}
SELECT extract(epoch FROM least(
  (SELECT min(m.due_at) FROM messages m WHERE m.due_at > countersign_now() AND m.dead_at IS NULL AND {_READY}),
  (SELECT min(s.free_at) FROM waiting w JOIN lanes s ON s.lane = w.lane WHERE s.free_at > countersign_now()),
  (SELECT min(free_at + every * interval '1 second') FROM lanes WHERE every IS NOT NULL
    AND free_at + every * interval '1 second' > countersign_now() AND EXISTS (SELECT FROM waiting WHERE lane IS NOT NULL)),
  (SELECT m.due_at FROM messages m WHERE m.lane = '' AND {_DUE} AND {_READY} LIMIT 1)) - countersign_now()) AS seconds
""")  # noqa: S608  built from constants


async def next_due(session: ReadSession) -> float | None:
    """Seconds until anything may be taken that could not be taken just now; None when nothing waits, or only for something else."""
    row = (await session.execute(_NEXT)).one()
    return None if row.seconds is None else max(0.0, float(row.seconds))
