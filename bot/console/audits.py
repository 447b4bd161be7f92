"""The record, for those who may read it: search over everything, how the chain stands, one event with its proof of inclusion."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from bot.api.problems import Problem, refused
from bot.api.stories import NO_SUCH_RUN
from bot.auditing import may_read, microseconds, read_event, read_record
from bot.hubs import Hub
from commands.authorizing import Refused
from commands.views import FILTERS, ViewPage
from countersign.invocations import Door
from store.audits import AuditEvent, AuditEventRow, AuditRow, Cursor, Sought, record
from store.databases import ReadSession, WriteSession
from store.erasures import Erasure, find_erasure
from store.inclusions import Inclusion, find_event, find_inclusions
from store.legalholds import LegalHold, find_holds
from store.runs import RunRow, find_by_reference, find_runs
from store.searches import find_lag
from store.verifications import Chain, ask_check, find_chain

from .frames import Frame, Here, day_of, framed, here_of
from .pages import framed_page
from .savedviews import find_saved, saved_of
from .sessions import posted

router = APIRouter(include_in_schema=False)
SHOWN: Final = 50


@router.get("/audit")
async def show(request: Request) -> Response:
    given = {name: request.query_params.get(name, "").strip()[:200] for name in FILTERS[ViewPage.audit]}
    here = await here_of(request, "/audit", **given)
    hub: Hub = request.app.state.hub
    frame = await framed(request, here, "/audit")
    views, instead = await find_saved(request, frame, ViewPage.audit)
    if instead is not None:
        return instead
    before = _cursor(request.query_params.get("before", ""))
    sought = await hub.read(lambda session: _sought(session, here, given))
    rows = await read_record(hub, here.visitor.person, sought, door=Door.browser, trace=here.visitor.trace, before=before, limit=SHOWN + 1)
    if isinstance(rows, Refused):
        raise refused(rows.reason, rows.sentence)

    async def around(session: ReadSession) -> tuple[Chain, Mapping[UUID, RunRow], float, Sequence[LegalHold]]:
        runs = await find_runs(session, list({one.run for one in rows if one.run}))
        return await find_chain(session), runs, await find_lag(session), await find_holds(session)

    chain, runs, lag, holds = await hub.read(around)
    more = f"{rows[SHOWN - 1].cursor.at_us}.{rows[SHOWN - 1].cursor.seq}" if len(rows) > SHOWN else ""
    values: dict[str, Any] = {
        "rows": rows[:SHOWN],
        "runs": runs,
        "chain": chain,
        "lag": lag,
        "more": more,
        "before": before,
        "holds": holds,
    }
    narrowed = any(value for name, value in given.items() if name != "q")
    values |= {"narrowed": narrowed, "told": told, "saved": saved_of(here, ViewPage.audit, views, given)}
    return framed_page(request, "audit.html", frame, given=given, **values)


@router.get("/audit/events/{event_id}")
async def show_event(request: Request, event_id: UUID) -> Response:
    here = await here_of(request, f"/audit/events/{event_id}")
    frame = await reading_of(request, here, event=str(event_id))
    hub: Hub = request.app.state.hub

    async def read(session: ReadSession) -> tuple[AuditEventRow | None, Inclusion | None, RunRow | None, Erasure | None]:
        row = await find_event(session, event_id)
        found = await find_inclusions(session, [event_id])
        runs = await find_runs(session, [row.run_id]) if row and row.run_id else {}
        erasure = await find_erasure(session, event_id) if row and row.payload is None else None
        return row, found.get(event_id), next(iter(runs.values()), None), erasure

    row, inclusion, run, erasure = await hub.read(read)
    if row is None:
        raise Problem(404, "not_found", "There is no such event.")
    at = datetime.fromtimestamp(row.at_us / 1_000_000, UTC)
    return framed_page(request, "event.html", frame, row=row, at=at, inclusion=inclusion, run=run, erasure=erasure)


@router.post("/audit/verify")
async def verify(request: Request) -> Response:
    """Asks a housekeeper to verify the whole record now, by the independent program."""
    visitor, _ = await posted(request)
    hub: Hub = request.app.state.hub
    answer = may_read(await hub.rulebook(), visitor.person, door=Door.browser)

    async def ask(session: WriteSession) -> None:
        if isinstance(answer, Refused):
            await record(
                session, [read_event(visitor.person, "request:refused", door=Door.browser, trace=visitor.trace, reason=answer.reason)]
            )
        elif await ask_check(session, visitor.person.name):
            await record(
                session, [AuditEvent("audit:verify_asked", visitor.person.name, None, {"door": "browser", "trace": visitor.trace})]
            )

    await hub.committed(ask)
    if isinstance(answer, Refused):
        raise refused(answer.reason, answer.sentence)
    return RedirectResponse(Here(visitor).link("/audit"), 303)


def told(row: AuditRow) -> str:
    """An event's detail in one line, what says most first."""
    detail = dict(row.detail) | ({"erased": "what it said about people"} if row.erased else {})
    arguments = detail.pop("arguments", None)
    words = [str(detail.pop("command", ""))]
    words += [f"{name}={_short(value)}" for name, value in arguments.items()] if isinstance(arguments, dict) else []
    left = sorted((name for name, value in detail.items() if name not in _QUIET and value not in _NOTHING), key=_rank)
    return " · ".join(filter(None, [" ".join(words).strip(), *(f"{name}: {_short(detail[name])}" for name in left)]))[:300]


