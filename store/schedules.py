"""Schedules, and what became of each of their slots. A slot's row is made with its run: whoever makes it has asked, and nobody else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from countersign.runs import FINISHED

from .bases import Base, Identifier, Stamp
from .databases import ReadSession, WriteSession

_OPEN: Final = text("state IN ('waiting', 'sent')")


class SlotState(StrEnum):
    """`waiting` for an earlier run, `sent` while its run has not ended, `done` when that ended, `skipped`, or `refused` without a run."""

    waiting = "waiting"
    sent = "sent"
    done = "done"
    skipped = "skipped"
    refused = "refused"


class SlotKind(StrEnum):
    """By the schedule itself, by somebody at once, or made up for by somebody."""

    due = "due"
    now = "now"
    backfill = "backfill"


class ScheduleRow(Base):
    """`next_at` is its next slot, None while it is paused, removed or never due again; `looked_at` is up to when slots were decided.

    `failures` are those in a row since the last good end.
    """

    __tablename__ = "schedules"
    __table_args__ = (
        Index("uq_schedules_name", "name", unique=True, postgresql_where=text("removed_at IS NULL")),
        Index("ix_schedules_due", "next_at", postgresql_where=text("next_at IS NOT NULL")),
    )

    id: Mapped[Identifier]
    name: Mapped[str]
    account: Mapped[str] = mapped_column(ForeignKey("people.name"))
    owner: Mapped[str] = mapped_column(ForeignKey("people.name"))
    command: Mapped[str]
    arguments: Mapped[dict[str, Any]]
    cadence: Mapped[str]
    zone: Mapped[str]
    overlap: Mapped[str]
    catch_up: Mapped[str]
    pause_after: Mapped[int]
    channel: Mapped[str]
    reason: Mapped[str]
    anchor: Mapped[Stamp]
    looked_at: Mapped[Stamp]
    next_at: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[str] = mapped_column(server_default=text("''"))
    paused_because: Mapped[str] = mapped_column(server_default=text("''"))
    made_at: Mapped[Stamp]
    changed_at: Mapped[Stamp]
    removed_at: Mapped[datetime | None]

    @property
    def source(self) -> str:
        """How its requests name it."""
        return f"schedule {self.name}"


class SlotRow(Base):
    __tablename__ = "schedule_slots"
    __table_args__ = (Index("ix_schedule_slots_open", "schedule_id", "slot", postgresql_where=_OPEN),)

    schedule_id: Mapped[UUID] = mapped_column(ForeignKey("schedules.id"), primary_key=True)
    slot: Mapped[datetime] = mapped_column(primary_key=True)
    kind: Mapped[str]
    state: Mapped[str]
    run_id: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"))
    asked_by: Mapped[str] = mapped_column(server_default=text("''"))
    because: Mapped[str] = mapped_column(server_default=text("''"))
    decided_at: Mapped[Stamp]


@dataclass(frozen=True)
class Slot:
    """A slot with the run that it led to, as that is now."""

    slot: datetime
    kind: SlotKind
    state: SlotState
    asked_by: str
    because: str
    run_id: UUID | None
    number: int | None
    status: str | None
    outcome: str

    @property
    def under_way(self) -> bool:
        """Whether its run has not ended."""
        return self.state is SlotState.sent and self.status not in FINISHED


TERMS: Final = ("account", "owner", "command", "arguments", "cadence", "zone", "overlap", "catch_up", "pause_after", "channel", "reason")
_WRITE = text(f"""
INSERT INTO schedules (id, name, {", ".join(TERMS)}, anchor, next_at)
VALUES (:id, :name, {", ".join(f":{one}" for one in TERMS)}, :anchor, :next_at)
ON CONFLICT (id) DO UPDATE SET {", ".join(f"{one} = excluded.{one}" for one in TERMS)}, changed_at = countersign_now(),
   looked_at = countersign_now(), failures = 0, removed_at = NULL,
   next_at = CASE WHEN schedules.paused_at IS NULL THEN excluded.next_at END
""")  # noqa: S608  built from constants
_SELECT: Final = "SELECT s.*, countersign_now() AS now FROM schedules s"
_SLOTS: Final = """
SELECT l.slot, l.kind, l.state, l.asked_by, l.because, l.run_id, r.number, r.status, coalesce(r.outcome, '') AS outcome
FROM schedule_slots l LEFT JOIN runs r ON r.id = l.run_id
"""
_BUSY = text("""
SELECT id FROM schedules WHERE next_at <= countersign_now()
UNION SELECT l.schedule_id FROM schedule_slots l LEFT JOIN runs r ON r.id = l.run_id
      WHERE l.state = 'waiting' OR (l.state = 'sent' AND r.status = ANY(:finished))
