"""Which rules of a policy concern a request. A rule whose expression cannot be evaluated is neither in nor out: what it asks decides."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from countersign.approvals import matches
from store.people import Person

from .expressions import Expression, Unreadable, contains
from .policies import BoundPolicy
from .requests import Refused, Request
from .rules import BoundRule, OnlyEntry, Rule, listed
from .vocabularies import LONGEST_TEXT, Scene

MENDER: Final = "policy apply"
REASON_WANTED: Final = "reason_wanted"


@dataclass(frozen=True)
class Match:
    """A rule that concerns a request, or may: `problem` says why its expression could not be evaluated."""

    rule: Rule
    problem: str = ""

    @property
    def source(self) -> str:
        """Where the rule stands, for a list of what an answer comes from."""
        return f"rule {self.rule.name!r}, line {self.rule.line}" + (f" (could not be read: {self.problem})" if self.problem else "")

    def told(self, sentence: str) -> str:
        """The rule's sentence; where it could not be read, that is said too."""
        return f"{sentence} ({self.rule.place} could not be read here, so it applies: {self.problem}.)" if self.problem else sentence


def find_matches(policy: BoundPolicy, person: Person, request: Request) -> list[Match]:
    """The rules that concern the request, as they stand in the file.

    A rule that demands or refuses something concerns it also when its expression cannot be evaluated; one that gives something does not,
    and neither does any in the way of the command that replaces the policy, unless it names that command.
    """
    if not policy.rules_for(request.command):
        return []
    return matches_in(policy, _scene(policy, person, request))


def matches_in(policy: BoundPolicy, scene: Scene) -> list[Match]:
    """The same, for who knows the asker's groups and roles already."""
    found = [_match(one, scene) for one in policy.rules_for(scene.request.command) if _applies(one, scene)]
    return [one for one in found if one is not None and not (one.problem and _yields(one.rule, scene.request))]


def refusal_by(match: Match, request: Request) -> Refused | None:
    """What the rule itself refuses: it denies, or it wants another place or door."""
    rule = match.rule
    if rule.deny:
        return Refused(match.told(rule.deny), f"denied_by_rule:{rule.line}")
    if rule.only and not _is_there(rule.only, request):
        return Refused(match.told(f"{_name(request)} is asked {_written_place(rule.only)} only."), f"elsewhere:{rule.line}")
    return None


def reason_refused(match: Match, request: Request) -> Refused | None:
    """A refusal where the rule wants a reason that was not given."""
    wanted = match.rule.require_reason
    found = reason_missing(request, wanted.pattern, hint=wanted.hint) if wanted else None
    return Refused(match.told(found.sentence), f"{REASON_WANTED}:{match.rule.line}") if found else None


def reason_missing(request: Request, pattern: str, *, hint: str = "") -> Refused | None:
    """A refusal where the asker's reason has nothing in it that the pattern describes; what is only offered has no reason yet."""
    if request.offered or _is_given(pattern, request.reason or ""):
        return None
    wanted = f"a reason: {hint}" if hint else f"a reason with {pattern} in it"
    return Refused(f'{_name(request)} needs {wanted}. Give it with --reason "…".', REASON_WANTED)


def concerns(policy: BoundPolicy, bound: BoundRule, person: Person, request: Request) -> bool:
    """Whether one rule concerns the request, or may."""
    scene = _scene(policy, person, request)
    return _applies(bound, scene) and _match(bound, scene) is not None


def _scene(policy: BoundPolicy, person: Person, request: Request) -> Scene:
    return Scene(person, request, policy.groups_of(person), policy.roles_of(person), policy.schedules_of(person, request.now))


def broken_among(rules: Iterable[BoundRule], request: Request) -> BoundRule | None:
    """The first rule that cannot be read for this command at all, which closes it to everybody."""
    named = request.command is not None and request.command.name == MENDER
    return None if named else next((one for one in rules if one.broken and not one.rule.allow), None)


def _applies(bound: BoundRule, scene: Scene) -> bool:
    """The conditions by equality and membership."""
    rule, request = bound.rule, scene.request
    # What is only offered has no arguments yet; a rule that allows some is enough for it to be shown.
    any_arguments = not bound.when or (request.offered and rule.allow)
    return (
        not bound.broken
        and bool(any_arguments or all(matches(request.arguments.get(name), wanted) for name, wanted in bound.when.items()))
        and (not rule.people or scene.person.name in rule.people)
        and (not rule.groups or not scene.groups.isdisjoint(rule.groups))
        and (not rule.doors or request.door in rule.doors)
        and (not rule.channels or request.place.channel.removeprefix("#") in rule.channels)
    )


def _match(bound: BoundRule, scene: Scene) -> Match | None:
    if bound.test is None:
        return Match(bound.rule)
    if scene.known is None or bound.test.is_personal:
        return _tested(bound, bound.test, scene)
    if id(bound) not in scene.known:
        scene.known[id(bound)] = _tested(bound, bound.test, scene)
    found: Match | None = scene.known[id(bound)]
    return found


def _tested(bound: BoundRule, test: Expression, scene: Scene) -> Match | None:
    try:
        return Match(bound.rule) if test.holds(scene) else None
    except Unreadable as error:
        if scene.request.offered:
            return Match(bound.rule) if bound.rule.allow else None
        return Match(bound.rule, str(error))


def _is_there(only: OnlyEntry, request: Request) -> bool:
    here = request.place.channel.removeprefix("#")
    return (not only.doors or request.door in only.doors) and (not only.channels or here in only.channels)


def _written_place(only: OnlyEntry) -> str:
    places = [f"in {' or '.join(f'#{one}' for one in only.channels)}"] if only.channels else []
    return ", ".join([*places, f"through {' or '.join(only.doors)}"] if only.doors else places)


def _is_given(pattern: str, reason: str) -> bool:
    """A pattern that cannot be read is met by no reason."""
    try:
        return contains(pattern, reason[:LONGEST_TEXT])
    except ValueError:
        return False


def _name(request: Request) -> str:
    return request.command.name if request.command else request.permission


def _yields(rule: Rule, request: Request) -> bool:
    mends = request.command is not None and request.command.name == MENDER
    return rule.gives or (mends and MENDER not in listed(rule.command))
