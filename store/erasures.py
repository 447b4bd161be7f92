"""Erasures: what the record says about payloads that are gone, and the events that prove it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, text

from .audits import AuditEventRow
from .databases import ReadSession
from .inclusions import find_inclusions
from .sealing import written_block

# With an erasure the birth of the run that made it, which names the command, and that it ran.
_PROVING: Final = text("""
WITH erasures AS MATERIALIZED (SELECT id, run_id FROM audit_events
    WHERE kind = 'payload:erased' AND canonical::jsonb #> '{detail,events}' ?| cast(:ids AS text[]))
SELECT id FROM erasures UNION SELECT e.id FROM audit_events e JOIN erasures x ON x.run_id = e.run_id
WHERE e.kind IN ('run:submitted', 'run:running')
""")


async def find_erasures(session: ReadSession, ids: Iterable[UUID]) -> Sequence[AuditEventRow]:
    """The events that prove that these events' payloads were erased, oldest first."""
    found = (await session.execute(_PROVING, {"ids": [str(one) for one in ids]})).scalars().all() if ids else ()
    query = select(AuditEventRow).where(AuditEventRow.id.in_(found)).order_by(AuditEventRow.at_us, AuditEventRow.seq)
    return (await session.scalars(query)).all() if found else ()


async def write_erasures(session: ReadSession, ids: Iterable[UUID]) -> list[dict[str, Any]]:
    """The same for a file: each event with its text, its block and its path to the block's root; block is None until it is sealed."""
    events = await find_erasures(session, ids)
    placed = await find_inclusions(session, [one.id for one in events])
    return [
        {"id": str(one.id), "text": one.canonical, "payload": one.payload, "salt": one.salt and one.salt.hex}
        | (
            {"block": written_block(at.block), "position": at.position, "path": [[side, digest.hex()] for side, digest in at.path]}
            if (at := placed.get(one.id))
            else {"block": None}
        )
        for one in events
    ]


@dataclass(frozen=True)
class Erasure:
    """Who erased a payload and when, in UTC, under which run; by `countersign` when it had been kept for so many `days`."""

    at: datetime
    by: str
    run: int
    days: int

    @property
    def sentence(self) -> str:
        """As people read it."""
        why = f"because its {self.days} days were over" if self.days else f"by {self.by} under run {self.run}"
        return f"erased on {self.at:%Y-%m-%d} {why}"


_WHO: Final = text("""
SELECT to_timestamp(x.at_us / 1000000) AS at, coalesce(r.asker, x.actor) AS by, coalesce(r.number, 0) AS run,
       coalesce(cast(x.canonical::jsonb #>> '{detail,days}' AS int), 0) AS days
FROM audit_events x LEFT JOIN runs r ON r.id = x.run_id
WHERE x.kind = 'payload:erased' AND x.canonical::jsonb #> '{detail,events}' ? :id ORDER BY x.at_us LIMIT 1
""")


async def find_erasure(session: ReadSession, event: UUID) -> Erasure | None:
    """What erased this event's payload, if anything did."""
    row = (await session.execute(_WHO, {"id": str(event)})).first()
    return None if row is None else Erasure(row.at, row.by, row.run, row.days)
