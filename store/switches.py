"""Kill switches that are on, and the runs they hold back. Anybody's door may switch on; only a worker, carrying out a plan, off."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column
from uuid6 import uuid7

from .bases import Base, Identifier, Stamp
from .databases import ReadSession, WriteSession
from .messages import Priority, telling

KINDS: Final = ("everything", "changes", "command", "integration")


class SwitchRow(Base):
    __tablename__ = "switches"
    __table_args__ = (
        Index("uq_switches_on", "kind", "target", unique=True, postgresql_where=text("off_at IS NULL")),
        CheckConstraint("kind IN ('everything', 'changes', 'command', 'integration')", name="kind"),
    )

    id: Mapped[Identifier]
    kind: Mapped[str]
    target: Mapped[str] = mapped_column(server_default=text("''"))
    reason: Mapped[str] = mapped_column(server_default=text("''"))
    on_at: Mapped[Stamp]
    on_by: Mapped[str]
    off_at: Mapped[datetime | None]
    off_by: Mapped[str | None]
    off_run: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"))


class HoldRow(Base):
    """A run that is due and that no worker takes, because a switch is on: `because` is what that switch says."""

    __tablename__ = "holds"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    because: Mapped[str]
    held_at: Mapped[Stamp]


@dataclass(frozen=True)
class Switch:
    """A switch that is on. `kind` is one of KINDS; `target` names the command or the integration."""

    kind: str
    target: str
    by: str
    at: datetime
    reason: str


@dataclass(frozen=True)
class Held:
    """What a switch looks at in a run."""

    run_id: UUID
    command: str
    risk: int
    dry_run: bool
    status: str


async def switch_on(session: WriteSession, *, kind: str, target: str, by: str, reason: str) -> bool:
    """Switches on at once; False when it is on already."""
    row = await session.execute(
        text(
            "INSERT INTO switches (id, kind, target, reason, on_by) VALUES (:id, :kind, :target, :reason, :by)"
            " ON CONFLICT (kind, target) WHERE off_at IS NULL DO NOTHING RETURNING 1"
        ),
        {"id": UUID(bytes=uuid7().bytes), "kind": kind, "target": target, "reason": reason[:200], "by": by},
    )
    return row.first() is not None


async def switch_off(session: WriteSession, *, kind: str, target: str, by: str, run: UUID) -> bool:
    """Switches off; False when it is off already. The sweep lets go on what it held."""
    row = await session.execute(
        text(
            "UPDATE switches SET off_at = countersign_now(), off_by = :by, off_run = :run"
            " WHERE kind = :kind AND target = :target AND off_at IS NULL RETURNING 1"
        ),
        {"kind": kind, "target": target, "by": by, "run": run},
    )
    return row.first() is not None


async def find_switches(session: ReadSession) -> tuple[Switch, ...]:
    """The switches that are on, the one that was switched on first first."""
    rows = await session.execute(text("SELECT kind, target, on_by, on_at, reason FROM switches WHERE off_at IS NULL ORDER BY on_at"))
    return tuple(Switch(row.kind, row.target, row.on_by, row.on_at, row.reason) for row in rows)


async def find_past_switches(session: ReadSession, *, limit: int) -> list[Any]:
    """Switches that are off again, newest first: kind, target, on_by, on_at, off_by, off_at, reason."""
    rows = await session.execute(
        text(
            "SELECT kind, target, on_by, on_at, off_by, off_at, reason FROM switches WHERE off_at IS NOT NULL"
            " ORDER BY off_at DESC LIMIT :limit"
        ),
        {"limit": limit},
    )
    return list(rows.all())


async def find_marks(session: ReadSession, ids: Sequence[UUID]) -> list[Held]:
    """What a switch looks at in each of these runs."""
    rows = await session.execute(text("SELECT id, command, risk, dry_run, status FROM runs WHERE id = ANY(:ids)"), {"ids": list(ids)})
    return [Held(row.id, row.command, row.risk, row.dry_run, row.status) for row in rows]


async def find_held(session: ReadSession) -> list[tuple[Held, str]]:
    """The runs that are held back, each with what the switch said that held it."""
    rows = await session.execute(
        text("SELECT r.id, r.command, r.risk, r.dry_run, r.status, h.because FROM holds h JOIN runs r ON r.id = h.run_id")
    )
    return [(Held(row.id, row.command, row.risk, row.dry_run, row.status), row.because) for row in rows]


# Not a move: the run stays what it is, and merely is not due. A worker that holds it gives it back under its attempt.
_HOLD = text(f"""
WITH held AS (UPDATE runs SET due_at = NULL, worker = NULL, lease_until = NULL
              WHERE id = ANY(:ids) AND due_at IS NOT NULL
                AND CASE WHEN cast(:attempt AS int) IS NULL THEN lease_until IS NULL OR lease_until < countersign_now()
                         ELSE attempt = :attempt AND worker IS NOT NULL END RETURNING id),