async def reading_of(request: Request, here: Here, **detail: str) -> Frame:
    """The frame, once it is recorded that somebody reads; raises Problem 403."""
    hub: Hub = request.app.state.hub
    visitor = here.visitor
    answer = may_read(await hub.rulebook(), visitor.person, door=Door.browser)
    kind, told = ("request:refused", {"reason": answer.reason}) if isinstance(answer, Refused) else ("audit:read", detail)
    await hub.record([read_event(visitor.person, kind, door=Door.browser, trace=visitor.trace, **told)])
    if isinstance(answer, Refused):
        raise refused(answer.reason, answer.sentence)
    return await framed(request, here, "/audit")


async def _sought(session: ReadSession, here: Here, given: Mapping[str, str]) -> Sought:
    run = await find_by_reference(session, given["run"]) if given["run"] else None
    if given["run"] and run is None:
        raise Problem(404, "not_found_or_foreign", NO_SUCH_RUN)
    return Sought(
        words=given["q"],
        kind=given["kind"],
        actor=given["actor"].removeprefix("@").lower(),
        run=run.id if run else None,
        since_us=_day(here, "since", given["since"]),
        until_us=_day(here, "until", given["until"], after=1),
    )


def _day(here: Here, name: str, value: str, *, after: int = 0) -> int | None:
    moment = day_of(here, name, value, after=after)
    return None if moment is None else microseconds(moment)


def _cursor(value: str) -> Cursor | None:
    at_us, _, seq = value.partition(".")
    return Cursor(int(at_us), int(seq)) if at_us.isdecimal() and seq.isdecimal() and len(value) < 38 else None


def _short(value: Any) -> str:
    return _worded(value)[:80]


def _worded(value: Any) -> str:
    """A value as a person would write it; what is sealed is not shown."""
    if isinstance(value, dict):
        sealed = any(name.startswith("$") for name in value)
        return "••••••" if sealed else ", ".join(f"{name}={_worded(one)}" for name, one in value.items() if one not in _NOTHING)
    if isinstance(value, list):
        return " ".join(map(_worded, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value[:12] if isinstance(value, str) and _DIGEST.fullmatch(value) else str(value)


def _rank(name: str) -> int:
    """What a person reads first stands first, and what only programs compare last."""
    return _FIRST.index(name) if name in _FIRST else len(_FIRST) + (name in _LAST)


_FIRST: Final = ("because", "outcome", "reason", "verdict", "error")
_LAST: Final = ("digest", "shown", "task", "message", "revision", "attempt", "position")
_NOTHING: Final[tuple[Any, ...]] = ("", None, [], {}, False)
_DIGEST: Final = re.compile("[0-9a-f]{64}")
_QUIET: Final = frozenset({"trace", "origins", "place", "policy", "code", "door", "request", "id"})
