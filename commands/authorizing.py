"""The one `authorize()`: every door, every read, every click and every execution asks here. Pure: what it is given is what it knows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from countersign.approvals import Approval, StepUp, matches, merged
from countersign.commands import Command
from countersign.invocations import Door, Place
from countersign.permissions import Risk
from store.people import Person

from .policies import ADMIN, APPROVE, AUDIT, BoundPolicy, Policy, covers
from .rules import BoundRule, approval_of

MENDER: Final = "policy apply"


@dataclass(frozen=True)
class Request:
    """What somebody wants to do: use a permission, for a command with canonical arguments after defaults, through a door, in a place."""

    permission: str
    door: Door
    place: Place
    command: Command | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Allowed:
    """Yes, and because of what."""

    because: str


@dataclass(frozen=True)
class Refused:
    """No: `sentence` for the person, `reason` for the audit (one word)."""

    sentence: str
    reason: str


INACTIVE: Final = Refused("Your account is not active any more.", "actor_inactive")


def authorize(policy: BoundPolicy, person: Person, request: Request) -> Allowed | Refused:
    """Whether this person may do this, here, now. No grant means refused; every matching rule must pass."""
    if not person.active:
        return INACTIVE
    rules = policy.rules_for(request.command)
    if (broken := next((one for one in rules if one.broken), None)) and not _mends(request):
        sentence = f"The policy cannot be read for this command, so nobody may run it: {broken.rule.place} {broken.broken}."
        return Refused(sentence, f"broken_rule:{broken.rule.line}")
    for one in rules:
        if one.rule.deny and _matches(one, person, request):
            return Refused(one.rule.deny, f"denied_by_rule:{one.rule.line}")
    return held(policy, person, request.permission, request.command)


def required_approval(policy: BoundPolicy, person: Person, request: Request, *, alone: bool) -> tuple[Approval | None, tuple[str, ...]]:
    """The strictest approval that the author, the matching rules and the profile ask for, and where each part comes from.

    Policy may tighten the author's approval; it loosens it only where the author said `may_loosen`. `alone` is true where only one
    person was ever registered: their own approval then counts, and is marked.
    """
    command = request.command
    assert command is not None  # noqa: S101  only commands are planned
    rules = [one.rule for one in policy.rules_for(command) if one.rule.approve and _matches(one, person, request)]
    found = [(approval_of(rule.approve), f"rule {rule.name!r}, line {rule.line}") for rule in rules if rule.approve]
    author = command.approval if command.approval and command.approval.applies_to(request.arguments) else None
    if author and not (command.may_loosen and rules) and not any(one.replaces_author for one in rules):
        found.append((author, f"the author of {command.name}"))
    if not rules and (default := _default(command.risk)):
        found.append((default, f"profile {policy.profile}, risk {command.risk.name}"))
    wanted = [(one, source) for one, source in found if one]
    if not wanted and command.risk is Risk.critical:
        wanted = [(Approval(by=APPROVE), "critical risk, which nothing loosens")]
    if not wanted:
        return None, ()
    strictest = merged([one for one, _ in wanted], general=APPROVE)
    step_up: StepUp = "passkey" if _is_signed(policy, command) else strictest.step_up
    return replace(strictest, asker_may=alone or strictest.asker_may, step_up=step_up), tuple(source for _, source in wanted)


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
    patterns = policy.permissions_of(person.roles, person.groups)
    if any(covers(pattern, permission) for pattern in patterns):
        return Allowed(f"{permission} through a role")
    if _given_by_profile(policy, person, permission, command):
        return Allowed(f"profile {policy.profile}")
    roles = policy.roles_with(permission)
    held = f"it belongs to the role {' or '.join(roles)}" if roles else "no role carries it"
    return Refused(f"This needs the permission {permission}; {held}.", "missing_permission")


def _given_by_profile(policy: Policy, person: Person, permission: str, command: Command | None) -> bool:
    """`team` gives every member what no role claims, up to risk `high`; `strict` gives only help and whoami."""
    if permission == "countersign:use":
        return True
    if policy.profile == "strict" or person.service:
        return False
    # Being an admin or reading the audit is claimed by a wildcard too; otherwise `admin: ["*:*"]` would leave them to everybody.
    if permission in (ADMIN, AUDIT) and policy.roles_with(permission):
        return False
    return permission not in policy.named and (command is None or command.risk < Risk.critical)


def _is_signed(policy: BoundPolicy, command: Command) -> bool:
    """Critical commands; and from the first passkey on what needs an admin, or forged clicks could change policy until none is needed."""
    return command.risk is Risk.critical or (policy.signed and command.permission == ADMIN)


def _default(risk: Risk) -> Approval | None:
    if risk < Risk.high:
        return None
    return Approval(by=APPROVE, count=1 if risk is Risk.high else 2)


def _mends(request: Request) -> bool:
    """A rule that cannot be read must not stand in the way of the policy that replaces it."""
    return request.command is not None and request.command.name == MENDER


def _matches(bound: BoundRule, person: Person, request: Request) -> bool:
    rule = bound.rule
    conditions = (
        not bound.broken,
        all(matches(request.arguments.get(name), wanted) for name, wanted in bound.when.items()),
        not rule.people or person.name in rule.people,
        not rule.groups or bool(person.groups & set(rule.groups)),
        not rule.doors or request.door in rule.doors,
        not rule.channels or request.place.channel.removeprefix("#") in rule.channels,
    )
    return all(conditions)
