"""Runs: the row, and `create()` and `move()`, the only writers of a run's status; each writes status and audit in one statement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from pydantic_core import to_json
from sqlalchemy import BigInteger, ForeignKey, Identity, Index, SmallInteger, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from countersign.records import value
from countersign.runs import HOLDING, RunId, RunStatus, sources_of

from .bases import Base, Identifier, Stamp, new_id
from .databases import ReadSession, WriteDriver, WriteSession, driver_under
from .drivers import Driver, plain
from .messages import ADDING, NewMessage, Priority, as_rows, telling
from .people import Person, people_named, person_of
from .workers import OFFERED_SECONDS, offered, waking

CLAIMABLE: Final = (RunStatus.submitted, RunStatus.planning, RunStatus.queued, RunStatus.running, RunStatus.undoing)


class RunRow(Base):
    __tablename__ = "runs"
    __table_args__ = (
        Index("ix_runs_due", "status", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_runs_line", "label", text("rank DESC"), "line", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_runs_asker", "asker", "number"),
        Index("ix_runs_command", "command", "number"),
        Index("ix_runs_lease", "worker", postgresql_where=text("lease_until IS NOT NULL")),
        Index("ix_runs_waiting", "id", postgresql_where=text("status = 'waiting'")),
    )

    id: Mapped[Identifier]
    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), unique=True)
    command: Mapped[str]
    code_version: Mapped[str]
    status: Mapped[str]
    risk: Mapped[int]
    visibility: Mapped[str]
    owner: Mapped[str] = mapped_column(server_default=text("''"))
    asker: Mapped[str] = mapped_column(ForeignKey("people.name"))
    door: Mapped[str]
    place: Mapped[dict[str, Any]]
    arguments: Mapped[dict[str, Any]]
    origins: Mapped[dict[str, Any]]
    reason: Mapped[str] = mapped_column(server_default=text("''"))
    dry_run: Mapped[bool] = mapped_column(server_default=text("false"))
    answer_to: Mapped[bytes | None]
    policy: Mapped[str]
    trace: Mapped[str]
    plan: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    digest: Mapped[str | None]
    revision: Mapped[int] = mapped_column(server_default=text("0"))
    attempt: Mapped[int] = mapped_column(server_default=text("0"))
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    worker: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    cancelled_by: Mapped[str | None]
    paused_by: Mapped[str | None]
    choice: Mapped[str | None]
    outcome: Mapped[str] = mapped_column(server_default=text("''"))
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    edited_by: Mapped[str | None]
    handed_to: Mapped[str | None]
    badge: Mapped[str] = mapped_column(server_default=text("''"))
    start_at: Mapped[datetime | None]
    source: Mapped[str] = mapped_column(server_default=text("''"))
    label: Mapped[str] = mapped_column(server_default=text("''"))
    rank: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    line: Mapped[str] = mapped_column(server_default=text("''"))
    created_at: Mapped[Stamp]
    moved_at: Mapped[Stamp]


RunRow.registry.configure()  # else at the first query, and `run_of` may come before one
_SELECT = select(RunRow)
_MANAGER: Final = RunRow.__mapper__.class_manager
_COLUMNS: Final = tuple(column.name for column in RunRow.__table__.columns)


@value
class NewRun:
    """A run about to be born, with the idempotency key of the request that asked for it.

    `source` is the schedule or trigger that a service account asks for, and `handed_to` who answers for it. It is for a worker with the
    `label`, if any; among what waits the higher `rank` comes first, then each `line` in turn.
    """

    key: str
    command: str
    code_version: str
    risk: int
    visibility: str
    asker: str
    door: str
    place: dict[str, Any]
    arguments: dict[str, Any]
    origins: dict[str, Any]
    policy: str
    status: RunStatus = RunStatus.submitted
    owner: str = ""
    reason: str = ""
    dry_run: bool = False
    answer_to: str | None = None
    trace: str = ""
    outcome: str = ""
    secrets: dict[str, str] = field(default_factory=dict)
    because: str = ""
    start_at: str | None = None
    source: str = ""
    handed_to: str | None = None
    label: str = ""
    rank: int = 1
    line: str = ""
    id: UUID = field(default_factory=new_id)


@value
class Born:
    """What became of a request: its run, whether this delivery created it, and the run's number and status now."""

    run_id: RunId
    fresh: bool
    number: int
    status: RunStatus


