"""Waits: what a parked run waits for. It has no claim and is not due; an event, a due time or a person wakes it, and it looks again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import ForeignKey, Index, Uuid, any_, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from countersign.runs import RunStatus

from .bases import Base, Stamp
from .databases import ReadSession, WriteSession
from .messages import Priority, telling
from .runs import Move, RunRow, move
from .workers import waking

# A run that has not begun, or is being undone, waits as what it is; one that runs becomes `waiting`.
AS_IT_IS: Final = (RunStatus.queued, RunStatus.undoing)
PARKED: Final = (RunStatus.waiting, *AS_IT_IS)


class WaitKind(StrEnum):
    """What a run may wait for."""

    task = "task"
    lock = "lock"
    pause = "pause"
    child = "child"
    guard = "guard"
    backoff = "backoff"
    worker = "worker"
    turn = "turn"


@dataclass(frozen=True)
class Waiting:
    """One thing that a run waits for.

    `detail` says it to people, as in `Lin says done`. `subject` names it to whoever will wake the run: a task's id, a child run's id, a
    lock's name. The run is woken at `due`, or `after` so many seconds, at the latest. `since` is for whoever knows that the waiting began
    earlier than now.
    """

    kind: WaitKind
    detail: str
    subject: str = ""
    due: datetime | None = None
    after: float | None = None
    since: datetime | None = None


class WaitRow(Base):
    __tablename__ = "waits"
    __table_args__ = (
        Index("ix_waits_subject", "kind", "subject"),
        Index("ix_waits_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    )

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    detail: Mapped[str]
    since: Mapped[Stamp]
    due_at: Mapped[datetime | None]


_KEEP: Final = text("""
INSERT INTO waits (run_id, kind, subject, detail, since, due_at)
SELECT :run, w.kind, w.subject, w.detail, coalesce(w.since, countersign_now()),
       coalesce(w.due, countersign_now() + w.after * interval '1 second')
FROM jsonb_to_recordset(cast(:waits AS jsonb)) AS w(kind text, subject text, detail text, since timestamptz, due timestamptz, after float)
""")
# Not a move: the run stays what it is, and merely is not due.
_PUT_BY: Final = text(f"""
WITH parked AS (UPDATE runs SET worker = NULL, lease_until = NULL, due_at = NULL
                WHERE id = :run AND attempt = :attempt AND worker IS NOT NULL AND status = ANY(:statuses) RETURNING id),
noted AS (INSERT INTO audit_events (id, canonical)
          SELECT gen_random_uuid(), json_build_object('kind', 'run:parked', 'actor', 'countersign', 'run', id, 'detail',
                 json_build_object('because', cast(:because AS text)))::text FROM parked),
shown AS (UPDATE messages m SET {telling(Priority.card)} FROM parked p
          WHERE m.run_id = p.id AND m.kind <> 'reply' RETURNING 1),
woken AS (SELECT pg_notify('countersign_work', 'messages') FROM shown LIMIT 1)
SELECT id, (SELECT count(*) FROM woken) AS woken FROM parked
""")  # noqa: S608  built from constants
# Runs first, as everybody locks them, so that a cancel at the same instant is one after the other.
_WAKE: Final = text("""
WITH held AS (SELECT id, status FROM runs WHERE id = ANY(:ids) AND status = ANY(:parked) AND worker IS NULL ORDER BY id FOR UPDATE),
gone AS (DELETE FROM waits w USING held h WHERE w.run_id = h.id)
SELECT id, status FROM held
""")
_GO_ON: Final = text(f"""
WITH freed AS (UPDATE runs r SET due_at = countersign_now() WHERE id = ANY(:ids) AND status = ANY(:statuses)
               AND due_at IS NULL AND lease_until IS NULL RETURNING id, label),
noted AS (INSERT INTO audit_events (id, canonical)
          SELECT gen_random_uuid(), json_build_object('kind', 'run:woken', 'actor', cast(:by AS text), 'run', id, 'detail',
                 jsonb_strip_nulls(jsonb_build_object('because', nullif(cast(:because AS text), ''))))::text FROM freed),
shown AS (UPDATE messages m SET {telling(Priority.progress)} FROM freed f
          WHERE m.run_id = f.id AND m.kind <> 'reply' RETURNING 1),
woken AS (SELECT pg_notify('countersign_work', w) FROM
          ({waking("execute", "freed")}
           UNION ALL (SELECT 'messages' FROM shown LIMIT 1)) AS wakes)
SELECT id, (SELECT count(*) FROM woken) AS woken FROM freed
""")  # noqa: S608  built from constants
# Whatever woke nobody in time is found here: a wait that began just after its event, a person's word, a row that somebody took away.
_RIPE: Final = text("""
SELECT w.run_id FROM waits w WHERE w.due_at <= countersign_now()
UNION SELECT w.run_id FROM waits w JOIN runs r ON r.id = w.run_id
      WHERE (r.cancelled_by IS NOT NULL OR (w.kind = 'pause' AND r.paused_by IS NULL)) AND r.status = 'waiting'
