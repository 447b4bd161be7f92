"""decide: one person's click on exactly one digest. The right is decided now, under a lock, and every click leaves one audit row."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from uuid6 import uuid7

from countersign.approvals import Approval
from countersign.arguments import Duration
from countersign.invocations import Door
from countersign.runs import FINISHED, RunStatus
from countersign.tallies import Outcome, Tally, Verdict
from store.approvals import (
    ApprovalRequestRow,
    DecisionRow,
    add_decision,
    call_for_tending,
    close_request,
    find_decisions,
    lock_request,
    postpone,
)
from store.audits import AuditEvent, record
from store.databases import ReadSession, WriteSession
from store.messages import tell_run
from store.people import Person, find_all_people, find_person
from store.runs import Move, RunRow, find_run, move

from .authorizing import INACTIVE, Allowed, Refused
from .lines import say_vote
from .proofs import kept_proof
from .rulebooks import Rulebook
from .starts import later_start, shown_start
from .stepups import Cause, Standing, check_step_up
from .voting import Ballot, may_see, may_vote, read_ballot


@dataclass(frozen=True)
class Vote:
    """What somebody says about a run; `digest` is what they were shown, empty only where the door shows the current plan itself.

    `fresh` says that they have just logged in, `assertion` is their passkey's signature: some rules want one of them. `start_at` is when
    an approver wants it to start, as they typed it.
    """

    run_id: UUID
    verdict: Verdict
    door: Door
    digest: str = ""
    reason: str = ""
    fresh: bool = False
    assertion: Mapping[str, Any] | None = None
    start_at: str = ""

    @property
    def standing(self) -> Standing:
        return Standing(self.door, self.fresh, self.assertion)


@dataclass(frozen=True)
class Decided:
    """The vote counted: where the run stands, in a sentence, and how many people are missing."""

    sentence: str
    status: RunStatus
    missing: int


async def decide(session: WriteSession, rulebook: Rulebook, person: Person, vote: Vote) -> Decided | Refused:
    """Counts the vote or refuses it with a sentence; either way exactly one `decision:*` audit event is recorded."""
    request = await lock_request(session, vote.run_id)
    run = await find_run(session, vote.run_id)
    waits = request is not None and run is not None and _waits(vote, request, run)
    ballot = await read_ballot(session, rulebook, request, run, person=person.name) if request and run and waits else None
    current = (ballot and ballot.people.get(person.name)) or await find_person(session, person.name) or person
    refusal = await _open_to(session, rulebook, current, vote, request, run, ballot)
    row: DecisionRow | None = None
    if refusal is None and ballot is not None and request is not None and run is not None:
        answer = await _given(session, rulebook, current, vote, request, run, ballot)
        row, refusal = (answer, None) if isinstance(answer, DecisionRow) else (None, answer)
        run = await find_run(session, vote.run_id) if row and vote.start_at else run
    await record(session, [_event(rulebook, current, vote, request, run, row, refusal)])
    if refusal is not None or request is None or run is None or ballot is None or row is None:
        return refusal or Refused("There is no such request.", "not_found_or_foreign")
    await say_vote(session, run, row)
    # What a passkey signed is checked with the rest; otherwise nothing but this vote can have changed, because the request is locked.
    voted = await read_ballot(session, rulebook, request, run) if row.proof else ballot.with_vote(row)
    return await settle(session, request, run, voted, vote, by=person.name)


async def _open_to(
    session: WriteSession,
    rulebook: Rulebook,
    person: Person,
    vote: Vote,
    request: ApprovalRequestRow | None,
    run: RunRow | None,
    ballot: Ballot | None,
) -> Refused | None:
    """Why nobody may vote on this now, or this person may not know of it."""
    if not person.active:
        return INACTIVE
    if run is None or not may_see(rulebook, person, run, Approval.of_json(request.rule) if request else None):
        return Refused("There is no such request.", "not_found_or_foreign")
    if request is None:
        return Refused(f"Run #{run.number} does not wait for an approval; it is {_words(run.status)}.", "nothing_to_decide")
    if ballot is None:
        return await _closed(session, vote, request, run)
    late = ballot.now >= request.expires_at
    return Refused(f"The request for run #{run.number} has expired; ask again.", "expired") if late else None


def _waits(vote: Vote, request: ApprovalRequestRow, run: RunRow) -> bool:
    """Whether exactly what was shown waits for a decision; most clicks that do not count come too late, and cost no count of votes."""
    return vote.digest in ("", request.digest) and run.status == RunStatus.awaiting_approval and request.state == "open"


async def _given(
    session: WriteSession, rulebook: Rulebook, person: Person, vote: Vote, request: ApprovalRequestRow, run: RunRow, ballot: Ballot
) -> DecisionRow | Refused:
    """The decision, written; or why it does not count."""
    if any(one.person == person.name for one in ballot.decisions):
        return Refused("You have already decided on this request.", "dup_vote")
    tally = ballot.tally()
    authority, withdraws = "", vote.verdict is Verdict.deny and person.name == ballot.case.asker
    if vote.verdict is Verdict.approve:
        answer, authority = ballot.right_of(person, tally)
        if isinstance(answer, Allowed) and ballot.rule.voter_reason and not vote.reason.strip():
            return Refused("This rule wants to know why you approve: say it with a reason.", "reason_missing")
    elif withdraws:
        answer = Allowed("withdraws")
    else:
        answer = may_vote(ballot.policy, person, ballot.rule, ballot.matter)
    if isinstance(answer, Refused):
        return await _who_may(session, ballot, tally, answer)
    try:
        start = _start(vote, run, person, ballot.now)
    except ValueError as error:
        return Refused(f"at: {error}.", "wrong_argument")
    if not withdraws:
        case = Cause(request, run, person.name, vote.verdict)
        if (refused := await check_step_up(session, rulebook, ballot, case, vote.standing)) is not None:
            return refused
    row = _row(rulebook, person, vote, request, stage=tally.stage, on_behalf=authority)
    if ballot.signed and vote.assertion is not None:
        row.proof = kept_proof(vote.assertion)
    if not await add_decision(session, row):
        return Refused("You have already decided on this request.", "dup_vote")
    if start is not None:
        await postpone(session, run.id, start)
    return row


async def _who_may(session: WriteSession, ballot: Ballot, tally: Tally, refused: Refused) -> Refused:
    """A refusal names those who can: the person who clicked wants it decided."""
    if refused.reason not in ("missing_permission", "self_approval"):
        return refused
    people = await find_all_people(session)
    able = [one.name for one in ballot.waiting_for(people, tally)]
    names = ", ".join(able[:5]) + (f" and {len(able) - 5} more" if len(able) > 5 else "")
    return Refused(f"{refused.sentence} {names or 'Nobody'} can decide it now.", refused.reason)


def _start(vote: Vote, run: RunRow, person: Person, now: datetime) -> datetime | None:
    """When the voter wants it to start, if they said so; raises ValueError."""
    if vote.start_at and vote.verdict is not Verdict.approve:
        raise ValueError("only who approves says when it starts")
    return later_start(vote.start_at, run, person, now) if vote.start_at else None


async def _closed(session: WriteSession, vote: Vote, request: ApprovalRequestRow, run: RunRow) -> Refused:
    if vote.digest and vote.digest != request.digest:
        return Refused("The plan has changed since this card was shown; look at the new one.", "digest_mismatch")
    return Refused(await _too_late(session, request, run), "late_click")


async def _too_late(session: ReadSession, request: ApprovalRequestRow, run: RunRow) -> str:
    names = [
        row.person
        for row in await find_decisions(session, request.id)
        if row.verdict == ("deny" if request.state == "denied" else "approve")
    ]
    by = f" by {' and '.join(names)}" if names and request.state in ("approved", "denied") else ""
    if request.state in ("approved", "denied"):
        return f"Run #{run.number} was already {request.state}{by}; it is {_words(run.status)}."
    if run.edited_by and run.status in (RunStatus.submitted, RunStatus.planning):
        return f"{run.edited_by} has changed what run #{run.number} asks for; its new plan comes in a moment, and is decided anew."
    return f"Run #{run.number} does not wait for an approval any more; it is {_words(run.status)}."


async def settle(
    session: WriteSession,
    request: ApprovalRequestRow,
    run: RunRow,
    ballot: Ballot,
    vote: Vote | None = None,
    *,
    by: str = "countersign",
) -> Decided | Refused:
    """Moves the run where its votes have brought it; `vote` is the last one, None when only time has passed."""
    tally = ballot.tally()
    if tally.outcome is Outcome.waiting:
        # Whoever announces the next stage finds the request due; in the same stage only the cards change.
        if tally.stage != request.stage:
            await call_for_tending(session, request.id)
        await refresh_cards(session, run.id)
        more = f"{tally.missing} more {'person has' if tally.missing == 1 else 'people have'} to approve"
        said = "Your denial counts" if vote and vote.verdict is Verdict.deny else "Approved"
        return Decided(f"{said}; {more}.", RunStatus.awaiting_approval, tally.missing)
    if tally.outcome is Outcome.expired:
        return Refused(f"The request for run #{run.number} has expired; ask again.", "expired")
    approved = tally.outcome is Outcome.approved
    to = RunStatus.queued if approved else RunStatus.denied
    reason = vote.reason if vote else ""
    because = f"approved by {', '.join(tally.approvers)}" if approved else reason or f"denied by {by}"
    outcome = "" if approved else f"Denied by {by}" + (f": {reason}" if reason else ".")
    moved = await move(session, [Move(run.id, to, by=by, because=because, outcome=outcome, come_from=(RunStatus.awaiting_approval,))])
    if not moved:
        return Refused(f"Run #{run.number} has moved on meanwhile.", "late_click")
    valid = Duration.parse(ballot.rule.valid).total_seconds() if approved else None
    await close_request(session, request.id, state=tally.outcome.value, valid=valid)
    return Decided(f"Approved; it starts {_when(run, ballot.now)}." if approved else f"Denied: run #{run.number} will not happen.", to, 0)


def _when(run: RunRow, now: datetime) -> str:
    if run.start_at and run.start_at > now:
        return shown_start(run)
    window = (run.plan or {}).get("window")
    return f"as soon as its window is open: {window}" if window else "now"


async def refresh_cards(session: WriteSession, run_id: UUID) -> None:
    """Has every card of the run told again, at once."""
    await tell_run(session, run_id)


def _row(rulebook: Rulebook, person: Person, vote: Vote, request: ApprovalRequestRow, *, stage: int, on_behalf: str) -> DecisionRow:
    return DecisionRow(
        id=UUID(bytes=uuid7().bytes),
        request_id=request.id,
        run_id=request.run_id,
        person=person.name,
        verdict=vote.verdict.value,
        reason=vote.reason[:500],
        digest=request.digest,
        door=vote.door.value,
        policy=rulebook.policy.digest,
        stage=stage,
        on_behalf=on_behalf,
    )


def _event(
    rulebook: Rulebook,
    person: Person,
    vote: Vote,
    request: ApprovalRequestRow | None,
    run: RunRow | None,
    row: DecisionRow | None,
    refusal: Refused | None,
) -> AuditEvent:
    detail: dict[str, Any] = {"door": vote.door.value, "verdict": vote.verdict.value, "shown": vote.digest, "reason": vote.reason[:500]}
    detail |= {"groups": sorted(rulebook.policy.groups_of(person)), "policy": rulebook.policy.digest}
    if request:
        detail |= {"digest": request.digest, "request": str(request.id)}
    if row:
        detail |= {"on_behalf": row.on_behalf, "stage": row.stage}
    if row and run and run.start_at and vote.start_at:
        detail |= {"start_at": run.start_at.isoformat()}
    if refusal:
        detail |= {"refused": refusal.reason}
    kind = "decision:refused" if refusal else f"decision:{vote.verdict.value}"
    return AuditEvent(kind, person.name, run.id if run else None, {name: value for name, value in detail.items() if value})


def _words(status: str) -> str:
    return status.replace("_", " ") + ("" if status in FINISHED else " now")
