"""Messages that could not be delivered: kept for a person to look at, and sent again when somebody says so."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from .databases import ReadSession, WriteSession

_FIND = text("""
SELECT m.id, m.kind, m.platform, m.channel, m.person, m.error, m.dead_at, m.posting_since IS NOT NULL AS unclear, r.number, r.command
FROM messages m LEFT JOIN runs r ON r.id = m.run_id WHERE m.dead_at IS NOT NULL ORDER BY m.dead_at DESC LIMIT :limit
""")
_RESEND = text("""
WITH sent AS (UPDATE messages SET dead_at = NULL, due_at = countersign_now(), attempts = 0, lease_until = NULL
              WHERE dead_at IS NOT NULL AND (cast(:ids AS uuid[]) IS NULL OR id = ANY(:ids)) RETURNING id, run_id, error),
noted AS (INSERT INTO audit_events (id, canonical) SELECT gen_random_uuid(), jsonb_strip_nulls(jsonb_build_object('kind', 'message:resent',
          'actor', cast(:by AS text), 'run', run_id, 'detail', jsonb_build_object('message', id, 'error', error)))::text FROM sent),
woken AS (SELECT pg_notify('countersign_work', 'messages') FROM sent LIMIT 1)
SELECT (SELECT count(*) FROM sent) AS sent, (SELECT count(*) FROM woken) AS woken
""")
MOST: Final = 500


async def find_undeliverable(session: ReadSession, *, limit: int) -> list[Any]:
    """The newest ones, with the number and command of the run each shows; `unclear` when it may have been posted nevertheless."""
    return list((await session.execute(_FIND, {"limit": limit})).all())


async def resend(session: WriteSession, ids: Sequence[UUID] | None, *, by: str) -> int:
    """Has them delivered once more, or all of them without ids, and records it; returns how many. What is unclear is looked for first."""
    row = await session.execute(_RESEND, {"ids": None if ids is None else list(ids), "by": by})
    return int(row.one().sent)


async def count_undeliverable(session: ReadSession) -> dict[str, int]:
    """How many there are on each platform."""
    rows = await session.execute(text("SELECT platform, count(*) AS n FROM messages WHERE dead_at IS NOT NULL GROUP BY platform"))
    return {row.platform: int(row.n) for row in rows}
