"""Whom open requests wait for, written down once for all requests that wait for the same people; found without reading closed ones."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import ARRAY, Uuid, any_, literal, select, text
from sqlalchemy.orm import Mapped

from .approvals import ApprovalRequestRow
from .bases import Base, Identifier, Stamp
from .databases import ReadSession, WriteSession
from .runs import RunRow

Pair = tuple[ApprovalRequestRow, RunRow]
UNREADABLE: Final = UUID(int=0)
"""The audience of a request whose rule means nothing: nobody is in it."""


class AudienceRow(Base):
    """`asked` says in selectors who may vote; it never changes, because its id is made of it. Only workers write it."""

    __tablename__ = "audiences"

    id: Mapped[Identifier]
    asked: Mapped[dict[str, Any]]
    made_at: Mapped[Stamp]


@dataclass(frozen=True)
class Place:
    """Where in the order of an inbox somebody is: the end of the time to decide, and the run where two end together."""

    expires_at: datetime
    run_id: UUID


async def keep_audiences(session: WriteSession, audiences: Mapping[UUID, Mapping[str, Any]]) -> None:
    """Writes down those that are new; in the order of their ids, so that two who do it at once wait for each other at most."""
    if audiences:
        rows = [{"id": str(id_), "asked": asked} for id_, asked in sorted(audiences.items())]
        await session.execute(_KEEP, {"rows": Jsonb(rows)})


async def find_live(session: ReadSession) -> list[tuple[UUID, str]]:
    """The audiences of open requests, as JSON text; as many steps as there are audiences, however many requests."""
    return [(row.id, row.asked) for row in await session.execute(_LIVE)]


async def find_pending(
    session: ReadSession, audiences: Collection[UUID], *, person: str, after: Place | None = None, limit: int
) -> list[Pair]:
    """Open requests that wait for these audiences, or for nobody knows whom, most urgent first, with their runs.

    Left out are those that `person` asked for, unless the rule lets them, and those they have decided on.
    """
    start = {"expires": after.expires_at, "run": after.run_id} if after else {"expires": "-infinity", "run": UUID(int=0)}
    found = await session.execute(_PENDING, {"audiences": list(audiences), "person": person, "limit": limit, **start})
    return await _pairs(session, [row.id for row in found])


async def find_unlooked(session: ReadSession, known: Mapping[UUID, str], *, limit: int) -> list[Pair]:
    """Open requests that were looked at last when others could vote, most urgent first; `known` are the audiences' voters now, in short."""
    rows = [{"id": str(id_), "voters": voters} for id_, voters in known.items()]
    found = await session.execute(_UNLOOKED, {"known": Jsonb(rows), "limit": limit})
    return await _pairs(session, [row.id for row in found])


@dataclass(frozen=True)
class Looked:
    """An open request that was looked at: whom it waits for, who they were in short, and whether something has to be done about it now."""

    request_id: UUID
    audience: UUID
    voters: str
    due: bool


async def note_looked(session: WriteSession, looked: Sequence[Looked]) -> None:
    """Writes it down; what is due is tended at the next sweep."""
    if looked:
        rows = [{**one.__dict__, "request_id": str(one.request_id), "audience": str(one.audience)} for one in looked]
        await session.execute(_LOOKED, {"rows": Jsonb(rows)})


async def _pairs(session: ReadSession, ids: Sequence[UUID]) -> list[Pair]:
    if not ids:
        return []
    query = select(ApprovalRequestRow, RunRow).join(RunRow, RunRow.id == ApprovalRequestRow.run_id)
    query = query.where(ApprovalRequestRow.id == any_(literal(list(ids), ARRAY(Uuid))))
    rows = [(request, run) for request, run in await session.execute(query.execution_options(populate_existing=True))]
    return sorted(rows, key=lambda pair: (pair[0].expires_at, pair[1].id.bytes))


_KEEP: Final = text("""
INSERT INTO audiences (id, asked) SELECT id, asked FROM jsonb_to_recordset(cast(:rows AS jsonb)) AS n(id uuid, asked jsonb)
ON CONFLICT (id) DO NOTHING
""")
# From one audience to the next through the index: its entries of one audience are not read one by one.
_LIVE: Final = text("""
WITH RECURSIVE live AS (
  (SELECT audience FROM approval_requests WHERE state = 'open' AND audience IS NOT NULL ORDER BY audience LIMIT 1)
  UNION ALL
  SELECT (SELECT a.audience FROM approval_requests a WHERE a.state = 'open' AND a.audience > l.audience ORDER BY a.audience LIMIT 1)
  FROM live l WHERE l.audience IS NOT NULL)
SELECT x.id, x.asked::text AS asked FROM live l JOIN audiences x ON x.id = l.audience
""")
# Whether they have decided is asked request by request: as an anti-join it could read every decision that this person ever made.
_MINE: Final = """
SELECT a.id, a.expires_at, a.run_id FROM approval_requests a JOIN runs r ON r.id = a.run_id
WHERE a.state = 'open' AND {whose} AND a.expires_at > countersign_now()
  AND (a.expires_at, a.run_id) > (cast(:expires AS timestamptz), cast(:run AS uuid))
  AND r.status = 'awaiting_approval' AND (r.asker <> :person OR a.rule @> '{{"asker_may": true}}')
  AND (SELECT true FROM decisions d WHERE d.request_id = a.id AND d.person = :person AND d.withdrawn_at IS NULL LIMIT 1) IS NULL
ORDER BY a.expires_at, a.run_id LIMIT :limit
"""
_PENDING: Final = text(f"""
SELECT id FROM (
  SELECT m.* FROM unnest(cast(:audiences AS uuid[])) AS k(id) CROSS JOIN LATERAL ({_MINE.format(whose="a.audience = k.id")}) m
  UNION ALL ({_MINE.format(whose="a.audience IS NULL")})) AS mine
ORDER BY expires_at, run_id LIMIT :limit
""")  # noqa: S608  built from constants
_UNLOOKED: Final = text("""
SELECT id FROM (
  SELECT a.id, a.expires_at FROM jsonb_to_recordset(cast(:known AS jsonb)) AS k(id uuid, voters text)
  JOIN approval_requests a ON a.audience = k.id AND a.state = 'open' WHERE a.voters IS DISTINCT FROM k.voters
  UNION ALL SELECT a.id, a.expires_at FROM approval_requests a WHERE a.state = 'open' AND a.audience IS NULL) AS unlooked
ORDER BY expires_at LIMIT :limit
""")
_LOOKED: Final = text("""
UPDATE approval_requests a SET audience = n.audience, voters = n.voters,
       next_due = CASE WHEN n.due THEN least(a.next_due, countersign_now()) ELSE a.next_due END
FROM jsonb_to_recordset(cast(:rows AS jsonb)) AS n(request_id uuid, audience uuid, voters text, due bool)
WHERE a.id = n.request_id AND a.state = 'open'
""")