# A look-up in a table of hashes; as a plain IN it would be a join, and by nested loops each row of a batch met each other one.
_FRESH: Final = "(w.id IN (SELECT run_id FROM fresh)) IS TRUE"
_CREATE: Final = f"""
WITH wanted AS (SELECT * FROM jsonb_to_recordset(cast(%s AS jsonb)) AS w(
       id uuid, key text, command text, code_version text, status text, risk int, visibility text, owner text, asker text, door text,
       place jsonb, arguments jsonb, origins jsonb, reason text, dry_run bool, answer_to text, policy text, trace text, outcome text,
       secrets jsonb, because text, start_at timestamptz, source text, handed_to text,
       label text, rank int, line text)),
moment AS MATERIALIZED (SELECT countersign_now() AS now),
fresh AS (INSERT INTO inbox (key, run_id, received_at) SELECT key, id, now FROM wanted, moment ON CONFLICT DO NOTHING RETURNING run_id),
born AS (INSERT INTO runs (id, command, code_version, status, risk, visibility, owner, asker, door, place, arguments, origins, reason,
                           dry_run, answer_to, policy, trace, outcome, start_at, source, handed_to, label, rank, line,
                           due_at, created_at, moved_at)
         SELECT w.id, w.command, w.code_version, w.status, w.risk, w.visibility, w.owner, w.asker, w.door, w.place, w.arguments,
                w.origins, w.reason, w.dry_run, decode(w.answer_to, 'base64'), w.policy, w.trace, w.outcome, w.start_at,
                w.source, w.handed_to, w.label, w.rank, w.line, CASE w.status WHEN 'submitted' THEN now END, now, now
         FROM wanted w, moment WHERE {_FRESH} RETURNING id, number, status, label),
kept AS (INSERT INTO secrets (run_id, mark, sealed)
         SELECT w.id, s.key, decode(s.value, 'base64') FROM wanted w, jsonb_each_text(w.secrets) s WHERE w.secrets <> '{{}}' AND {_FRESH}),
noted AS (INSERT INTO audit_events (id, canonical)
         SELECT w.id, json_build_object('kind', 'run:' || w.status, 'actor', w.asker, 'run', w.id, 'detail',
                jsonb_strip_nulls(jsonb_build_object('command', w.command, 'arguments', w.arguments, 'origins', w.origins, 'door', w.door,
                'place', w.place, 'policy', w.policy, 'code', w.code_version, 'trace', w.trace, 'dry_run', nullif(w.dry_run, false),
                'reason', nullif(w.reason, ''), 'because', nullif(w.because, ''), 'start_at', w.start_at,
                'source', nullif(w.source, ''), 'holder', w.handed_to)))::text
         FROM wanted w WHERE {_FRESH}),
woken AS (SELECT pg_notify('countersign_work', w) FROM ({waking("plan", "born WHERE status = 'submitted'")}) AS wakes)
SELECT id, number, (SELECT count(*) FROM woken) AS woken FROM born
"""  # noqa: S608  built from constants
_KNOWN: Final = "SELECT i.key, r.id, r.number, r.status FROM inbox i JOIN runs r ON r.id = i.run_id WHERE i.key = ANY(%s)"