kept AS (INSERT INTO holds (run_id, because) SELECT id, cast(:because AS text) FROM held
         ON CONFLICT (run_id) DO UPDATE SET because = excluded.because),
noted AS (INSERT INTO audit_events (id, canonical)
          SELECT gen_random_uuid(), json_build_object('kind', 'run:held', 'actor', 'countersign', 'run', id, 'detail',
                 json_build_object('because', cast(:because AS text)))::text FROM held),
shown AS (UPDATE messages m SET {telling(Priority.progress)} FROM held h
          WHERE m.run_id = h.id AND m.kind <> 'reply' RETURNING 1),
woken AS (SELECT pg_notify('countersign_work', 'messages') FROM shown LIMIT 1)
SELECT id, (SELECT count(*) FROM woken) AS woken FROM held
""")  # noqa: S608  built from constants
_LET_GO_ON = text(f"""
WITH freed AS (DELETE FROM holds WHERE run_id = ANY(:ids) RETURNING run_id),
due AS (UPDATE runs r SET due_at = greatest(countersign_now(), r.start_at) FROM freed f WHERE r.id = f.run_id AND r.status = ANY(:statuses)
        AND r.due_at IS NULL AND r.lease_until IS NULL RETURNING r.id, r.status, r.label),
noted AS (INSERT INTO audit_events (id, canonical)
          SELECT gen_random_uuid(), json_build_object('kind', 'run:let_go_on', 'actor', 'countersign', 'run', id, 'detail',
                 json_build_object())::text FROM due),
shown AS (UPDATE messages m SET {telling(Priority.progress)} FROM due d
          WHERE m.run_id = d.id AND m.kind <> 'reply' RETURNING 1),
wakes AS (SELECT CASE WHEN status IN ('submitted', 'planning') THEN 'plan' ELSE 'execute' END
                 || CASE label WHEN '' THEN '' ELSE '@' || label END || ' ' || string_agg(id::text, ' ') AS w
          FROM (SELECT id, status, label, row_number() OVER () / 200 AS part FROM due) d
          GROUP BY part, label, status IN ('submitted', 'planning')
          UNION ALL (SELECT 'messages' FROM shown LIMIT 1)),
woken AS (SELECT pg_notify('countersign_work', w) FROM wakes)
SELECT id, (SELECT count(*) FROM woken) AS woken FROM due
""")  # noqa: S608  built from constants


_SHOW_AGAIN: Final = text(f"""
WITH open AS (SELECT run_id FROM approval_requests WHERE state = 'open'
              UNION SELECT id FROM runs WHERE due_at IS NOT NULL UNION SELECT run_id FROM holds),
changed AS (SELECT max(greatest(on_at, off_at)) AS at FROM switches),
shown AS (UPDATE messages m SET {telling(Priority.progress)} FROM open o, changed c WHERE m.run_id = o.run_id AND m.kind <> 'reply'
          AND (m.edited_at IS NULL OR m.edited_at < c.at + interval '1 minute') RETURNING 1),
woken AS (SELECT pg_notify('countersign_work', 'messages') FROM shown LIMIT 1)
SELECT (SELECT count(*) FROM shown) AS shown, (SELECT count(*) FROM woken) AS woken
""")  # noqa: S608  built from constants


async def hold(session: WriteSession, ids: Sequence[UUID], *, because: str, attempt: int | None = None) -> set[UUID]:
    """Takes runs from what is due until a switch is off; returns those held.

    Without `attempt` it is for runs that nobody has claimed; with it, for the worker that gives its claim back.
    """
    rows = await session.execute(_HOLD, {"ids": list(ids), "because": because, "attempt": attempt})
    return {row.id for row in rows}


async def let_go_on(session: WriteSession, ids: Sequence[UUID], *, statuses: Sequence[str]) -> set[UUID]:
    """Makes held runs due again, those whose status is still one that a worker takes, and wakes the workers; returns them."""
    rows = await session.execute(_LET_GO_ON, {"ids": list(ids), "statuses": list(statuses)})
    return {row.id for row in rows}


async def show_again(session: WriteSession) -> int:
    """Makes the cards of runs that have not ended current, after those of people who wait for an answer; returns how many.

    A card that was edited a minute after the last change of any switch shows it already: there may be thousands of them.
    """
    return int((await session.execute(_SHOW_AGAIN)).one().shown)