LIMIT :limit
""")
_WAKE: Final = text("SELECT pg_notify('countersign_work', 'schedules')")


async def write_schedule(
    session: WriteSession, *, schedule: UUID, name: str, terms: Mapping[str, Any], anchor: datetime, next_at: datetime | None
) -> None:
    """Makes the schedule or gives it other terms, all of `TERMS`; slots that were due before are not made up for. Wakes the schedulers."""
    values = {**terms, "arguments": Jsonb(terms["arguments"]), "id": schedule, "name": name, "anchor": anchor, "next_at": next_at}
    await session.execute(_WRITE, values)
    await session.execute(_WAKE)


async def remove_schedule(session: WriteSession, schedule: UUID) -> bool:
    """Ends it, and its slots that wait; False when it had ended."""
    await _drop_waiting(session, schedule, kinds=list(SlotKind), because="the schedule was removed")
    rows = await session.execute(
        text("UPDATE schedules SET removed_at = countersign_now(), next_at = NULL WHERE id = :id AND removed_at IS NULL RETURNING 1"),
        {"id": schedule},
    )
    return rows.first() is not None


async def pause_schedule(session: WriteSession, schedule: UUID, *, by: str, because: str) -> bool:
    """Nothing is due until it is resumed; False when it was paused already or has ended."""
    await _drop_waiting(session, schedule, kinds=[SlotKind.due], because="the schedule was paused")
    rows = await session.execute(
        text(
            "UPDATE schedules SET paused_at = countersign_now(), paused_by = :by, paused_because = :because, next_at = NULL"
            " WHERE id = :id AND paused_at IS NULL AND removed_at IS NULL RETURNING 1"
        ),
        {"id": schedule, "by": by, "because": because},
    )
    return rows.first() is not None


async def resume_schedule(session: WriteSession, schedule: UUID, *, next_at: datetime | None) -> bool:
    """It is due again from `next_at` on; False when it was not paused."""
    rows = await session.execute(
        text(
            "UPDATE schedules SET paused_at = NULL, paused_by = '', paused_because = '', failures = 0, next_at = :next_at,"
            " looked_at = countersign_now() WHERE id = :id AND paused_at IS NOT NULL AND removed_at IS NULL RETURNING 1"
        ),
        {"id": schedule, "next_at": next_at},
    )
    await session.execute(_WAKE)
    return rows.first() is not None


async def add_slots(
    session: WriteSession,
    schedule: UUID,
    slots: Sequence[datetime],
    *,
    kind: SlotKind,
    state: SlotState,
    asked_by: str = "",
    because: str = "",
) -> set[datetime]:
    """Writes down slots, each once and for all; returns those that nobody had decided before."""
    rows = await session.execute(
        text(
            "INSERT INTO schedule_slots (schedule_id, slot, kind, state, asked_by, because)"
            " SELECT :schedule, one, :kind, :state, :asked_by, :because FROM unnest(cast(:slots AS timestamptz[])) AS one"
            " ON CONFLICT DO NOTHING RETURNING slot"
        ),
        {"schedule": schedule, "slots": list(slots), "kind": kind, "state": state, "asked_by": asked_by, "because": because},
    )
    return {row.slot for row in rows}


async def add_again(session: WriteSession, schedule: UUID, slots: Sequence[datetime], *, kind: SlotKind, asked_by: str) -> set[datetime]:
    """Has these slots asked for that were not; returns those. Wakes the schedulers."""
    rows = await session.execute(
        text(
            "INSERT INTO schedule_slots (schedule_id, slot, kind, state, asked_by)"
            " SELECT :schedule, one, :kind, 'waiting', :asked_by FROM unnest(cast(:slots AS timestamptz[])) AS one"
            " ON CONFLICT (schedule_id, slot) DO UPDATE SET kind = excluded.kind, state = 'waiting', asked_by = excluded.asked_by,"
            " because = '', decided_at = countersign_now() WHERE schedule_slots.state IN ('skipped', 'refused') RETURNING slot"
        ),
        {"schedule": schedule, "slots": list(slots), "kind": kind, "asked_by": asked_by},
    )
    await session.execute(_WAKE)
    return {row.slot for row in rows}


async def settle_slot(
    session: WriteSession, schedule: UUID, slot: datetime, state: SlotState, *, run: UUID | None = None, because: str = ""
) -> None:
    """What became of a slot."""
    await session.execute(
        text(
            "UPDATE schedule_slots SET state = :state, run_id = coalesce(:run, run_id), decided_at = countersign_now(),"
            " because = coalesce(nullif(:because, ''), because) WHERE schedule_id = :schedule AND slot = :slot"
        ),
        {"schedule": schedule, "slot": slot, "state": state, "run": run, "because": because},
    )


async def look_again(session: WriteSession, schedule: UUID, *, looked_at: datetime, next_at: datetime | None) -> None:
    """Up to when its slots are decided, and when the next one is."""
    await session.execute(
        text(
            "UPDATE schedules SET looked_at = :looked, next_at = CASE WHEN paused_at IS NULL AND removed_at IS NULL THEN"
            " cast(:next AS timestamptz) END WHERE id = :id"
        ),
        {"id": schedule, "looked": looked_at, "next": next_at},
    )


async def count_failures(session: WriteSession, schedule: UUID, failures: int) -> None:
    """How many ended badly in a row."""
    await session.execute(text("UPDATE schedules SET failures = :failures WHERE id = :id"), {"id": schedule, "failures": failures})


async def find_busy(session: ReadSession, *, limit: int = 200) -> list[UUID]:
    """Schedules of which something is due, waits, or has ended and was not counted."""
    rows = await session.execute(_BUSY, {"finished": [str(one) for one in FINISHED], "limit": limit})
    return [row.id for row in rows]


async def find_pause(session: ReadSession) -> tuple[timedelta | None, bool]:
    """How long until the next slot, None when none will be; and whether runs are under way whose end will be counted."""
    row = (
        await session.execute(
            text(
                "SELECT (SELECT min(next_at) FROM schedules WHERE next_at IS NOT NULL) - countersign_now() AS pause,"
                " EXISTS (SELECT FROM schedule_slots WHERE state IN ('waiting', 'sent')) AS open"
            )
        )
    ).one()
    return row.pause, row.open


async def lock_schedule(session: WriteSession, schedule: UUID) -> tuple[ScheduleRow, datetime] | None:
    """The schedule, locked, and the database's time; None when another scheduler has it."""
    found = await session.execute(text(f"{_SELECT} WHERE id = :id FOR UPDATE SKIP LOCKED"), {"id": schedule})
    row = found.first()
    return (_schedule(row), row.now) if row else None