async def create(through: WriteSession | WriteDriver, runs: Sequence[NewRun]) -> dict[str, Born]:
    """Gives birth to runs, their inbox keys, secrets and audit events in one statement.

    Returns what became of each key; a key seen before gives the earlier run with `fresh` false. Raises the driver's own errors.
    """
    async with (await driver_under(through)).cursor(binary=True) as cursor:
        await cursor.execute(_CREATE, [Jsonb([_as_row(one) for one in runs], dumps=to_json)])
        asked = {one.id: one for one in runs}
        born = {asked[run].key: Born(run, True, number, asked[run].status) for run, number, _ in await cursor.fetchall()}
        if seen := [one.key for one in runs if one.key not in born]:
            # Not joined in the statement above: whatever its plan was made for, that would be read through whole while the tables grow.
            await cursor.execute(_KNOWN, [seen])
            born |= {key: Born(run, False, number, RunStatus(status)) for key, run, number, status in await cursor.fetchall()}
        return born


@dataclass(frozen=True)
class Take:
    """A claim made with the move itself: by this worker, for `lease` seconds, of code it has one of the `versions` of.

    Or of code that nobody has offered for the last `offered` seconds.
    """

    worker: str
    lease: float
    versions: tuple[str, ...]
    offered: float = OFFERED_SECONDS
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Move:
    """A wanted change of status. It happens only from an allowed status, and by a worker only under the attempt it claimed.

    `choice` is a person's word on an interrupted run, for the worker that takes it up; a move without one clears it. `come_from` narrows
    the allowed sources. `arguments`, `origins` and `edited_by` go together: somebody changed what is asked. `keep_lease` leaves the claim
    in place (a worker goes on); otherwise it ends.
    """

    run_id: UUID
    to: RunStatus
    by: str
    because: str = ""
    attempt: int | None = None
    come_from: tuple[RunStatus, ...] = ()
    plan: dict[str, Any] | None = None
    digest: str | None = None
    code_version: str | None = None
    revision: int | None = None
    outcome: str | None = None
    result: dict[str, Any] | None = None
    choice: str | None = None
    arguments: dict[str, Any] | None = None
    origins: dict[str, Any] | None = None
    edited_by: str | None = None
    badge: str | None = None
    keep_lease: bool = False
    take: "Take | None" = None
    forgive: bool = False
    detail: dict[str, Any] = field(default_factory=dict)


_TO_EXECUTE: Final = """moved WHERE ready AND due_at <= countersign_now() AND "to" <> 'submitted'"""
_TO_PLAN: Final = """moved WHERE ready AND "to" = 'submitted'"""
_URGENCY: Final = f"""CASE v."to" WHEN 'awaiting_approval' THEN {Priority.approval} WHEN 'planning' THEN {Priority.progress}
 WHEN 'running' THEN {Priority.progress} ELSE {Priority.card} END"""
