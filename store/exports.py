"""exports: runs, decisions and the record of a span of time as lines of JSON, a batch at a time, so that nothing is held in memory."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from .databases import ReadSession
from .erasures import write_erasures
from .sealing import find_blocks, written_block

BATCH: Final = 2_000
Opened = Callable[[], AbstractAsyncContextManager[ReadSession]]
"""Opens a transaction that reads; each batch has one of its own, so that a long export holds nothing up."""


@dataclass(frozen=True)
class Span:
    """From `since` on and before `until`, in microseconds since 1970."""

    since: int
    until: int


@dataclass(frozen=True)
class Batch:
    """Some lines of JSON, each with the newline that ends it, and how many there are; `blocks` are those that events of them are in."""

    lines: str
    rows: int
    blocks: tuple[int, ...] = ()


_AT: Final = "to_timestamp(cast(:{name} AS double precision) / 1000000)"
_NUMBERS: Final = text(
    f"SELECT countersign_number_at({_AT.format(name='since')} - interval '1 minute') AS first,"
    f" countersign_number_at({_AT.format(name='until')} + interval '1 minute') AS past"
)
_RUNS: Final = text(f"""
SELECT r.number, r.id, json_build_object('number', r.number, 'id', r.id, 'command', r.command, 'code_version', r.code_version,
  'status', r.status, 'risk', r.risk, 'visibility', r.visibility, 'owner', r.owner, 'asker', r.asker, 'door', r.door, 'place', r.place,
  'arguments', r.arguments, 'reason', r.reason, 'dry_run', r.dry_run, 'policy', r.policy, 'digest', r.digest, 'revision', r.revision,
  'outcome', r.outcome, 'badge', r.badge, 'edited_by', r.edited_by, 'handed_to', r.handed_to, 'source', r.source, 'trace', r.trace,
  'created_at', r.created_at, 'moved_at', r.moved_at)::text AS line
FROM runs r WHERE r.number >= :first AND r.number < :past AND r.created_at >= {_AT.format(name="since")}
  AND r.created_at < {_AT.format(name="until")} ORDER BY r.number LIMIT :limit
""")  # noqa: S608  built from constants
_DECISIONS: Final = text("""
SELECT json_build_object('id', d.id, 'run', d.run_id, 'request', d.request_id, 'person', d.person, 'verdict', d.verdict, 'reason', d.reason,
  'digest', d.digest, 'door', d.door, 'policy', d.policy, 'stage', d.stage, 'on_behalf', d.on_behalf, 'signed', d.proof IS NOT NULL,
  'decided_at', d.decided_at, 'withdrawn_at', d.withdrawn_at)::text AS line
FROM decisions d WHERE d.run_id = ANY(:runs) ORDER BY d.decided_at, d.id
""")
_EVENTS: Final = text("""
SELECT e.at_us, e.seq, e.id, e.canonical, e.payload, e.salt, l.block, l.position FROM
  (SELECT at_us, seq, id, canonical, payload, salt FROM audit_events
   WHERE (at_us, seq) > (:at_us, :seq) AND at_us < :until ORDER BY at_us, seq LIMIT :limit) e
LEFT JOIN LATERAL (SELECT block, position FROM audit_leaves WHERE event_id = e.id) l ON true ORDER BY e.at_us, e.seq
""")
_GONE: Final = text("""
SELECT at_us, seq, id FROM audit_events WHERE payload IS NULL AND (at_us, seq) > (:at_us, :seq) AND at_us < :until
ORDER BY at_us, seq LIMIT :limit
""")


async def read_runs(opened: Opened, span: Span) -> AsyncIterator[Batch]:
    """The runs that were asked for in this time, as they are now; without plans, results and logs."""
    async for lines, _ in _runs(opened, span):
        yield _batch(lines)


async def read_decisions(opened: Opened, span: Span) -> AsyncIterator[Batch]:
    """The decisions about these runs, whenever they were made; what was taken back has `withdrawn_at`."""
    async for _, runs in _runs(opened, span):
        if rows := await _all(opened, _DECISIONS, runs=runs):
            yield _batch([row.line for row in rows])


async def read_events(opened: Opened, span: Span) -> AsyncIterator[Batch]:
    """The record of this time in its order: each event's text as it was hashed, its payload, and its place in its block if it is sealed."""
    at_us, seq = span.since, -1
    while rows := await _all(opened, _EVENTS, at_us=at_us, seq=seq, until=span.until, limit=BATCH):
        at_us, seq = rows[-1].at_us, rows[-1].seq
        lines = [_written(_event(one)) for one in rows]
        yield _batch(lines, tuple({one.block for one in rows if one.block is not None}))


async def read_erasures(opened: Opened, span: Span) -> AsyncIterator[Batch]:
    """What proves that the payloads of this time that are gone were erased; one event may be there several times."""
    at_us, seq = span.since, -1
    while rows := await _all(opened, _GONE, at_us=at_us, seq=seq, until=span.until, limit=BATCH):
        at_us, seq = rows[-1].at_us, rows[-1].seq
        async with opened() as session:
            yield _batch([_written(one) for one in await write_erasures(session, [one.id for one in rows])])


async def read_blocks(opened: Opened, first: int, last: int) -> AsyncIterator[Batch]:
    """These blocks and all between them, as they were signed."""
    after = first - 1
    while after < last:
        async with opened() as session:
            found = await find_blocks(session, after=after, limit=min(BATCH, last - after))
        if not found:
            return
        after = found[-1].n
        yield _batch([_written(written_block(one)) for one in found])


async def _runs(opened: Opened, span: Span) -> AsyncIterator[tuple[list[str], list[UUID]]]:
    (numbers,) = await _all(opened, _NUMBERS, since=span.since, until=span.until)
    first, values = numbers.first, {"past": numbers.past, "since": span.since, "until": span.until, "limit": BATCH}
    while rows := await _all(opened, _RUNS, first=first, **values):
        first = rows[-1].number + 1
        yield [row.line for row in rows], [row.id for row in rows]


async def _all(opened: Opened, statement: Any, **values: Any) -> Sequence[Any]:
    async with opened() as session:
        return (await session.execute(statement, values)).all()


def _event(row: Any) -> dict[str, Any]:
    salt = row.salt and row.salt.hex
    return {"id": str(row.id), "text": row.canonical, "payload": row.payload, "salt": salt, "block": row.block, "position": row.position}


def _batch(lines: Sequence[str], blocks: tuple[int, ...] = ()) -> Batch:
    return Batch("".join(f"{one}\n" for one in lines), len(lines), blocks)


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
