"""pause: the next step of a run does not begin until somebody lets it go on; whoever may cancel it may do both."""

from dataclasses import dataclass
from uuid import UUID

from countersign.approvals import Approval
from countersign.invocations import Door
from countersign.runs import RunStatus
from store.approvals import find_request
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.halts import ask_to_pause
from store.people import Person, find_person
from store.runs import RunRow, lock_run
from store.waits import wake

from .authorizing import INACTIVE, Refused
from .cancel import may_stop
from .decide import refresh_cards
from .rulebooks import Rulebook
from .voting import may_see


@dataclass(frozen=True)
class Paused:
    """What was done about it."""

    sentence: str


async def pause(session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID, *, door: Door) -> Paused | Refused:
    """Has the run stop before its next step, or says why not; one `pause:*` audit event is recorded either way."""
    return await _paused(session, rulebook, person, run_id, on=True, door=door)


async def unpause(session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID, *, door: Door) -> Paused | Refused:
    """Lets a paused run go on, or says why not; one `unpause:*` audit event is recorded either way."""
    return await _paused(session, rulebook, person, run_id, on=False, door=door)


async def _paused(session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID, *, on: bool, door: Door) -> Paused | Refused:
    run = await lock_run(session, run_id)
    request = await find_request(session, run_id)
    current = await find_person(session, person.name) or person
    answer = await _answer(session, rulebook, current, run, Approval.of_json(request.rule) if request else None, on=on)
    detail = {"door": door.value} | ({"refused": answer.reason} if isinstance(answer, Refused) else {})
    kind = f"{'pause' if on else 'unpause'}:{'refused' if isinstance(answer, Refused) else 'asked'}"
    await record(session, [AuditEvent(kind, person.name, run.id if run else None, detail)])
    return answer


async def _answer(
    session: WriteSession, rulebook: Rulebook, person: Person, run: RunRow | None, rule: Approval | None, *, on: bool
) -> Paused | Refused:
    if not person.active:
        return INACTIVE
    if run is None or not (may_stop(rulebook, person, run, rule) or may_see(rulebook, person, run, rule)):
        return Refused("There is no such run.", "not_found_or_foreign")
    if not may_stop(rulebook, person, run, rule):
        return Refused(f"Only {run.asker}, those who may approve it and admins can pause run #{run.number}.", "missing_permission")
    if run.status not in (RunStatus.running, RunStatus.waiting):
        return Refused(f"Run #{run.number} is not running; it is {run.status.replace('_', ' ')}.", "late_click")
    fresh = await ask_to_pause(session, run.id, by=person.name if on else None)
    if not on:
        await wake(session, [run.id], by=person.name, because=f"{person.name} lets it go on")
    await refresh_cards(session, run.id)
    return Paused(_said(run, on=on, fresh=fresh))


def _said(run: RunRow, *, on: bool, fresh: bool) -> str:
    if on:
        return f"Run #{run.number} stops before its next step." if fresh else f"Run #{run.number} is paused already."
    return f"Run #{run.number} goes on." if fresh else f"Run #{run.number} is not paused."
