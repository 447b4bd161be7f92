"""policy diff: what was asked in the last days, decided again under two policies."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from countersign.commands import Command
from countersign.invocations import Door, Place
from countersign.values import written
from store.databases import ReadSession
from store.people import Person, find_all_people
from store.usages import Recorded, find_elsewhere, find_recorded

from .authorizing import authorize, required_approval
from .policies import BoundPolicy, Policy, bind
from .requests import Refused, Request
from .rulebooks import Rulebook
from .voting import written_stage


@dataclass(frozen=True)
class Outcome:
    """What a policy does with a request: a sentence for people, and what is compared."""

    allowed: bool
    told: str
    approval: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        return {"allowed": self.allowed, "because": self.told, "approval": self.approval}


@dataclass(frozen=True)
class Difference:
    """One request that two policies decide differently."""

    recorded: Recorded
    old: Outcome
    new: Outcome

    def as_json(self) -> dict[str, Any]:
        one = self.recorded
        asked = {"number": one.number, "asker": one.asker, "command": one.command, "arguments": one.arguments, "at": one.at.isoformat()}
        return asked | {"old": self.old.as_json(), "new": self.new.as_json()}

    def __str__(self) -> str:
        one = self.recorded
        arguments = " ".join(f"{name}={written(value)[:60]}" for name, value in one.arguments.items() if value not in (None, ""))
        return f"#{one.number} {one.asker}: {one.command} {arguments}".strip() + f"\n    {self.old.told} → {self.new.told}"


@dataclass(frozen=True)
class Side:
    """One policy and the people as it makes them."""

    policy: BoundPolicy
    people: Mapping[str, Person]
    alone: bool = False

    def outcome(self, recorded: Recorded, command: Command) -> Outcome:
        """What becomes of the request at the time at which it was asked. Limits are not counted again."""
        person = self.people.get(recorded.asker)
        if person is None or not person.active:
            return Outcome(False, f"refused: {recorded.asker} is not active")
        request = Request(
            command.permission,
            Door(recorded.door),
            Place(**recorded.place) if recorded.place else Place("api"),
            command,
            recorded.arguments,
            reason=recorded.reason,
            now=recorded.at,
        )
        answer = authorize(self.policy, person, request)
        if isinstance(answer, Refused):
            return Outcome(False, f"refused: {answer.sentence}")
        approval, _ = required_approval(self.policy, person, request, alone=self.alone) if command.kind == "command" else (None, ())
        if approval is None:
            return Outcome(True, "allowed, no approval")
        stages = ", then ".join(written_stage(stage) for stage in approval.steps)
        step_up = f", with {approval.step_up}" if approval.step_up else ""
        return Outcome(True, f"approved by {stages}{step_up}", approval.as_json())


async def read_comparison(session: ReadSession, rulebook: Rulebook, *, days: int, limit: int) -> "Comparison":
    """What was asked in the last days, and the people that a policy makes."""
    groups, vouched = await find_elsewhere(session)
    asked = await find_recorded(session, since=timedelta(days=days), limit=limit)
    return Comparison(rulebook, asked, await find_all_people(session), groups, vouched)


@dataclass(frozen=True)
class Comparison:
    """What was asked, newest first, and everybody as they are now."""

    rulebook: Rulebook
    asked: Sequence[Recorded]
    people: Sequence[Person]
    groups: Mapping[str, frozenset[str]]
    vouched: frozenset[str]

    def side(self, policy: Policy | None) -> Side:
        """The people as this policy makes them; None is the one in force."""
        if policy is None:
            return Side(self.rulebook.policy, {one.name: one for one in self.people}, self.rulebook.alone)
        bound = replace(bind(policy, self.rulebook.registry.commands), signed=self.rulebook.policy.signed)
        return Side(bound, people_under(policy, self.people, groups=self.groups, vouched=self.vouched))

    def differences(self, new: Policy, old: Policy | None = None) -> list[Difference]:
        """What the new policy decides differently from the old one."""
        return list(differences(self.side(old), self.side(new), self.asked, self.rulebook.registry.commands))


def differences(old: Side, new: Side, asked: Iterable[Recorded], commands: Mapping[str, Command]) -> Iterator[Difference]:
    """The requests that are decided differently, in the order given; those of commands that are gone are left out."""
    for one in asked:
        command = commands.get(one.command)
        if command is None:
            continue
        before, after = old.outcome(one, command), new.outcome(one, command)
        if (before.allowed, before.approval, before.allowed or before.told) != (after.allowed, after.approval, after.allowed or after.told):
            yield Difference(one, before, after)


def people_under(
    policy: Policy, people: Iterable[Person], *, groups: Mapping[str, frozenset[str]], vouched: frozenset[str]
) -> dict[str, Person]:
    """Everybody as a policy that is not in force would make them: its own people and groups, beside what other sources say."""
    found = {
        one.name: replace(one, active=one.name in vouched, groups=groups.get(one.name, frozenset())) for one in people if not one.service
    }
    found |= {one.name: replace(one, active=False, groups=frozenset()) for one in people if one.service}
    for name, entry in policy.file.actors.items():
        known = found.get(name, Person(name, True, frozenset(), frozenset(), service=name in policy.file.service_accounts))
        found[name] = replace(known, active=entry.active, groups=frozenset(entry.groups) | groups.get(name, frozenset()))
    return found


def summary(count: int, found: Sequence[Difference], *, days: int) -> str:
    """The sentence above the list."""
    if not count:
        return f"Nothing was asked in the last {days} days."
    asked = f"Of {count:,} requests of the last {days} days"
    return f"{asked} all would be decided as they were." if not found else f"{asked} {len(found):,} would be decided differently."
