"""Erasures: what the record says about payloads that are gone, and the events that prove it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, text

from countersign.runs import FINISHED

from .audits import AuditEventRow
from .databases import ReadSession, WriteSession
from .inclusions import find_inclusions
from .sealing import written_block

# With an erasure the birth of the run that made it, which names the command, and that it ran.
_PROVING: Final = text("""
WITH erasures AS MATERIALIZED (SELECT id, run_id FROM countersign_erasures_of(cast(:ids AS text[]), cast(:policies AS text[])))
SELECT id FROM erasures UNION SELECT e.id FROM audit_events e JOIN erasures x ON x.run_id = e.run_id
WHERE e.kind IN ('run:submitted', 'run:running')
""")


async def find_erasures(session: ReadSession, ids: Iterable[UUID], policies: Iterable[str] = ()) -> Sequence[AuditEventRow]:
    """The events that prove that these events' payloads, and people in the texts of these policies, were erased, oldest first."""
    found = (await session.execute(_PROVING, {"ids": [str(one) for one in ids], "policies": list(policies)})).scalars().all()
    query = select(AuditEventRow).where(AuditEventRow.id.in_(found)).order_by(AuditEventRow.at_us, AuditEventRow.seq)
    return (await session.scalars(query)).all() if found else ()


async def write_erasures(session: ReadSession, ids: Iterable[UUID], policies: Iterable[str] = ()) -> list[dict[str, Any]]:
    """The same for a file: each event with its text, its block and its path to the block's root; block is None until it is sealed."""
    events = await find_erasures(session, ids, policies)
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
       CASE WHEN jsonb_typeof(x.canonical::jsonb #> '{detail,days}') = 'number'
       THEN trunc(cast(x.canonical::jsonb #>> '{detail,days}' AS numeric))::bigint ELSE 0 END AS days
FROM countersign_erasures_of(ARRAY[cast(:id AS text)], '{}') x LEFT JOIN runs r ON r.id = x.run_id ORDER BY x.at_us LIMIT 1
""")


async def find_erasure(session: ReadSession, event: UUID) -> Erasure | None:
    """What erased this event's payload, if anything did."""
    row = (await session.execute(_WHO, {"id": str(event)})).first()
    return None if row is None else Erasure(row.at, row.by, row.run, row.days)


@dataclass(frozen=True)
class Extent:
    """What the database holds about a person. `events` are their own and those of the runs, as housekeepers have taken them in.

    `unfinished` are numbers of runs that the person asked for and that go on.
    """

    alias: str
    runs: int
    events: int
    decisions: int
    accounts: int
    policies: int
    unfinished: tuple[int, ...]


async def find_extent(session: ReadSession, person: str) -> Extent:
    """What erasing this person would take away."""
    row = (await session.execute(_EXTENT, {"who": person, "finished": sorted(FINISHED)})).one()
    return Extent(row.alias, row.runs, row.events, row.decisions, row.accounts, row.policies, tuple(row.unfinished))


async def find_by_alias(session: ReadSession, alias: str) -> str | None:
    """The name of the person whom the record knows by this alias; after the erasure that is the alias."""
    found: str | None = (await session.execute(text("SELECT name FROM people WHERE alias = :alias"), {"alias": alias})).scalar()
    return found


async def find_events_about(session: ReadSession, person: str, run: UUID, *, since: datetime) -> tuple[list[UUID], datetime]:
    """The events from this moment on whose payloads are of this person or name them, but for those of the run that erases; and when.

    Reads each payload from there on, a million in some seconds.
    """
    await session.execute(_PATIENT)
    now: datetime = (await session.execute(text("SELECT countersign_now()"))).scalar_one()
    asked = text("SELECT countersign_events_about(:who, :run, :since)")
    return list((await session.execute(asked, {"who": person, "run": run, "since": since})).scalars()), now


async def erase_events(session: WriteSession, events: Sequence[UUID], *, run: UUID) -> int:
    """Erases these payloads and records it; returns how many there were. What a legal hold covers stays."""
    asked = text("SELECT countersign_erase_events(cast(:ids AS uuid[]), cast(:run AS uuid), NULL)")
    return int((await session.execute(asked, {"ids": list(events), "run": run})).scalar_one())


async def erase_person(session: WriteSession, person: str, *, run: UUID) -> int:
    """Erases everything else, and the name last; returns of how many runs. Raises when the run may not, or a legal hold covers it.

    Reads the card of each message.
    """
    await session.execute(_PATIENT)
    asked = text("SELECT countersign_erase_person(:who, cast(:run AS uuid))")
    return int((await session.execute(asked, {"who": person, "run": run})).scalar_one())


async def erase_traces(session: WriteSession) -> int:
    """Erases what one run that has erased somebody still says about them; 0 when there is none."""
    return int((await session.execute(text("SELECT countersign_erase_traces()"))).scalar_one())


async def forget_runs(session: WriteSession, *, days: int, limit: int) -> int:
    """Erases what was said about at most so many runs that ended more than so many days ago, in the record too, which says so."""
    asked = text("SELECT countersign_forget_runs(:days, :limit)")
    return int((await session.execute(asked, {"days": days, "limit": limit})).scalar_one())


# Other statements of workers are cut off long before.
_PATIENT: Final = text("SET LOCAL statement_timeout = '1h'")
_EXTENT: Final = text("""
SELECT p.alias, x.runs, x.events,
       (SELECT count(*) FROM decisions WHERE person = :who) AS decisions,
       (SELECT count(*) FROM chat_accounts WHERE person = :who) AS accounts,
       (SELECT count(*) FROM policies WHERE NOT in_force AND (strpos(body, :who) > 0 OR strpos(body, p.email) > 0)) AS policies,
       ARRAY(SELECT number FROM runs WHERE asker = :who AND NOT status = ANY(:finished) ORDER BY number LIMIT 5) AS unfinished
FROM people p CROSS JOIN LATERAL countersign_extent(p.name) x WHERE p.name = :who
""")
