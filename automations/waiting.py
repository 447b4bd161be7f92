"""waiting: a run that is approved and may not start yet is given back until it may; its card says what it waits for."""

from datetime import datetime, timedelta
from typing import Final

from commands.decide import refresh_cards
from commands.timetables import Timing
from countersign.approvals import Approval
from countersign.arguments import Duration
from store.approvals import find_request, prolong
from store.audits import AuditEvent, record
from store.claims import put_off
from store.journals import LostClaim

from .calling import Work

LOOK_AGAIN: Final = timedelta(minutes=10)  # the policy may change meanwhile, and its windows with it


async def wait(work: Work, timing: Timing, *, now: datetime) -> None:
    """Puts the run off until it may start; its approval stays valid as long from then. Raises LostClaim."""
    run, sentence = work.run, timing.waiting(work.person.zone)
    async with work.services.transaction() as session:
        if not await put_off(session, run.id, attempt=work.attempt, until=min(timing.start, now + LOOK_AGAIN), outcome=sentence):
            raise LostClaim
        request = await find_request(session, run.id)
        if request is not None and request.revision == run.revision:
            valid = Duration.parse(Approval.of_json(request.rule).valid)
            await prolong(session, request.id, until=timing.start + valid)
        if sentence != run.outcome:
            detail = {"because": sentence, "start_at": timing.start.isoformat(), "windows": [one.name for one in timing.windows]}
            await record(session, [AuditEvent("run:put_off", "countersign", run.id, detail)])
            await refresh_cards(session, run.id)
