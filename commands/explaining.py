"""What policy says about a request before anybody asks: may they, who would have to approve, which rule, what would have to change."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from countersign.approvals import Approval, Stage
from countersign.commands import Command
from store.people import Person

from .authorizing import authorize, held, required_approval
from .matching import Match, matches_in
from .policies import BoundPolicy
from .requests import Allowed, Refused, Request
from .rules import Rule
from .timetables import Timing, explained, timing_of
from .vocabularies import Scene
from .voting import Matter, filled, voters, written_stage


@dataclass(frozen=True)
class Able:
    """One stage of an approval: what it asks for, how many people at least, and who could give it now: everybody but `asker`."""

    wanted: str
    least: int
    everybody: tuple[str, ...]
    asker: str = ""

    @property
    def people(self) -> tuple[str, ...]:
        return tuple(one for one in self.everybody if one != self.asker) if self.asker else self.everybody

    @property
    def missing(self) -> int:
        """How many people fewer there are than it asks for."""
        return max(0, self.least - len(self.everybody) + (self.asker in self.everybody))


@dataclass(frozen=True)
class Explanation:
    """The answer for one person and one request. `rule` is where the deciding rule stands, if it was one."""

    person: str
    command: str
    arguments: Mapping[str, Any]
    allowed: bool
    because: str
    rule: str = ""
    times: tuple[str, ...] = ()
    approval: Approval | None = None
    stages: tuple[Able, ...] = ()
    sources: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    risk: str = ""
    immediate: bool = False

    def as_json(self) -> dict[str, Any]:
        """Machine-readable; the approval is written as it would be frozen into a request."""
        approval = self.approval and {
            "rule": self.approval.as_json(),
            "because": list(self.sources),
            "stages": [{"wanted": one.wanted, "least": one.least, "people": list(one.people)} for one in self.stages],
        }
        told = {"person": self.person, "command": self.command, "arguments": dict(self.arguments), "allowed": self.allowed}
        return told | {"because": self.because, "rule": self.rule, "approval": approval, "would_change": list(self.changes)}

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"may run      {'yes' if self.allowed else 'no'}: {self.because}"
        if self.rule:
            yield f"which says   {self.rule}"
        yield from self.times
        for number, one in enumerate(self.stages, start=1):
            named = f"{one.least} of: {', '.join(one.people) or 'nobody; ask an admin for a grant'}"
            yield f"approval     {f'stage {number}: {one.wanted} ({named})' if len(self.stages) > 1 or self.has_stages else named}"
        if self.immediate:
            yield "approval     none: it answers at once and changes nothing by itself"
        elif self.approval is None:
            yield f"approval     none (risk {self.risk})"
        if self.sources:
            yield f"because      {'; '.join(self.sources)}"
        yield from (f"would change {one}" for one in self.changes)

    @property
    def has_stages(self) -> bool:
        return bool(self.approval and self.approval.stages)


@dataclass
class Explainer:
    """Explains under one policy, for the people there are.

    What follows from the rules that concern a request is worked out once for everybody for whom the same rules do and who has the same
    right, and who could approve once for each thing that is asked of them. So a thousand people and fifty commands take seconds.
    """

    policy: BoundPolicy
    people: Sequence[Person]
    now: datetime
    alone: bool = False
    _known: dict[int, tuple[Request, dict[int, Any], dict[tuple[Any, ...], Explanation]]] = field(default_factory=dict)
    _personal: dict[str, bool] = field(default_factory=dict)
    _able: dict[tuple[Any, ...], tuple[str, ...]] = field(default_factory=dict)
    _belongings: dict[str, tuple[frozenset[str], frozenset[str]]] = field(default_factory=dict)
    _rights: dict[tuple[Any, ...], Allowed | Refused] = field(default_factory=dict)

    def explain(self, person: Person, request: Request) -> Explanation:
        """What would become of the request now. Nothing is counted, so limits are left to whoever can look at what was counted."""
        command = request.command
        assert command is not None  # noqa: S101  only commands are explained
        # The request is kept beside what is known of it, so that its identity stays its own.
        _, answers, known = self._known.setdefault(id(request), (request, {}, {}))
        found = matches_in(
            self.policy, Scene(person, request, *self._belonging(person), self.policy.schedules_of(person, request.now), answers)
        )
        own = person.name if self._is_personal(command) else ""
        key = (person.active, self._right(person, request), own, *((one.rule.line, one.problem) for one in found))
        if key not in known:
            known[key] = self._explained(person, request, found)
        return self._told(known[key], person)

    def _explained(self, person: Person, request: Request, found: Sequence[Match]) -> Explanation:
        """For anybody like this person, who is not left out of those who could approve yet."""
        command = request.command
        assert command is not None  # noqa: S101  only commands are explained
        answer = authorize(self.policy, person, request, found=found)
        about: dict[str, Any] = {"person": person.name, "command": command.name, "arguments": request.arguments, "risk": command.risk.name}
        if isinstance(answer, Refused):
            rule = rule_said(self.policy, command, answer)
            changes = tuple(_changes(self.policy, answer, request, rule))
            told = Explanation(allowed=False, because=answer.sentence, rule=rule.place if rule else "", changes=changes, **about)
        else:
            told = Explanation(allowed=True, because=answer.because, **about)
        if command.kind == "control":
            return replace(told, immediate=True)
        timing = timing_of(self.policy, person, request, self.now)
        freezes = timing.freezes if isinstance(timing, Timing) else ()
        told = replace(told, times=tuple(explained(timing, person.zone, self.now)))
        # Of who is refused too, because what refuses may change.
        approval, sources = required_approval(self.policy, person, request, alone=self.alone, freezes=freezes, found=found)
        if approval is None:
            return told
        matter = Matter(asker=person.name, command=command, arguments=request.arguments, manager=person.manager, at=self.now)
        stages = tuple(self._stage(stage, approval, matter) for stage in filled(self.policy, approval, self.people, matter).steps)
        return replace(told, approval=approval, sources=sources, stages=stages)

    def _told(self, found: Explanation, person: Person) -> Explanation:
        """With the person's own name, who does not approve their own request."""
        if found.approval is None:
            return replace(found, person=person.name)
        stages = found.stages if found.approval.asker_may else tuple(replace(one, asker=person.name) for one in found.stages)
        lacking = tuple(_lacking(one, found.approval) for one in stages if one.missing)
        return replace(found, person=person.name, stages=stages, changes=(*found.changes, *lacking))

    def _stage(self, stage: Stage, rule: Approval, matter: Matter) -> Able:
        """Everybody who could approve it, the asker included; who asks matters only where it is their manager who approves."""
        selectors = [one for each in stage.sets for one in each.of]
        asker = matter.asker if "manager-of-requester" in selectors else ""
        things = [str(matter.arguments.get(one.removeprefix("owner-of:"))) for one in selectors if one.startswith("owner-of:")]
        sets = tuple(replace(one, count=1) for one in stage.sets)
        key = (sets, matter.command and matter.command.risk, asker, *things)  # a right depends on the command by its risk alone
        if key not in self._able:
            able = voters(self.policy, self.people, rule, replace(matter, asker=""), sets=stage.sets)
            self._able[key] = tuple(one.name for one in able)
        return Able(written_stage(stage), stage.least, self._able[key])

    def _belonging(self, person: Person) -> tuple[frozenset[str], frozenset[str]]:
        if person.name not in self._belongings:
            self._belongings[person.name] = (self.policy.groups_of(person), self.policy.roles_of(person))
        return self._belongings[person.name]

    def _right(self, person: Person, request: Request) -> Allowed | Refused:
        key = (person.name, request.permission, request.command and request.command.risk)
        if key not in self._rights:
            self._rights[key] = held(self.policy, person, request.permission, request.command)
        return self._rights[key]

    def _is_personal(self, command: Command) -> bool:
        """Whether more than rules and rights tell people apart: their zone in what is said of times, or who their manager is."""
        if command.name not in self._personal:
            rules = [one.rule for one in self.policy.rules_for(command)]
            managed = "manager-of-requester" in repr(([one.approve for one in rules], command.approval))
            timed = bool(self.policy.freezes_for(command)) or any(one.window for one in rules)
            self._personal[command.name] = managed or timed
        return self._personal[command.name]


