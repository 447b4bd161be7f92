"""decide: one person's click on exactly one digest. The right is decided now, under a lock, and every click leaves one audit row."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from uuid6 import uuid7

from countersign.approvals import Approval, Outcome, Tally, Verdict, evaluate
from countersign.invocations import Door
from countersign.runs import FINISHED, RunStatus
from store.approvals import (
    ApprovalRequestRow,
    DecisionRow,
    add_decision,
    as_decision,
    close_request,
    find_decisions,
    lock_request,
)
from store.audits import AuditEvent, record
from store.databases import ReadSession, WriteSession
from store.people import Person, find_people, find_person
from store.runs import Move, RunRow, find_run, move

from .authorizing import INACTIVE, Refused, may_see, may_vote
from .rulebooks import Rulebook


@dataclass(frozen=True)
class Vote:
    """What somebody says about a run; `digest` is what they were shown, empty only where the door shows the current plan itself."""

    run_id: UUID
    verdict: Verdict
    door: Door
    digest: str = ""
    reason: str = ""


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
    current = await find_person(session, person.name)
    refusal = await _refusal(session, rulebook, current or person, vote, request, run)
    await record(session, [_event(person, vote, request, run, refusal)])
    if refusal is not None or request is None or run is None:
        return refusal or Refused("There is no such request.", "not_found_or_foreign")
    return await _settle(session, person, vote, request, run, await count_votes(session, rulebook, request, run))


async def _refusal(
    session: WriteSession, rulebook: Rulebook, person: Person, vote: Vote, request: ApprovalRequestRow | None, run: RunRow | None
) -> Refused | None:
    """Why the vote does not count; None when it does, and then it is written."""
    if not person.active:
        return INACTIVE
    if run is None or not _visible(rulebook, person, run, request):
        return Refused("There is no such request.", "not_found_or_foreign")
    if request is None:
        return Refused(f"Run #{run.number} does not wait for an approval; it is {_words(run.status)}.", "nothing_to_decide")
    refusal = await _out_of_time(session, vote, request, run)
    if refusal:
        return refusal
    rule = Approval(**request.rule)
    command = rulebook.registry.find(run.command)
    if vote.verdict is Verdict.approve or person.name != run.asker:
        answer = may_vote(rulebook.policy, person, rule, asker=run.asker, command=command)
        if isinstance(answer, Refused):
            return answer
    if not await add_decision(session, _row(rulebook, person, vote, request)):
        return Refused("You have already decided on this request.", "dup_vote")
    return None


async def count_votes(session: ReadSession, rulebook: Rulebook, request: ApprovalRequestRow, run: RunRow) -> Tally:
    """The frozen rule over the decisions of people who may still vote now."""
    rows = await find_decisions(session, request.id)
    people = await find_people(session, [row.person for row in rows])
    rule = Approval(**request.rule)
    command = rulebook.registry.find(run.command)
    counted = [
        as_decision(row)
        for row in rows
        if row.verdict == Verdict.deny
        or not isinstance(may_vote(rulebook.policy, people[row.person], rule, asker=run.asker, command=command), Refused)
    ]
    now = (await session.execute(text("SELECT countersign_now()"))).scalar_one()
    return evaluate(rule, asker=run.asker, digest=request.digest, now=now, expires_at=request.expires_at, decisions=counted)


async def _out_of_time(session: WriteSession, vote: Vote, request: ApprovalRequestRow, run: RunRow) -> Refused | None:
    if vote.digest and vote.digest != request.digest:
        return Refused("The plan has changed since this card was shown; look at the new one.", "digest_mismatch")
    if run.status != RunStatus.awaiting_approval or request.state != "open":
        return Refused(await _too_late(session, request, run), "late_click")
    expired = (await session.execute(text("SELECT countersign_now() >= :at"), {"at": request.expires_at})).scalar_one()
    return Refused(f"The request for run #{run.number} has expired; ask again.", "expired") if expired else None


async def _too_late(session: ReadSession, request: ApprovalRequestRow, run: RunRow) -> str:
    names = [
        row.person
        for row in await find_decisions(session, request.id)
        if row.verdict == ("deny" if request.state == "denied" else "approve")
    ]
    by = f" by {' and '.join(names)}" if names and request.state in ("approved", "denied") else ""
    if request.state in ("approved", "denied"):
        return f"Run #{run.number} was already {request.state}{by}; it is {_words(run.status)}."
    return f"Run #{run.number} does not wait for an approval any more; it is {_words(run.status)}."


async def _settle(
    session: WriteSession, person: Person, vote: Vote, request: ApprovalRequestRow, run: RunRow, tally: Tally
) -> Decided | Refused:
    if tally.outcome is Outcome.waiting:
        await _refresh_cards(session, run.id)
        more = f"{tally.missing} more {'person has' if tally.missing == 1 else 'people have'} to approve"
        return Decided(f"Approved; {more}.", RunStatus.awaiting_approval, tally.missing)
    if tally.outcome is Outcome.expired:
        return Refused(f"The request for run #{run.number} has expired; ask again.", "expired")
    approved = tally.outcome is Outcome.approved
    to = RunStatus.queued if approved else RunStatus.denied
    because = f"approved by {', '.join(tally.approvers)}" if approved else vote.reason or f"denied by {person.name}"
    outcome = "" if approved else f"Denied by {person.name}" + (f": {vote.reason}" if vote.reason else ".")
    moved = await move(
        session, [Move(run.id, to, by=person.name, because=because, outcome=outcome, come_from=(RunStatus.awaiting_approval,))]
    )
    if not moved:
        return Refused(f"Run #{run.number} has moved on meanwhile.", "late_click")
    await close_request(session, request.id, state=tally.outcome.value)
    return Decided("Approved; it starts now." if approved else f"Denied: run #{run.number} will not happen.", to, 0)


async def _refresh_cards(session: WriteSession, run_id: UUID) -> None:
    await session.execute(
        text(
            "WITH shown AS (UPDATE messages SET wanted = wanted + 1, due_at = countersign_now(), urgent = true"
            " WHERE run_id = :run AND kind <> 'reply' RETURNING 1) SELECT pg_notify('countersign_work', 'messages') FROM shown LIMIT 1"
        ),
        {"run": run_id},
    )


def _visible(rulebook: Rulebook, person: Person, run: RunRow, request: ApprovalRequestRow | None) -> bool:
    rule = Approval(**request.rule) if request else None
    return may_see(rulebook.policy, person, visibility=run.visibility, asker=run.asker, owner=run.owner, rule=rule)


def _row(rulebook: Rulebook, person: Person, vote: Vote, request: ApprovalRequestRow) -> DecisionRow:
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
    )


def _event(person: Person, vote: Vote, request: ApprovalRequestRow | None, run: RunRow | None, refusal: Refused | None) -> AuditEvent:
    detail: dict[str, Any] = {"door": vote.door.value, "verdict": vote.verdict.value, "shown": vote.digest, "reason": vote.reason[:500]}
    if request:
        detail |= {"digest": request.digest, "request": str(request.id)}
    if refusal:
        detail |= {"refused": refusal.reason}
    kind = "decision:refused" if refusal else f"decision:{vote.verdict.value}"
    return AuditEvent(kind, person.name, run.id if run else None, {name: value for name, value in detail.items() if value})


def _words(status: str) -> str:
    return status.replace("_", " ") + ("" if status in FINISHED else " now")
