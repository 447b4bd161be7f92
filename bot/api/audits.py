"""Reading the audit, for those who hold countersign:audit."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime

from bot.auditing import may_read, microseconds, read_event, read_record
from bot.evidence import gather
from commands.authorizing import Refused
from countersign.invocations import Door
from store.audits import AuditRow, Cursor, Sought, record
from store.databases import WriteSession
from store.runs import find_by_reference

from .callers import READ, Caller, caller_with
from .pages import After, Limit, numbers_in, page
from .problems import Problem, refused
from .stories import HIDDEN, NO_SUCH_RUN

router = APIRouter(prefix="/audit", tags=["audit"])


@router.get("")
async def search(
    caller: Annotated[Caller, Depends(caller_with(READ))],
    q: Annotated[
        str,
        Query(max_length=200, description="Words, each the beginning of one of the event's; `name=value` is an argument and its value."),
    ] = "",
    kind: Annotated[str, Query(max_length=60)] = "",
    actor: Annotated[str, Query(max_length=100)] = "",
    run: UUID | None = None,
    since: Annotated[AwareDatetime | None, Query(description="From this moment on.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Before this moment.")] = None,
    limit: Limit = 50,
    cursor: After = None,
) -> dict[str, Any]:
    """Events, newest first. Whoever reads the audit is in it: the first page of each search is recorded."""
    start = numbers_in(cursor, count=2)
    sought = Sought(q, kind, actor, run, since_us=_us(since), until_us=_us(until))
    before = Cursor(*start) if start else None
    rows = await read_record(caller.hub, caller.person, sought, door=Door.api, trace=caller.trace, before=before, limit=limit)
    if isinstance(rows, Refused):
        raise refused(rows.reason, rows.sentence)
    return page([_as_json(one) for one in rows], tuple(rows[-1].cursor) if len(rows) == limit else None)


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else microseconds(moment)


def _as_json(row: AuditRow) -> dict[str, Any]:
    run = str(row.run) if row.run else None
    return {"id": str(row.id), "at": row.at.isoformat(), "kind": row.kind, "actor": row.actor, "run": run, "detail": row.detail} | (
        {"erased": True} if row.erased else {}
    )


@router.get("/evidence/{reference}")
async def evidence(caller: Annotated[Caller, Depends(caller_with(READ))], reference: str) -> dict[str, Any]:
    """One run's events with their proofs, blocks, keys, anchors, policies and plan, for `store/verify_evidence.py`. Recorded."""
    answer = may_read(await caller.hub.rulebook(), caller.person, door=Door.api)

    async def find(session: WriteSession) -> dict[str, Any] | None:
        if isinstance(answer, Refused):
            await record(session, [read_event(caller.person, "request:refused", door=Door.api, trace=caller.trace, reason=answer.reason)])
            return None
        run = await find_by_reference(session, reference)
        if run is None:
            return None
        found = await gather(session, caller.hub.settings, run)
        await record(session, [read_event(caller.person, "audit:read", door=Door.api, trace=caller.trace, evidence=str(run.id))])
        return found

    found = await caller.hub.committed(find)
    if isinstance(answer, Refused):
        raise refused(answer.reason, answer.sentence)
    if found is None:
        raise Problem(404, HIDDEN, NO_SUCH_RUN)
    return found
