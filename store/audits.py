"""The audit: insert-only events. A trigger adds id and time to each event's text, puts what it says about people beside it and hashes
both; see migrations 0002 and 0040."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Self
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    Computed,
    ForeignKey,
    Identity,
    Index,
    Row,
    Select,
    Table,
    UniqueConstraint,
    Uuid,
    desc,
    select,
    text,
    tuple_,
)
from sqlalchemy.orm import Mapped, mapped_column
from uuid6 import uuid7

from store.bases import Base
from store.databases import ReadSession, WriteSession
from store.searches import QUERY, Words, find_places, lexemes

INSERT_EVENT: Final = "INSERT INTO audit_events (id, canonical)"
"""How any statement records an event in itself: this, then a SELECT of `gen_random_uuid()` and
`json_build_object('kind', …, 'actor', …, 'run', …, 'detail', …)::text`. The trigger refuses the keys id, at and at_us."""

MOST_ROWS: Final = 1_000


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """A fact to record: what happened (`run:submitted`), who did it, and in which run.

    `detail` is JSON and carries digests, never secrets.
    """

    kind: str
    actor: str
    run: UUID | None = None
    detail: dict[str, Any] = field(default_factory=dict)


class Cursor(NamedTuple):
    """The place of an event in the order of time: microseconds since 1970, then the order of insertion."""

    at_us: int
    seq: int


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A recorded event. `at` is in UTC. Of an erased one `detail` holds what is hashed as it is, and the actor is known by an alias."""

    id: UUID
    cursor: Cursor
    kind: str
    actor: str
    run: UUID | None
    detail: dict[str, Any]
    erased: bool = False

    @property
    def at(self) -> datetime:
        """When the database recorded it."""
        return _EPOCH + timedelta(microseconds=self.cursor.at_us)

    @classmethod
    def _of(cls, row: "AuditEventRow | Row[Any]") -> Self:
        written = json.loads(row.canonical)
        detail = (written.get("detail") or {}) | (json.loads(row.payload).get("detail") or {} if row.payload else {})
        erased = row.payload is None and "payload" in written
        return cls(row.id, Cursor(row.at_us, row.seq), row.kind, row.actor, row.run_id, detail, erased)


_ACTOR: Final = """CASE left(payload, 10) WHEN '{"actor":"' THEN split_part(payload, '"', 4) ELSE canonical::jsonb ->> 'actor' END"""


class AuditEventRow(Base):
    """An event as stored; only `id` and `canonical` are ever inserted. `canonical` holds SHA-256(0x02, salt, payload)."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_at_us", "at_us", "seq"),
        Index("ix_audit_events_erasures", "at_us", "seq", postgresql_where=text("kind = 'payload:erased'")),
        Index(
            "ix_audit_events_erased",
            text("(canonical::jsonb #> '{detail,events}')"),
            text("(canonical::jsonb #> '{detail,policies}')"),
            postgresql_using="gin",
            postgresql_where=text("kind = 'payload:erased'"),
        ),
        Index("ix_audit_events_run_id", "run_id", "at_us", "seq", postgresql_where=text("run_id IS NOT NULL")),
    )

    seq: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    id: Mapped[UUID] = mapped_column(primary_key=True)
    canonical: Mapped[str]
    leaf: Mapped[bytes]
    at_us: Mapped[int] = mapped_column(BigInteger, Computed("substr(canonical, 54, 16)::bigint", persisted=True))
    kind: Mapped[str] = mapped_column(Computed("canonical::jsonb ->> 'kind'", persisted=True))
    actor: Mapped[str] = mapped_column(Computed(_ACTOR, persisted=True))
    run_id: Mapped[UUID | None] = mapped_column(Computed("(canonical::jsonb ->> 'run')::uuid", persisted=True))
    payload: Mapped[str | None]
    salt: Mapped[UUID | None]


class AuditBlockRow(Base):
    """A signed block header; `prev` and `root` are SHA-256 digests, times are microseconds since 1970."""

    __tablename__ = "audit_blocks"

    n: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    prev: Mapped[bytes]
    root: Mapped[bytes]
    count: Mapped[int]
    first_us: Mapped[int] = mapped_column(BigInteger)
    last_us: Mapped[int] = mapped_column(BigInteger)
    sealed_us: Mapped[int] = mapped_column(BigInteger)
    key_id: Mapped[str]
    signature: Mapped[bytes]


class AuditLeafRow(Base):
    """Where an event is sealed: its block, its position from 0 and the hash that the block's root covers."""

    __tablename__ = "audit_leaves"
    __table_args__ = (UniqueConstraint("block", "position"),)

    event_id: Mapped[UUID] = mapped_column(ForeignKey("audit_events.id"), primary_key=True)
    block: Mapped[int] = mapped_column(BigInteger)
    position: Mapped[int]
    leaf: Mapped[bytes]


