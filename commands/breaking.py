"""Break-glass: past the approvers in an emergency, with a reason and the target typed; everybody is told, and somebody else reviews it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from countersign.approvals import Approval
from countersign.invocations import Door, Place
from countersign.permissions import Risk
from countersign.runs import RunStatus
from store.approvals import ApprovalRequestRow, close_request, find_decisions, lock_request
from store.audits import AuditEvent, record
from store.breaks import BreakRow, add_break, find_review, sign_review
from store.databases import ReadSession, WriteSession
from store.messages import NewMessage, add_messages
from store.people import Person, find_all_people, find_person
from store.runs import Move, RunRow, lock_run, move

from .authorizing import INACTIVE, Allowed, Refused, held, is_admin
from .decide import refresh_cards
from .policies import Policy
from .rulebooks import Rulebook
from .voting import matter_of, may_see, voters

BREAK_GLASS: Final = "countersign:break-glass"
BADGE: Final = "break-glass"
LASTS: Final = timedelta(hours=1)
SHORTEST_REASON: Final = 10
_CHATS: Final = ("slack", "room")


@dataclass(frozen=True)
class Broken:
    """The glass is broken: what happens now, in a sentence."""

    sentence: str


@dataclass(frozen=True)
class Breaking:
    """What somebody typed to go past the approvers of a run."""

    run_id: UUID
    target: str
    reason: str
    door: Door


async def break_glass(session: WriteSession, rulebook: Rulebook, person: Person, one: Breaking, *, fallback: str) -> Broken | Refused:
    """Lets the run begin without its approvers, for an hour, or says why not; one `break-glass:*` audit event either way."""
    request = await lock_request(session, one.run_id)
    run = await lock_run(session, one.run_id)
    current = await find_person(session, person.name) or person
    answer = _refusal(rulebook, current, one, request, run)
    if answer is None and run is not None and request is not None:
        answer = await _broken(session, rulebook, current, one, request, run, fallback)
    detail = {"door": one.door.value, "reason": one.reason[:500]} | ({"refused": answer.reason} if answer else {})
    kind = "break-glass:refused" if answer else "break-glass:broken"
    await record(session, [AuditEvent(kind, person.name, run.id if run else None, detail)])
    return answer or Broken(
        "The glass is broken: it starts now. Everybody who was passed over and all admins are told, and it is reviewed."
    )


def target_of(run: RunRow) -> str:
    """What has to be typed to show that one means this run: the value of its first argument, or the command's name."""
    names = [*(run.plan or {}).get("order", ()), *run.arguments]
    value = next((run.arguments[name] for name in names if isinstance(run.arguments.get(name), str)), "")
    return str(value) or run.command


def may_break(policy: Policy, person: Person, run: RunRow, rule: Approval | None, at: BreakRow | None = None) -> Refused | None:
    """Why this person may not break the glass for this run; asked at the door and again by the worker, which gives the row."""
    if not person.active or person.service:
        return INACTIVE
    if run.risk >= Risk.critical or (rule is not None and rule.step_up == "passkey"):
        return Refused("What a passkey has to sign cannot be done by breaking the glass.", "needs_passkey")
    if isinstance(answer := held(policy, person, BREAK_GLASS), Refused):
        return answer
    if at is not None and at.person != person.name:
        return Refused("Somebody else broke the glass.", "not_found_or_foreign")
    return None


async def tell_everybody(session: WriteSession, rulebook: Rulebook, run: RunRow, rule: Approval, *, fallback: str) -> list[str]:
    """Direct messages to every approver who was passed over and to all admins, once; returns their names."""
    people = await find_all_people(session)
    names = sorted({one.name for one in (*_passed_over(rulebook, people, run, rule), *_admins(rulebook, people))})
    place = Place(**run.place)
    platform = place.platform if place.platform in _CHATS else fallback
    await add_messages(session, [NewMessage(run.id, f"direct:{BADGE}", platform, place.team, person=name) for name in names])
    return names


async def involved_in(session: ReadSession, run: RunRow, request: ApprovalRequestRow, breaker: str) -> list[str]:
    """Everybody who had a part in it, and so cannot review it."""
    voted = [row.person for row in await find_decisions(session, request.id, withdrawn=True)]
    return sorted({run.asker, breaker, *voted, *(one for one in (run.edited_by, run.handed_to) if one)})