# In the order in which senders write what they have delivered: two who write many in different orders would wait for each other.
_CARDS: Final = """(SELECT c.id AS card, r."to" FROM moved r JOIN messages c ON c.run_id = r.id AND c.kind <> 'reply' ORDER BY c.id)"""
_SENDERS: Final = "UNION ALL SELECT 'messages' WHERE EXISTS (SELECT FROM shown) OR EXISTS (SELECT FROM added)"
MOVED: Final = f"""
WITH wanted AS (SELECT * FROM jsonb_to_recordset(cast(:moves AS jsonb)) AS w(
       run_id uuid, "to" text, "by" text, because text, attempt int, come_from jsonb, plan jsonb, digest text, code_version text,
       revision int, outcome text, result jsonb, choice text, keep_lease bool, forgive bool, ready bool, detail jsonb,
       worker text, lease float, offered float, versions jsonb, labels jsonb, arguments jsonb, origins jsonb, edited_by text, badge text)),
moved AS (UPDATE runs r SET status = w."to", moved_at = countersign_now(),
                 plan = coalesce(w.plan, r.plan), digest = coalesce(w.digest, r.digest),
                 code_version = coalesce(w.code_version, r.code_version),
                 revision = coalesce(w.revision, r.revision), outcome = coalesce(w.outcome, r.outcome),
                 result = coalesce(w.result, r.result), arguments = coalesce(w.arguments, r.arguments),
                 origins = coalesce(w.origins, r.origins), edited_by = coalesce(w.edited_by, r.edited_by),
                 badge = coalesce(w.badge, r.badge),
                 choice = w.choice,
                 cancelled_by = CASE WHEN w.choice IS NULL THEN r.cancelled_by END,
                 failures = CASE WHEN w.forgive THEN 0 ELSE r.failures END,
                 attempt = r.attempt + (w.worker IS NOT NULL)::int,
                 worker = CASE WHEN w.keep_lease THEN r.worker ELSE w.worker END,
                 lease_until = CASE WHEN w.keep_lease THEN r.lease_until ELSE countersign_now() + w.lease * interval '1 second' END,
                 due_at = CASE WHEN w.ready AND w."to" = 'queued' THEN greatest(countersign_now(), r.start_at)
                               WHEN w.ready THEN countersign_now() WHEN w.keep_lease OR w.worker IS NOT NULL THEN r.due_at END
          FROM wanted w WHERE r.id = w.run_id AND w.come_from ? r.status
                          AND (w.attempt IS NULL OR (r.attempt = w.attempt AND r.worker IS NOT NULL))
                          AND (w.worker IS NULL OR ((r.lease_until IS NULL OR r.lease_until < countersign_now())
                               AND (r.label = '' OR w.labels ? r.label) AND (w.versions ? r.code_version OR NOT {offered("w.offered")})))
          RETURNING r.id, r.attempt, w."to", w."by", w.because, w.digest, w.outcome, w.revision, w.detail, w.ready,
                    w.choice, w.arguments, r.digest AS signed, r.due_at, r.label, r AS whole),
noted AS (INSERT INTO audit_events (id, canonical)
          SELECT gen_random_uuid(), json_build_object('kind', 'run:' || m."to", 'actor', m."by", 'run', m.id, 'detail',
                 jsonb_strip_nulls(m.detail || jsonb_build_object('because', nullif(m.because, ''), 'digest', m.signed,
                 'revision', m.revision, 'outcome', nullif(m.outcome, ''), 'choice', m.choice, 'arguments', m.arguments)))::text
          FROM moved m),
shown AS (UPDATE messages m SET {telling(_URGENCY)} FROM {_CARDS} v WHERE m.id = v.card RETURNING 1),
added AS ({ADDING} WHERE run_id IN (SELECT id FROM moved) ON CONFLICT DO NOTHING RETURNING 1),
woken AS (SELECT pg_notify('countersign_work', w) FROM
          ({waking("execute", _TO_EXECUTE)}
           UNION ALL {waking("plan", _TO_PLAN)}
           UNION ALL SELECT 'locks' FROM moved m WHERE NOT m."to" = ANY(:holding) AND EXISTS (SELECT FROM locks l WHERE l.run_id = m.id)
           {_SENDERS}) AS wakes)
"""  # noqa: S608  built from constants
MOVED_UNTOLD: Final = MOVED.replace(_SENDERS, "")
"""`MOVED` for who tells senders of what is `shown` or `added` when it is committed (`messages.call_senders`)."""
_MOVE = text(f"{MOVED.replace(', r AS whole', '')}SELECT id, attempt, (SELECT count(*) FROM woken) AS woken FROM moved")  # noqa: S608  built from constants
_TAKE: Final = plain(
    text(f"""{MOVED},
askers AS ({people_named("SELECT (whole).asker FROM moved")})
SELECT (m.whole).*, row_to_json(a) AS person, (SELECT digest FROM policies WHERE in_force) AS policy_in_force,
       EXISTS (SELECT FROM switches WHERE off_at IS NULL) AS switched,
       (SELECT count(*) FROM woken) AS woken
FROM moved m JOIN askers a ON a.name = (m.whole).asker
""")  # noqa: S608  built from constants
)


async def move(session: WriteSession, moves: Sequence[Move], *, messages: Sequence[NewMessage] = ()) -> dict[RunId, int]:
    """Moves runs; returns those that moved, with their attempt.

    A run that is not where the table allows, or whose worker lost its claim, stays as it is. `messages` are added for those that move.
    """
    if not moves:
        return {}
    return {row.id: row.attempt for row in await session.execute(_MOVE, moving(moves, messages))}


