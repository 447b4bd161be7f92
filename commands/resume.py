"""resume: a person's word on an interrupted run, whose step may or may not have happened."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from countersign.approvals import Approval
from countersign.invocations import Door
from countersign.runs import RunStatus
from store.approvals import find_request
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.people import Person, find_person
from store.runs import Move, RunRow, lock_run, move

from .authorizing import INACTIVE, Refused
from .cancel import may_stop
from .rulebooks import Rulebook
from .voting import may_see


class Choice(StrEnum):
    """The four buttons of an interrupted run."""

    happened = "happened"
    again = "again"
    undo = "undo"
    stop = "stop"


LABELS = {
    Choice.happened: "It happened: go on",
    Choice.again: "It did not: run this step again",
    Choice.undo: "Undo",
    Choice.stop: "Stop here",
}
_TO = {Choice.happened: RunStatus.running, Choice.again: RunStatus.running, Choice.undo: RunStatus.undoing, Choice.stop: RunStatus.failed}


@dataclass(frozen=True)
class Resumed:
    """What happens now."""

    sentence: str


async def resume(
    session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID, *, choice: Choice, door: Door
) -> Resumed | Refused:
    """Takes the choice of somebody concerned, or says why not; one `resume:*` audit event is recorded either way."""
    run = await lock_run(session, run_id)
    request = await find_request(session, run_id)
    current = await find_person(session, person.name) or person
    answer = await _answer(session, rulebook, current, run, Approval.of_json(request.rule) if request else None, choice)
    detail = {"door": door.value, "choice": choice.value} | ({"refused": answer.reason} if isinstance(answer, Refused) else {})
    kind = "resume:refused" if isinstance(answer, Refused) else "resume:chosen"
    await record(session, [AuditEvent(kind, person.name, run.id if run else None, detail)])
    return answer


async def _answer(
    session: WriteSession, rulebook: Rulebook, person: Person, run: RunRow | None, rule: Approval | None, choice: Choice
) -> Resumed | Refused:
    if not person.active:
        return INACTIVE
    if run is None or not (may_stop(rulebook, person, run, rule) or may_see(rulebook, person, run, rule)):
        return Refused("There is no such run.", "not_found_or_foreign")
    if not may_stop(rulebook, person, run, rule):
        return Refused(f"Only {run.asker}, those who may approve it and admins can decide on run #{run.number}.", "missing_permission")
    if run.status != RunStatus.interrupted:
        return Refused(f"Run #{run.number} is not interrupted; it is {run.status.replace('_', ' ')}.", "late_click")
    outcome = f"Stopped by {person.name}; the interrupted step may have happened." if choice is Choice.stop else ""
    wanted = Move(
        run.id,
        _TO[choice],
        by=person.name,
        because=LABELS[choice],
        choice=choice,
        outcome=outcome,
        come_from=(RunStatus.interrupted,),
        forgive=True,
    )
    if not await move(session, [wanted]):
        return Refused("The run has moved on meanwhile.", "late_click")
    return Resumed(f"Run #{run.number}: {LABELS[choice].lower()}.")