async def sign(session: WriteSession, rulebook: Rulebook, person: Person, run: RunRow, finding: str, *, door: Door) -> Broken | Refused:
    """Signs the review of a run as somebody who was not involved; one `review:*` audit event either way."""
    refused = await _sign(session, rulebook, person, run, finding)
    detail = {"door": door.value, "finding": finding[:500]} | ({"refused": refused.reason} if refused else {})
    await record(session, [AuditEvent("review:refused" if refused else "review:signed", person.name, run.id, detail)])
    if refused:
        return refused
    await refresh_cards(session, run.id)
    return Broken(f"The review of #{run.number} is signed.")


def may_review(policy: Policy, person: Person, involved: Iterable[str]) -> bool:
    """Whether this person may sign a review: an admin or somebody who may approve at all, who was not involved."""
    able = is_admin(policy, person) or isinstance(held(policy, person, "countersign:approve"), Allowed)
    return person.active and not person.service and person.name not in involved and able


async def _sign(session: WriteSession, rulebook: Rulebook, person: Person, run: RunRow, finding: str) -> Refused | None:
    review = await find_review(session, run.id)
    if review is None:
        return Refused(f"Run #{run.number} needs no review.", "nothing_to_decide")
    if review.signed_by:
        return Refused(f"{review.signed_by} has signed the review of #{run.number} already.", "late_click")
    current = await find_person(session, person.name) or person
    if not may_review(rulebook.policy, current, review.involved):
        return Refused(
            f"A review is signed by an approver or admin who was not involved, as {', '.join(review.involved)} were.", "self_approval"
        )
    if len(finding.strip()) < SHORTEST_REASON:
        return Refused("Say in a sentence what you found.", "reason_missing")
    return None if await sign_review(session, run.id, by=person.name, finding=finding[:2_000]) else Refused("It was signed.", "late_click")


def _refusal(rulebook: Rulebook, person: Person, one: Breaking, request: ApprovalRequestRow | None, run: RunRow | None) -> Refused | None:
    rule = Approval.of_json(request.rule) if request else None
    if run is None or not may_see(rulebook, person, run, rule):
        return Refused("There is no such run.", "not_found_or_foreign")
    if request is None or request.state != "open" or run.status != RunStatus.awaiting_approval:
        return Refused(f"Run #{run.number} does not wait for an approval; there is no glass to break.", "late_click")
    if refused := may_break(rulebook.policy, person, run, rule):
        return refused
    if len(one.reason.strip()) < SHORTEST_REASON:
        return Refused("Say in a sentence why nobody can be asked; it is shown to everybody who was passed over.", "reason_missing")
    if one.target.strip() != target_of(run):
        return Refused(f"To show that you mean it, type the target of the run: {target_of(run)}", "target_missing")
    return None


async def _broken(
    session: WriteSession, rulebook: Rulebook, person: Person, one: Breaking, request: ApprovalRequestRow, run: RunRow, fallback: str
) -> Refused | None:
    because = f"break-glass by {person.name}: {one.reason.strip()}"[:300]
    moved = await move(
        session, [Move(run.id, RunStatus.queued, by=person.name, because=because, badge=BADGE, come_from=(RunStatus.awaiting_approval,))]
    )
    fresh = moved and await add_break(
        session,
        run_id=run.id,
        revision=run.revision,
        digest=request.digest,
        person=person.name,
        reason=one.reason.strip()[:500],
        door=one.door.value,
        lasts=LASTS,
    )
    if not fresh:
        return Refused(f"Run #{run.number} has moved on meanwhile.", "late_click")
    await close_request(session, request.id, state="broken", via=BADGE, valid=LASTS.total_seconds())
    await tell_everybody(session, rulebook, run, Approval.of_json(request.rule), fallback=fallback)
    return None


def _passed_over(rulebook: Rulebook, people: Iterable[Person], run: RunRow, rule: Approval) -> list[Person]:
    return voters(rulebook.policy, people, rule, matter_of(rulebook, run))


def _admins(rulebook: Rulebook, people: Iterable[Person]) -> list[Person]:
    return [one for one in people if is_admin(rulebook.policy, one)]