@dataclass(frozen=True)
class Taken:
    """A run that was moved and claimed at once, its asker, and at that moment the policy in force and whether a kill switch was on."""

    run: RunRow
    asker: Person
    policy: str | None
    switched: bool


async def move_and_take(driver: Driver, moves: Sequence[Move]) -> list[Taken]:
    """`move`, by moves that `take`: the runs that moved, whole, with whom they are for. `driver` gives rows as dictionaries.

    Until its transaction has ended nobody else can take them.
    """
    rows = await (await driver.execute(_TAKE, moving(moves, ()))).fetchall()
    return [Taken(run_of(row), person_of(SimpleNamespace(**row["person"])), row["policy_in_force"], row["switched"]) for row in rows]


def run_of(row: Mapping[str, Any]) -> RunRow:
    """A run as SQLAlchemy itself makes it of what it has read: its constructor, for new ones, is thirty times slower."""
    run: RunRow = _MANAGER.new_instance()
    run.__dict__.update({name: row[name] for name in _COLUMNS})
    return run


async def hand_over(session: WriteSession, run_id: UUID, person: str | None) -> None:
    """Who holds the request besides its asker from now on; None gives it back to the asker alone."""
    await session.execute(text("UPDATE runs SET handed_to = :person WHERE id = :id"), {"id": run_id, "person": person})


async def find_run(session: ReadSession, run_id: UUID) -> RunRow | None:
    return await session.get(RunRow, run_id, populate_existing=True)


async def lock_run(session: WriteSession, run_id: UUID) -> RunRow | None:
    """The run, locked until the transaction ends, so that two clicks at the same instant are decided one after the other."""
    return await session.get(RunRow, run_id, populate_existing=True, with_for_update=True)


async def find_runs(session: ReadSession, run_ids: Sequence[UUID]) -> dict[UUID, RunRow]:
    """These runs by id; unknown ids are left out."""
    rows = await session.scalars(_SELECT.where(RunRow.id.in_(run_ids)))
    return {row.id: row for row in rows}


async def search_runs(
    session: ReadSession,
    *,
    asker: str | None = None,
    command: str | None = None,
    limit: int = 20,
) -> list[RunRow]:
    """The newest runs, at most `limit`; lists that go on are those of `listings` and `searches`."""
    query = _SELECT.order_by(RunRow.number.desc()).limit(limit)
    if asker is not None:
        query = query.where(RunRow.asker == asker)
    if command is not None:
        query = query.where(RunRow.command == command)
    return list(await session.scalars(query))


async def find_by_reference(session: ReadSession, reference: str) -> RunRow | None:
    """The run meant by `12`, `#12` or an id."""
    cleaned = reference.strip().removeprefix("#")
    if cleaned.isdecimal() and len(cleaned) < 18:
        return (await session.scalars(_SELECT.where(RunRow.number == int(cleaned)))).first()
    try:
        return await find_run(session, UUID(cleaned))
    except ValueError:
        return None


def _as_row(run: NewRun) -> dict[str, Any]:
    return run.__dict__ | {"id": str(run.id), "status": run.status.value}


def moving(moves: Sequence[Move], messages: Sequence[NewMessage] = ()) -> dict[str, Any]:
    """The parameters of `MOVED`."""
    return {"moves": Jsonb([_as_move(one) for one in moves]), "holding": list(HOLDING), "messages": as_rows(messages)}


def _as_move(one: Move) -> dict[str, Any]:
    allowed = set(sources_of(one.to)) & set(one.come_from or RunStatus)
    return one.__dict__ | {
        "run_id": str(one.run_id),
        "to": one.to.value,
        "come_from": sorted(allowed),
        "ready": one.to in CLAIMABLE and not one.keep_lease and one.take is None,
        **(one.take.__dict__ if one.take else {}),
        "take": None,
    }
