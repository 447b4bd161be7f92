"""withdraw: an asker takes the whole request back, a voter their own approval, as long as nothing is carried out."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from countersign.invocations import Door
from countersign.runs import FINISHED, RunStatus
from countersign.tallies import Outcome, Tally
from store.approvals import call_for_tending, reopen_request, supersede_requests, take_back
from store.audits import AuditEvent, record
from store.conversations import NewLine, say
from store.databases import WriteSession
from store.people import Person
from store.runs import Move, RunRow, move

from .authorizing import Refused
from .decide import refresh_cards
from .expire import expire
from .lines import say_withdrawal, with_words
from .matters import Matters, read_matters
from .rulebooks import Rulebook
from .voting import read_ballot

_NOT_BEGUN: Final = (RunStatus.submitted, RunStatus.planning, RunStatus.awaiting_approval, RunStatus.queued, RunStatus.stale)


@dataclass(frozen=True)
class Withdrawn:
    """It is taken back: what that means for the run, in a sentence."""

    sentence: str


async def withdraw(
    session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID, *, door: Door, reason: str = ""
) -> Withdrawn | Refused:
    """The asker's word that it is not to happen, or why it is too late; one `withdraw:*` audit event is recorded either way."""
    matters = await read_matters(session, rulebook, person, run_id)
    answer = matters.refused() or await _withdrawn(session, matters, reason)
    await _record(session, matters, "withdraw", answer, door)
    return answer


async def take_approval_back(
    session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID, *, door: Door, reason: str = ""
) -> Withdrawn | Refused:
    """A voter's own approval does not count any more, or why it is too late; one `takeback:*` audit event is recorded either way."""
    matters = await read_matters(session, rulebook, person, run_id)
    answer = matters.refused() or await _taken_back(session, rulebook, matters, reason)
    await _record(session, matters, "takeback", answer, door)
    return answer


async def _withdrawn(session: WriteSession, matters: Matters, reason: str) -> Withdrawn | Refused:
    run, person = matters.known, matters.person
    if person.name != run.asker:
        return Refused(f"Only {run.asker}, who asked for it, can withdraw run #{run.number}.", "missing_permission")
    if late := _too_late(run, "cancel it instead"):
        return late
    outcome = f"Withdrawn by {person.name}" + (f": {' '.join(reason.split())[:500]}" if reason.strip() else ".")
    wanted = Move(run.id, RunStatus.cancelled, by=person.name, because="withdrawn by its asker", outcome=outcome, come_from=_NOT_BEGUN)
    if not await move(session, [wanted]):
        return Refused(f"Run #{run.number} has moved on meanwhile.", "late_click")
    await supersede_requests(session, run.id)
    await say_withdrawal(session, run, reason=reason)
    return Withdrawn(f"Run #{run.number} is withdrawn; nothing was done.")


async def _taken_back(session: WriteSession, rulebook: Rulebook, matters: Matters, reason: str) -> Withdrawn | Refused:
    run, person, request = matters.known, matters.person, matters.request
    mine = next((row for row in matters.decisions if row.person == person.name), None)
    if request is None or mine is None:
        return Refused(f"You have no vote on run #{run.number} that you could take back.", "nothing_to_take_back")
    if mine.verdict != "approve":
        return Refused("A denial is not taken back; whoever wants it after all asks anew.", "nothing_to_take_back")
    if late := _too_late(run, "its approval cannot be taken back any more; you may cancel it"):
        return late
    if request.state not in ("open", "approved"):
        return Refused(f"Your approval of run #{run.number} does not count any more anyway; it is {_words(run)}.", "late_click")
    await take_back(session, request.id, person=person.name)
    await say(session, NewLine(run.id, "takeback", person.name, with_words("takes the approval back", reason)))
    ballot = await read_ballot(session, rulebook, request, run)
    tally = ballot.tally()
    if run.status == RunStatus.queued and tally.outcome is not Outcome.approved:
        return await _held_back(session, matters, tally)
    if run.status != RunStatus.queued:
        await call_for_tending(session, request.id)
    await refresh_cards(session, run.id)
    return Withdrawn(f"Your approval of run #{run.number} is taken back." + _missing(tally))


async def _held_back(session: WriteSession, matters: Matters, tally: Tally) -> Withdrawn | Refused:
    """An approved run that nobody has begun waits for people again, or ends where their time is over."""
    run, person = matters.known, matters.person
    because = f"{person.name} took the approval back"
    wanted = Move(run.id, RunStatus.awaiting_approval, by=person.name, because=because, come_from=(RunStatus.queued,))
    if not await move(session, [wanted]):
        return Refused(f"Run #{run.number} has moved on meanwhile.", "late_click")
    assert matters.request is not None  # noqa: S101  _taken_back has asked
    if not await reopen_request(session, matters.request.id):
        await expire(session, [run.id])
        return Withdrawn(f"Your approval is taken back, and the time to decide is over: run #{run.number} will not happen.")
    return Withdrawn(f"Your approval is taken back in time: run #{run.number} does not start." + _missing(tally))


def _too_late(run: RunRow, instead: str) -> Refused | None:
    if run.status in FINISHED:
        return Refused(f"Run #{run.number} has ended already: {_words(run)}.", "late_click")
    return None if run.status in _NOT_BEGUN else Refused(f"A worker has begun run #{run.number} already; {instead}.", "late_click")


def _missing(tally: Tally) -> str:
    if not tally.missing:
        return ""
    return f" {tally.missing} more {'person has' if tally.missing == 1 else 'people have'} to approve it."


def _words(run: RunRow) -> str:
    return run.status.replace("_", " ")


async def _record(session: WriteSession, matters: Matters, what: str, answer: Withdrawn | Refused, door: Door) -> None:
    run = matters.run
    detail = {"door": door.value} | ({"refused": answer.reason} if isinstance(answer, Refused) else {})
    if matters.request is not None:
        detail |= {"digest": matters.request.digest, "request": str(matters.request.id)}
    kind = f"{what}:refused" if isinstance(answer, Refused) else f"{what}:made"
    await record(session, [AuditEvent(kind, matters.person.name, run.id if run else None, detail)])
