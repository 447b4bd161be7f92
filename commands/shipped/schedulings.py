"""The steps that write, pause and end schedules and ask for slots. Each can be repeated."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from commands.cadences import read_cadence
from countersign import Context, StepFailed, step
from countersign.calendars import zone_of
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.schedules import (
    ScheduleRow,
    SlotKind,
    add_again,
    find_by_id,
    find_schedule,
    pause_schedule,
    remove_schedule,
    resume_schedule,
    write_schedule,
)

from .givings import run_of


@step(idempotent=True, timeout="30s")
async def write_terms(ctx: Context, schedule: str, name: str, terms: dict[str, Any]) -> None:
    """Makes the schedule, or gives it these terms; it is due from now on."""
    async with ctx.services.transaction() as session:
        other = await find_schedule(session, name)
        if other is not None and str(other.id) != schedule:
            raise StepFailed(f"Another schedule is called {name} by now")
        now = await _now(session)
        known = await find_by_id(session, UUID(schedule))
        anchor = known.anchor if known else now.replace(second=0, microsecond=0)
        cadence = read_cadence(terms["cadence"], zone_of(terms["zone"]), anchor)
        following = next(cadence.slots(now), None)
        await write_schedule(session, schedule=UUID(schedule), name=name, terms=terms, anchor=anchor, next_at=following)
        await _note(session, ctx, "schedule:written", schedule, {"name": name, **terms})


@step(idempotent=True, timeout="30s")
async def end_schedule(ctx: Context, schedule: str) -> None:
    """Nothing is due any more, and what waits is skipped; runs under way go on."""
    async with ctx.services.transaction() as session:
        if await remove_schedule(session, UUID(schedule)):
            await _note(session, ctx, "schedule:removed", schedule, {})


@step(idempotent=True, timeout="30s")
async def hold(ctx: Context, schedule: str, because: str) -> None:
    async with ctx.services.transaction() as session:
        if await pause_schedule(session, UUID(schedule), by=ctx.asker.name, because=because):
            await _note(session, ctx, "schedule:paused", schedule, {"because": because})


@step(idempotent=True, timeout="30s")
async def let_go_on(ctx: Context, schedule: str) -> None:
    """Due again from now on; what was due meanwhile is not made up for."""
    async with ctx.services.transaction() as session:
        row = await _found(session, schedule)
        cadence = read_cadence(row.cadence, zone_of(row.zone), row.anchor)
        if await resume_schedule(session, UUID(schedule), next_at=next(cadence.slots(await _now(session)), None)):
            await _note(session, ctx, "schedule:resumed", schedule, {})


@step(idempotent=True, timeout="30s")
async def ask_slots(ctx: Context, schedule: str, slots: list[str], kind: str) -> int:
    """Has these slots asked for, one after the other; returns how many there are to ask for."""
    async with ctx.services.transaction() as session:
        await _found(session, schedule)
        wanted = [datetime.fromisoformat(one) for one in slots]
        added = await add_again(session, UUID(schedule), wanted, kind=SlotKind(kind), asked_by=ctx.asker.name)
        if added:
            await _note(session, ctx, f"schedule:{kind}", schedule, _span(wanted, added))
    return len(added)


async def _found(session: WriteSession, schedule: str) -> ScheduleRow:
    row = await find_by_id(session, UUID(schedule))
    if row is None or row.removed_at is not None:
        raise StepFailed("The schedule was removed meanwhile")
    return row


async def _now(session: WriteSession) -> datetime:
    found: datetime = (await session.execute(text("SELECT countersign_now()"))).scalar_one()
    return found


def _span(wanted: Sequence[datetime], added: set[datetime]) -> Mapping[str, Any]:
    return {"from": wanted[0].isoformat(), "until": wanted[-1].isoformat(), "slots": len(added)}


async def _note(session: WriteSession, ctx: Context, kind: str, schedule: str, detail: Mapping[str, Any]) -> None:
    await record(session, [AuditEvent(kind, ctx.asker.name, run_of(ctx), {"schedule": schedule, **detail})])
