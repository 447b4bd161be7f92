"""waiting: a run that is approved and may not start yet is given back until it may; its card says what it waits for."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from commands.decide import refresh_cards
from commands.timetables import Timing
from countersign.approvals import Approval
from countersign.arguments import Duration
from countersign.errors import NotYet
from store.approvals import find_request, prolong
from store.audits import AuditEvent, record
from store.claims import put_off
from store.journals import LostClaim

from .calling import Work
from .services import Services

LOOK_AGAIN: Final = timedelta(minutes=10)  # the policy may change meanwhile, and its windows with it


async def wait(work: Work, timing: Timing, *, now: datetime) -> None:
    """Puts the run off until it may start; its approval stays valid as long from then. Raises LostClaim."""
    detail = {"start_at": timing.start.isoformat(), "windows": [one.name for one in timing.windows]}
    until = min(timing.start, now + LOOK_AGAIN)
    await _put_off(work, timing.waiting(work.person.zone), until=until, start=timing.start, detail=detail)


async def wait_for_turn(work: Work, later: NotYet, *, now: datetime) -> None:
    """The same until its plan can be made again. Raises LostClaim."""
    until = now + timedelta(seconds=later.seconds)
    await _put_off(work, f"Waits for {later}.", until=until, start=until, detail={})


async def plan_later(services: Services, run_id: UUID, later: NotYet, *, attempt: int, now: datetime) -> None:
    """Gives a run back that cannot be planned before a call may be made."""
    async with services.transaction() as session:
        until = now + timedelta(seconds=later.seconds)
        if await put_off(session, run_id, attempt=attempt, until=until, outcome=f"Waits for {later}."):
            await refresh_cards(session, run_id)


async def _put_off(work: Work, sentence: str, *, until: datetime, start: datetime, detail: Mapping[str, Any]) -> None:
    run = work.run
    async with work.services.transaction() as session:
        if not await put_off(session, run.id, attempt=work.attempt, until=until, outcome=sentence):
            raise LostClaim
        request = await find_request(session, run.id)
        if request is not None and request.revision == run.revision:
            valid = Duration.parse(Approval.of_json(request.rule).valid)
            await prolong(session, request.id, until=start + valid)
        if sentence != run.outcome:
            await record(session, [AuditEvent("run:put_off", "countersign", run.id, {"because": sentence, **detail})])
            await refresh_cards(session, run.id)
