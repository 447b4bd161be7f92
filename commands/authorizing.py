"""The one `authorize()`: every door, every read, every click and every execution asks here. Pure: what it is given is what it knows."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from countersign.approvals import Approval, StepUp, merged, strongest
from countersign.commands import Command
from countersign.permissions import Risk
from store.people import Person

from .accesses import ASK
from .matching import Match, broken_among, find_matches, reason_missing, reason_refused, refusal_by
from .matching import concerns as concerns
from .periods import BoundFreeze
from .policies import ADMIN, APPROVE, AUDIT, BoundPolicy, Policy, covers
from .requests import INACTIVE as INACTIVE
from .requests import Allowed as Allowed
from .requests import Refused as Refused
from .requests import Request as Request
from .rules import approval_of


def authorize(policy: BoundPolicy, person: Person, request: Request, *, found: Sequence[Match] | None = None) -> Allowed | Refused:
    """Whether this person may do this, here, now. No grant means refused; every rule that concerns it must pass.

    `found` are the rules that concern it, for who has looked already.
    """
    if not person.active:
        return INACTIVE
    rules = policy.rules_for(request.command)
    if broken := broken_among(rules, request):
        sentence = f"The policy cannot be read for this command, so nobody may run it: {broken.rule.place} {broken.broken}."
        return Refused(sentence, f"broken_rule:{broken.rule.line}")
    found = find_matches(policy, person, request) if found is None else found
    if found and (refusal := next(filter(None, (refusal_by(one, request) for one in found)), None)):
        return refusal
    answer = held(policy, person, request.permission, request.command)
    allowing = next((one for one in found if one.rule.allow), None)
    if isinstance(answer, Refused) and not allowing:
        return answer
    allowed = Allowed(allowing.source) if allowing and isinstance(answer, Refused) else answer
    return _reason_wanted(policy, person, request, found) or allowed


def required_approval(
    policy: BoundPolicy,
    person: Person,
    request: Request,
    *,
    alone: bool,
    plan: Approval | None = None,
    freezes: Sequence[BoundFreeze] = (),
    found: Sequence[Match] | None = None,
) -> tuple[Approval | None, tuple[str, ...]]:
    """The strictest approval that the author, the plan, the matching rules and the profile ask for, and where each part comes from.

    Policy may tighten the author's approval; it loosens it only where the author said `may_loosen`. `alone` is true where only one
    person was ever registered: their own approval then counts, and is marked. The approvers of `freezes`, those that are met, come after
    all others, and nobody's own approval passes them.
    """
    command = request.command
    assert command is not None  # noqa: S101  only commands are planned
    concerned = find_matches(policy, person, request) if found is None else found
    matched = [one for one in concerned if one.rule.approve or one.rule.step_up]
    asked = [(approval_of(one.rule.approve), one.source) for one in matched if one.rule.approve]
    # What could not be read may add to what is asked, and takes the place of nothing.
    rules = [one.rule for one in matched if one.rule.approve and not one.problem]
    author = command.approval if command.approval and command.approval.applies_to(request.arguments) else None
    if author and not (command.may_loosen and rules) and not any(one.replaces_author for one in rules):
        asked.append((author, f"the author of {command.name}"))
    if plan:
        asked.append((plan, "this plan"))
    if not rules and (default := _default(command.risk)):
        asked.append((default, f"profile {policy.profile}, risk {command.risk.name}"))
    asked += [(_in_stages(one), f"{one.bound.rule.place}") for one in freezes]
    wanted = [(one, source) for one, source in asked if one]
    stepping = [one for one in matched if one.rule.step_up]
    if not wanted and stepping:
        wanted = [(Approval(by=APPROVE), stepping[0].source)]
    if not wanted and command.risk is Risk.critical:
        wanted = [(Approval(by=APPROVE), "critical risk, which nothing loosens")]
    if not wanted:
        return None, ()
    strictest = merged([one for one, _ in wanted], general=APPROVE)
    step_up: StepUp = "passkey" if _is_signed(policy, command) else strongest((strictest.step_up, *(one.rule.step_up for one in stepping)))
    sources = dict.fromkeys((*(source for _, source in wanted), *(one.source for one in stepping)))
    return replace(strictest, asker_may=(alone and not freezes) or strictest.asker_may, step_up=step_up), tuple(sources)


def holders(policy: Policy, people: Iterable[Person], permission: str, command: Command | None = None) -> list[Person]:
    """Everybody who holds a permission, by name."""
    return [one for one in people if one.active and isinstance(held(policy, one, permission, command), Allowed)]


def is_admin(policy: Policy, person: Person) -> bool:
    return person.active and isinstance(held(policy, person, ADMIN, None), Allowed)


def is_auditor(policy: Policy, person: Person) -> bool:
    """Whether a role lets this person read everything; the profile alone never does."""
    return person.active and any(covers(pattern, AUDIT) for pattern in policy.permissions_of(person.roles, person.groups))


def held(policy: Policy, person: Person, permission: str, command: Command | None = None) -> Allowed | Refused:
    """Whether the person holds a permission by a role or by the profile; being active is asked elsewhere."""
    if policy.carries(person.roles, person.groups, permission):
        return Allowed(f"{permission} through a role")
    if _given_by_profile(policy, person, permission, command):
        return Allowed(f"profile {policy.profile}")
    roles = policy.roles_with(permission)
    held = f"it belongs to the role {' or '.join(roles)}" if roles else "no role carries it"
    return Refused(f"This needs the permission {permission}; {held}.", "missing_permission")


def _reason_wanted(policy: BoundPolicy, person: Person, request: Request, found: Sequence[Match]) -> Refused | None:
    """Asked last, of those who may: by rules, and by the approval, because there is no use in asking people before it is given."""
    refusals = (reason_refused(one, request) for one in found)
    if refusal := next(filter(None, refusals), None):
        return refusal
    command = request.command
    asked = any(one.rule.approve and one.rule.approve.reason for one in found)
    if command is None or not (asked or (command.approval and command.approval.reason)):
        return None
    approval, _ = required_approval(policy, person, request, alone=False, found=found)
    patterns = approval.reasons if approval else ()
    return next(filter(None, (reason_missing(request, one) for one in patterns)), None)


def _given_by_profile(policy: Policy, person: Person, permission: str, command: Command | None) -> bool:
    """`team` gives every member what no role claims, up to risk `high`; `strict` gives only help and whoami."""
    if permission == "countersign:use":
        return True
    if policy.profile == "strict" or person.service:
        return False
    if permission == "countersign:break-glass":
        return False
    # Being an admin or reading the audit is claimed by a wildcard too; otherwise `admin: ["*:*"]` would leave them to everybody.
    if permission in (ADMIN, AUDIT) and policy.roles_with(permission):
        return False
    return permission not in policy.named and (command is None or command.risk < Risk.critical)


def _is_signed(policy: BoundPolicy, command: Command) -> bool:
    """Critical commands; and from the first passkey on what changes policy or gives roles, or forged clicks could until none is needed."""
    return command.risk is Risk.critical or (policy.signed and command.permission in (ADMIN, ASK))


def _in_stages(one: BoundFreeze) -> Approval | None:
    """A freeze's approvers as stages of their own: they are asked besides whoever else is, and not in their place."""
    approval = approval_of(one.entry.approve) if one.entry.approve else None
    return replace(approval, by="", count=1, also=(), stages=approval.steps) if approval else None


def _default(risk: Risk) -> Approval | None:
    if risk < Risk.high:
        return None
    return Approval(by=APPROVE, count=1 if risk is Risk.high else 2)
