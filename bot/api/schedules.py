"""Reading schedules: their terms, what is due next, and what became of their slots. Commands change them: schedule add and so on."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from commands.schedules import coming, reads
from store.databases import ReadSession
from store.schedules import ScheduleRow, Slot, find_schedule, find_schedules, find_slots

from .callers import READ, Caller, caller_with
from .pages import Limit
from .problems import Problem

router = APIRouter(tags=["schedules"])
_SLOTS = 20


@router.get("/schedules")
async def show_all(caller: Annotated[Caller, Depends(caller_with(READ))]) -> dict[str, Any]:
    """The schedules there are, by name; what a private command is asked is left out for who may not read it."""
    rows = await caller.hub.read(find_schedules)
    return {"items": [await _as_json(caller, one) for one in rows], "next": None}


@router.get("/schedules/{name}")
async def show(name: str, caller: Annotated[Caller, Depends(caller_with(READ))]) -> dict[str, Any]:
    """One schedule with its next ten slots and its last twenty."""

    async def find(session: ReadSession) -> tuple[ScheduleRow, list[Slot]] | None:
        row = await find_schedule(session, name)
        return (row, await find_slots(session, row.id, limit=_SLOTS)) if row else None

    found = await caller.hub.read(find)
    if found is None:
        raise Problem(404, "not_found", "There is no such schedule.")
    row, slots = found
    return await _as_json(caller, row) | {
        "coming": [at.isoformat() for at, _ in coming([row], limit=10)],
        "slots": [_slot_as_json(one) for one in slots],
    }


@router.get("/coming")
async def show_coming(caller: Annotated[Caller, Depends(caller_with(READ))], limit: Limit = 50) -> dict[str, Any]:
    """The slots that will be due next, of all schedules, in order: the runs to come."""
    rows = await caller.hub.read(find_schedules)
    items = [{"at": at.isoformat(), "schedule": row.name, **await _asked(caller, row)} for at, row in coming(rows, limit=limit)]
    return {"items": items, "next": None}


async def _asked(caller: Caller, row: ScheduleRow) -> dict[str, Any]:
    seen = reads(await caller.hub.rulebook(), caller.person, row)
    return {"command": row.command, "arguments": row.arguments if seen else None, "account": row.account, "owner": row.owner}


async def _as_json(caller: Caller, row: ScheduleRow) -> dict[str, Any]:
    paused = {"at": row.paused_at.isoformat(), "by": row.paused_by, "because": row.paused_because} if row.paused_at else None
    return {
        "id": str(row.id),
        "name": row.name,
        **await _asked(caller, row),
        "when": row.cadence,
        "zone": row.zone,
        "overlap": row.overlap,
        "catch_up": row.catch_up,
        "pause_after": row.pause_after,
        "channel": row.channel,
        "failures": row.failures,
        "next_at": row.next_at.isoformat() if row.next_at else None,
        "paused": paused,
    }


def _slot_as_json(one: Slot) -> dict[str, Any]:
    run = {"id": str(one.run_id), "number": one.number, "status": one.status} if one.run_id else None
    return {"at": one.slot.isoformat(), "kind": one.kind, "state": one.state, "asked_by": one.asked_by, "because": one.because, "run": run}
