"""Reading the audit, for those who hold countersign:audit."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from commands.authorizing import Refused, Request, authorize
from commands.policies import AUDIT
from countersign.invocations import Door, Place
from store.audits import AuditEvent, AuditRow, Cursor
from store.audits import record as record_events
from store.audits import search as search_events
from store.databases import WriteSession

from .callers import READ, Caller, caller_with
from .pages import After, Limit, numbers_in, page
from .problems import refused

router = APIRouter(prefix="/audit", tags=["audit"])


@router.get("")
async def search(
    caller: Annotated[Caller, Depends(caller_with(READ))],
    kind: Annotated[str | None, Query(max_length=60)] = None,
    actor: Annotated[str | None, Query(max_length=100)] = None,
    run: UUID | None = None,
    limit: Limit = 50,
    cursor: After = None,
) -> dict[str, Any]:
    """Events, newest first. Whoever reads the audit is in it: the first page of each search is recorded."""
    start = numbers_in(cursor, count=2)
    before = Cursor(*start) if start else None
    policy = (await caller.hub.rulebook()).policy
    answer = authorize(policy, caller.person, Request(permission=AUDIT, door=Door.api, place=Place("api")))

    async def find(session: WriteSession) -> list[AuditRow]:
        if isinstance(answer, Refused):
            await record_events(session, [_asked(caller, "request:refused", reason=answer.reason)])
            return []
        rows = await search_events(session, kind=kind, actor=actor, run=run, before=before, limit=limit)
        if before is None:
            searched = {"by_kind": kind, "by_actor": actor, "by_run": str(run) if run else None}
            await record_events(session, [_asked(caller, "audit:read", **{name: one for name, one in searched.items() if one})])
        return rows

    rows = await caller.hub.committed(find)
    if isinstance(answer, Refused):
        raise refused(answer.reason, answer.sentence)
    return page([_as_json(one) for one in rows], tuple(rows[-1].cursor) if len(rows) == limit else None)


def _asked(caller: Caller, kind: str, **detail: str) -> AuditEvent:
    return AuditEvent(kind, caller.person.name, None, {"door": Door.api.value, "trace": caller.trace, "command": "audit", **detail})


def _as_json(row: AuditRow) -> dict[str, Any]:
    run = str(row.run) if row.run else None
    return {"id": str(row.id), "at": row.at.isoformat(), "kind": row.kind, "actor": row.actor, "run": run, "detail": row.detail}