def rule_said(policy: BoundPolicy, command: Command, answer: Refused) -> Rule | None:
    """The rule that refused, if it was one."""
    line = answer.reason.rpartition(":")[2]
    return next((one.rule for one in policy.rules_for(command) if str(one.rule.line) == line), None)


def _changes(policy: BoundPolicy, answer: Refused, request: Request, rule: Rule | None) -> Iterator[str]:
    """What would make it another answer."""
    kind = answer.reason.partition(":")[0]
    if kind == "missing_permission":
        yield from _ways_in(policy, request)
    elif kind == "actor_inactive":
        yield "if the account were active again"
    elif kind == "broken_rule":
        yield "if the rule were mended: policy apply"
    elif kind == "reason_wanted":
        yield "with another reason"
    elif rule is not None and rule.only:
        yield "asked where the rule says"
    elif rule is not None:
        yield from _conditions(rule)


def _ways_in(policy: BoundPolicy, request: Request) -> Iterator[str]:
    for role in policy.roles_with(request.permission):
        groups = sorted(name for name, carried in policy.file.groups.items() if role in carried)
        by_group = f", which comes with the group {' or '.join(groups)}" if groups else ""
        yield f"with the role {role}{by_group}"
    if not policy.roles_with(request.permission):
        yield f"if a role carried {request.permission}"
    for one in policy.rules_for(request.command):
        if one.rule.allow:
            yield f"if {one.rule.place} matched, which allows it"


def _conditions(rule: Rule) -> Iterator[str]:
    """Each condition of a rule that matched, as what would make it not match."""
    for name, value in rule.when.items():
        yield f"with another {name} than {_listed(value if isinstance(value, list | tuple) else (value,))}"
    if rule.people:
        yield f"asked by somebody else than {_listed(rule.people)}"
    if rule.groups:
        yield f"asked by somebody who is not in {_listed(rule.groups)}"
    if rule.doors:
        yield f"asked through another door than {_listed(rule.doors)}"
    if rule.channels:
        yield f"asked in another channel than {_listed(f'#{one}' for one in rule.channels)}"
    if rule.test:
        yield f"where this is not true: {' '.join(rule.test.split())}"
    if not (rule.when or rule.people or rule.groups or rule.doors or rule.channels or rule.test):
        yield f"by another policy: {rule.place} refuses everybody"


def _lacking(stage: Able, approval: Approval) -> str:
    who = f"held {approval.by}" if approval.by else f"could be {stage.wanted}"
    return f"if {stage.missing} more {'person' if stage.missing == 1 else 'people'} {who}"


def _listed(values: Iterable[Any]) -> str:
    return " or ".join(map(str, values))