async def find_schedule(session: ReadSession, name: str) -> ScheduleRow | None:
    """The one with this name that was not removed."""
    row = (await session.execute(text(f"{_SELECT} WHERE name = :name AND removed_at IS NULL"), {"name": name})).first()
    return _schedule(row) if row else None


async def find_by_id(session: ReadSession, schedule: UUID) -> ScheduleRow | None:
    """The schedule, removed or not."""
    row = (await session.execute(text(f"{_SELECT} WHERE id = :id"), {"id": schedule})).first()
    return _schedule(row) if row else None


async def find_schedules(session: ReadSession, *, limit: int = 500) -> list[ScheduleRow]:
    """All of them that were not removed, by name."""
    rows = await session.execute(text(f"{_SELECT} WHERE removed_at IS NULL ORDER BY name LIMIT :limit"), {"limit": limit})
    return [_schedule(row) for row in rows]


async def find_open_slots(session: ReadSession, schedule: UUID) -> list[Slot]:
    """Its slots that wait or whose runs were not counted yet, in order."""
    rows = await session.execute(text(f"{_SLOTS} WHERE l.schedule_id = :id AND l.{_OPEN.text} ORDER BY l.slot"), {"id": schedule})
    return [_slot(row) for row in rows]


async def find_slots(session: ReadSession, schedule: UUID, *, limit: int = 10) -> list[Slot]:
    """Its latest slots, newest first."""
    rows = await session.execute(
        text(f"{_SLOTS} WHERE l.schedule_id = :id ORDER BY l.slot DESC LIMIT :limit"),
        {"id": schedule, "limit": limit},
    )
    return [_slot(row) for row in rows]


async def _drop_waiting(session: WriteSession, schedule: UUID, *, kinds: Sequence[SlotKind], because: str) -> None:
    await session.execute(
        text(
            "UPDATE schedule_slots SET state = 'skipped', because = :because WHERE schedule_id = :schedule AND state = 'waiting'"
            " AND kind = ANY(:kinds)"
        ),
        {"schedule": schedule, "because": because, "kinds": [str(one) for one in kinds]},
    )


def _schedule(row: Any) -> ScheduleRow:
    return ScheduleRow(**{name: value for name, value in row._mapping.items() if name != "now"})


def _slot(row: Any) -> Slot:
    return Slot(**{**row._mapping, "kind": SlotKind(row.kind), "state": SlotState(row.state)})