UNION SELECT w.run_id FROM waits w JOIN runs c ON w.kind = 'child' AND c.id::text = w.subject AND c.status = ANY(:finished)
UNION SELECT w.run_id FROM waits w JOIN tasks t ON w.kind = 'task' AND t.id::text = w.subject AND t.state <> 'open'
UNION SELECT r.id FROM runs r WHERE r.status = 'waiting' AND NOT EXISTS (SELECT FROM waits w WHERE w.run_id = r.id)
LIMIT 200
""")


async def park(session: WriteSession, run_id: UUID, *, attempt: int, waits: Sequence[Waiting]) -> bool:
    """Ends the claim of a run until one of these things comes; then it goes on and looks again. False when the claim was lost.

    A run that is `running` becomes `waiting`; one that is queued or being undone stays what it is, and no worker takes it.
    """
    because = "; ".join(one.detail for one in waits)[:300]
    if not await move(session, [Move(run_id, RunStatus.waiting, by="countersign", attempt=attempt, because=because)]):
        values = {"run": run_id, "attempt": attempt, "because": because, "statuses": list(AS_IT_IS)}
        if (await session.execute(_PUT_BY, values)).first() is None:
            return False
    await session.execute(text("DELETE FROM waits WHERE run_id = :run"), {"run": run_id})
    await session.execute(_KEEP, {"run": run_id, "waits": Jsonb([_as_json(one) for one in waits])})
    return True


async def wake(session: WriteSession, run_ids: Sequence[UUID], *, by: str = "countersign", because: str = "") -> set[UUID]:
    """Lets those of these runs that are parked go on, and wakes the workers; returns them. Woken twice, a run goes on once."""
    if not run_ids:
        return set()
    held = {row.id: row.status for row in await session.execute(_WAKE, {"ids": list(run_ids), "parked": list(PARKED)})}
    waiting = [one for one, status in held.items() if status == RunStatus.waiting]
    values = {"ids": [one for one in held if one not in waiting], "by": by, "because": because, "statuses": list(AS_IT_IS)}
    moves = [Move(one, RunStatus.running, by=by, because=because, come_from=(RunStatus.waiting,)) for one in waiting]
    moved: set[UUID] = set(await move(session, moves))
    return moved | ({row.id for row in await session.execute(_GO_ON, values)} if values["ids"] else set())


async def wake_for(session: WriteSession, kind: WaitKind, subject: str, *, by: str = "countersign", because: str = "") -> set[UUID]:
    """Wakes the runs that wait for this, for instance for the end of a child run."""
    rows = await session.execute(
        text("SELECT run_id FROM waits WHERE kind = :kind AND subject = :subject"), {"kind": kind, "subject": subject}
    )
    return await wake(session, [row.run_id for row in rows], by=by, because=because)


async def find_ripe(session: ReadSession, *, finished: Sequence[RunStatus]) -> list[UUID]:
    """At most 200 parked runs that have something to go on with: a due time has passed, or what they waited for has come."""
    return [row.run_id for row in await session.execute(_RIPE, {"finished": list(finished)})]


async def find_waits(session: ReadSession, runs: Sequence[RunRow]) -> list[WaitRow]:
    """What these runs wait for now, longest first."""
    parked = [one.id for one in runs if is_parked(one)]
    if not parked:
        return []
    of_these = WaitRow.run_id == any_(literal(parked, ARRAY(Uuid)))
    return list(await session.scalars(select(WaitRow).where(of_these).order_by(WaitRow.since, WaitRow.subject)))


async def find_all_waits(session: ReadSession, *, limit: int) -> list[Any]:
    """What runs wait for, longest first: kind, detail, since, due_at, and the run's number and command."""
    rows = await session.execute(
        text(
            "SELECT w.kind, w.detail, w.since, w.due_at, r.number, r.command FROM waits w JOIN runs r ON r.id = w.run_id"
            " ORDER BY w.since LIMIT :limit"
        ),
        {"limit": limit},
    )
    return list(rows.all())


def is_parked(run: RunRow) -> bool:
    """Whether nobody works on it until something wakes it."""
    return run.status in PARKED and run.worker is None and run.due_at is None


async def forget_waits(session: WriteSession) -> None:
    """Takes away what was kept for runs that have moved on by other ways, cancelled ones for instance."""
    await session.execute(
        text("DELETE FROM waits w USING runs r WHERE r.id = w.run_id AND NOT r.status = ANY(:parked)"), {"parked": list(PARKED)}
    )


def _as_json(one: Waiting) -> dict[str, object]:
    return {
        "kind": one.kind.value,
        "subject": one.subject,
        "detail": one.detail,
        "after": one.after,
        "due": one.due.isoformat() if one.due else None,
        "since": one.since.isoformat() if one.since else None,
    }