audit_unsealed = Table(
    "audit_unsealed",
    Base.metadata,
    Column("at_us", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Index("ix_audit_unsealed_at_us", "at_us", "seq"),
)


async def record(session: WriteSession, events: Sequence[AuditEvent]) -> None:
    """Insert the events in this order, in one statement and in the caller's transaction."""
    if events:
        await session.execute(
            _RECORD, {"ids": [UUID(int=uuid7().int) for _ in events], "canonicals": [_text_of(event) for event in events]}
        )


async def find_trail(session: ReadSession, run_id: UUID) -> list[AuditRow]:
    """Everything recorded about one run, oldest first."""
    query = select(AuditEventRow).where(AuditEventRow.run_id == run_id).order_by(AuditEventRow.at_us, AuditEventRow.seq)
    return [AuditRow._of(row) for row in await session.scalars(query)]


@dataclass(frozen=True, slots=True)
class Sought:
    """What an event is like; what is empty does not matter. Every one of `words` begins one of its words; times are microseconds."""

    words: str = ""
    kind: str = ""
    actor: str = ""
    run: UUID | None = None
    since_us: int | None = None
    until_us: int | None = None

    @property
    def searched(self) -> Words:
        """As words, if no index of the record's own tells it; none else."""
        if self.run is None and not (self.words or self.actor or self.kind):
            return Words()
        exact = [lexemes(name, [value]) for name, value in (("kind", self.kind), ("actor", self.actor)) if value]
        return Words(self.words, exact)


async def search(
    session: ReadSession,
    sought: Sought | None = None,
    *,
    kind: str = "",
    actor: str = "",
    run: UUID | None = None,
    before: Cursor | None = None,
    limit: int = 50,
) -> list[AuditRow]:
    """Events like this, newest first; the next page comes before the last row's `cursor`.

    Raises ValueError when `limit` is not between 1 and 1,000.
    """
    sought = sought or Sought(kind=kind, actor=actor, run=run)
    if not 1 <= limit <= MOST_ROWS:
        raise ValueError(f"limit must be between 1 and {MOST_ROWS}, not {limit}")
    query = select(AuditEventRow).order_by(desc(AuditEventRow.at_us), desc(AuditEventRow.seq)).limit(limit)
    if sought.run is None and (words := sought.searched):
        places = await find_places(session, words, before=before, since_us=sought.since_us, until_us=sought.until_us, limit=limit)
        values = {"times": [one[0] for one in places], "seqs": [one[1] for one in places]}
        return [AuditRow._of(row) for row in await session.execute(_PLACED, values)]
    if sought.run is not None:
        query = query.where(AuditEventRow.run_id == sought.run)
        if words := sought.searched:
            query = query.where(text(_HAS_WORDS).bindparams(**words.values()))
    return [AuditRow._of(row) for row in await session.scalars(_bounded(query, sought, before))]


def _bounded(query: Select[AuditEventRow], sought: Sought, before: Cursor | None) -> Select[AuditEventRow]:
    if before is not None:
        query = query.where(tuple_(AuditEventRow.at_us, AuditEventRow.seq) < before)
    if sought.since_us is not None:
        query = query.where(AuditEventRow.at_us >= sought.since_us)
    return query if sought.until_us is None else query.where(AuditEventRow.at_us < sought.until_us)


# An event committed a moment late bears an earlier time than one already seen.
_LATE_US: Final = 2_000_000
_CHANGES: Final = text("""
SELECT run_id, max(at_us) AS at_us
FROM (SELECT at_us, run_id FROM audit_events WHERE at_us > :after ORDER BY at_us DESC LIMIT 1000) e GROUP BY run_id
""")


async def find_changes(session: ReadSession, *, after: int | None) -> tuple[int, dict[UUID | None, int]]:
    """The latest moment in microseconds, and which runs something was recorded about since a moment, with the latest of each.

    None stands for what is not a run. Without a moment nothing has changed yet. The last 2 s are told twice, because events may be
    committed late.
    """
    if after is None:
        row = (await session.execute(text("SELECT coalesce(max(at_us), 0) AS at_us FROM audit_events"))).one()
        return row.at_us, {}
    changed = {row.run_id: row.at_us for row in await session.execute(_CHANGES, {"after": after - _LATE_US})}
    return max([after, *changed.values()]), changed


# Each by its key: a list of pairs would be compared with every event of the index.
_PLACED: Final = text("""
SELECT e.* FROM unnest(cast(:times AS bigint[]), cast(:seqs AS bigint[])) AS p (at_us, seq)
CROSS JOIN LATERAL (SELECT * FROM audit_events a WHERE a.at_us = p.at_us AND a.seq = p.seq LIMIT 1) e ORDER BY e.at_us DESC, e.seq DESC
""")
_HAS_WORDS: Final = f"countersign_event_words(kind, actor, audit_detail(canonical, payload)) @@ {QUERY}"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RECORD: Final = text("INSERT INTO audit_events (id, canonical) SELECT * FROM unnest(cast(:ids AS uuid[]), cast(:canonicals AS text[]))")
# An escape that JSON allows and Postgres does not: NUL. The even number of backslashes before it are escaped backslashes.
_NUL: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def _text_of(event: AuditEvent) -> str:
    # Half a surrogate pair or a NUL, which a stranger may send, must not make recording fail.
    run = None if event.run is None else str(event.run)
    body = {"kind": event.kind, "actor": event.actor, "run": run, "detail": event.detail}
    written = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _NUL.sub("\\1\N{REPLACEMENT CHARACTER}", written).encode(errors="replace").decode()
