"""cancel: the asker, an admin or a voter stops a run; before it runs at once, while it runs by leaving word for its worker."""

from dataclasses import dataclass
from uuid import UUID

from countersign.approvals import Approval
from countersign.invocations import Door
from countersign.runs import FINISHED, RunStatus
from store.approvals import close_request, lock_request
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.halts import BEGUN, ask_to_cancel
from store.people import Person, find_person
from store.runs import Move, RunRow, lock_run, move
from store.waits import wake

from .authorizing import INACTIVE, Refused, is_admin
from .rulebooks import Rulebook
from .voting import matter_of, may_see, may_vote


@dataclass(frozen=True)
class Cancelled:
    """What was done about it."""

    sentence: str


async def cancel(session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID, *, door: Door) -> Cancelled | Refused:
    """Cancels, or says why not; one `cancel:*` audit event is recorded either way."""
    request = await lock_request(session, run_id)
    run = await lock_run(session, run_id)
    current = await find_person(session, person.name) or person
    rule = Approval.of_json(request.rule) if request else None
    answer = await _answer(session, rulebook, current, run, rule)
    if isinstance(answer, Cancelled) and request and run and run.status not in BEGUN:
        await close_request(session, request.id, state="superseded")
    detail = {"door": door.value} | ({"refused": answer.reason} if isinstance(answer, Refused) else {})
    kind = "cancel:refused" if isinstance(answer, Refused) else "cancel:asked"
    await record(session, [AuditEvent(kind, person.name, run.id if run else None, detail)])
    return answer


async def _answer(
    session: WriteSession, rulebook: Rulebook, person: Person, run: RunRow | None, rule: Approval | None
) -> Cancelled | Refused:
    if not person.active:
        return INACTIVE
    if run is None or not (may_stop(rulebook, person, run, rule) or may_see(rulebook, person, run, rule)):
        return Refused("There is no such run.", "not_found_or_foreign")
    if not may_stop(rulebook, person, run, rule):
        return Refused(f"Only {run.asker}, those who may approve it and admins can cancel run #{run.number}.", "missing_permission")
    if run.status in FINISHED:
        return Refused(f"Run #{run.number} has ended already: {run.status.replace('_', ' ')}.", "late_click")
    if run.status in BEGUN:
        fresh = await ask_to_cancel(session, run.id, by=person.name)
        if run.status == RunStatus.waiting:
            await wake(session, [run.id], by=person.name, because="cancelled")
        return Cancelled(f"Run #{run.number} is asked to stop." if fresh else f"Run #{run.number} is stopping already.")
    moved = await move(
        session,
        [Move(run.id, RunStatus.cancelled, by=person.name, because=f"cancelled by {person.name}", outcome=f"Cancelled by {person.name}.")],
    )
    return (
        Cancelled(f"Run #{run.number} is cancelled; nothing was done.")
        if moved
        else Refused("The run has moved on meanwhile.", "late_click")
    )


def may_stop(rulebook: Rulebook, person: Person, run: RunRow, rule: Approval | None) -> bool:
    """Stopping is safer than going on, so everybody concerned may."""
    if not person.active:
        return False
    if person.name in (run.asker, run.handed_to, run.edited_by) or is_admin(rulebook.policy, person):
        return True
    return rule is not None and not isinstance(may_vote(rulebook.policy, person, rule, matter_of(rulebook, run)), Refused)
