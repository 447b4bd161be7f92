"""A run's log as it is written: server-sent events, until the run has ended."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse

from bot.rooms import Changes
from countersign.errors import CountersignError
from countersign.invocations import Door
from countersign.runs import FINISHED
from store.databases import ReadSession
from store.logs import LogLine, read_on
from store.runs import RunRow

from .callers import READ, Caller, caller_with, find_caller
from .problems import Problem
from .rooms import event, last_event, part_event, stream
from .stories import read_visible

router = APIRouter(prefix="/runs", tags=["runs"])
LINES_AT_ONCE: Final = 500
LOOK_SECONDS: Final = 2.0
"""How soon the end of a run is seen, which nobody announces; each of its lines is."""


@router.get("/{reference}/log/events")
async def follow(
    request: Request,
    caller: Annotated[Caller, Depends(caller_with(READ))],
    reference: str,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
) -> StreamingResponse:
    """Server-sent events: `line` for each line of the log after line `after`, and `end` with the run's status once it has ended."""
    run, _ = await _read(caller, reference, after=0, limit=0)
    return stream(_told(request, caller, run, after=last_event(request, after) or 0))


def line_as_json(one: LogLine) -> dict[str, Any]:
    return {"n": one.n, "at": one.at.isoformat(), "step": one.position, "line": one.line}


async def _told(request: Request, caller: Caller, run: RunRow, *, after: int) -> AsyncIterator[str]:
    changes: Changes = request.app.state.logs
    yield ": here\n\n"
    with changes.watching([str(run.id)]) as woken:
        while True:
            woken.clear()
            try:  # a stream must not outlive the token that opened it, nor the right to see the run
                await find_caller(request)
                run, lines = await _read(caller, str(run.id), after=after, limit=LINES_AT_ONCE)
            except (Problem, CountersignError):
                return
            for one in lines:
                after = one.n
                yield event("line", json.dumps(line_as_json(one), ensure_ascii=False), number=one.n)
            if lines:
                continue
            if run.status in FINISHED:
                yield part_event("end", json.dumps({"status": run.status, "outcome": run.outcome}, ensure_ascii=False))
                return
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await woken.wait()
            except TimeoutError:
                yield ": still here\n\n"


async def _read(caller: Caller, reference: str, *, after: int, limit: int) -> tuple[RunRow, list[LogLine]]:
    """The run as it is, and then the next lines: a run that had ended by then has no lines after them."""

    async def find(session: ReadSession, run: RunRow) -> tuple[RunRow, list[LogLine]]:
        return run, await read_on(session, run.id, after=after, limit=limit) if limit else []

    return await read_visible(caller.hub, caller.person, reference, find, door=Door.api, trace=caller.trace)
