"""policy suggest: gates that nobody ever refused, and roles that nobody used. What becomes of them is for people to say."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from countersign.approvals import Approval
from countersign.arguments import Duration
from countersign.commands import Command
from countersign.invocations import Door, Place
from store.grants import Grant
from store.people import Person
from store.usages import Gate

from .authorizing import required_approval
from .policies import BoundPolicy, covers
from .requests import Request
from .voting import written_stage

OFTEN: Final = 50


@dataclass(frozen=True)
class Suggestion:
    """What could be left out, why, and the rest for programs."""

    kind: str
    text: str
    detail: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "text": self.text, **self.detail}


@dataclass(frozen=True)
class Used:
    """What was done in the time looked at: commands by asker, and the rules that people voted under."""

    asked: Mapping[str, Mapping[str, datetime]]
    voted: Mapping[str, Sequence[Mapping[str, Any]]]


def gates_to_open(
    policy: BoundPolicy, gates: Iterable[Gate], people: Mapping[str, Person], commands: Mapping[str, Command]
) -> Iterator[Suggestion]:
    """Gates that were asked often and never refused; `gates` are those asked often enough."""
    for one in gates:
        if one.refused:
            continue
        took = f", typically {Duration(seconds=round(one.median.total_seconds()))} after it was asked" if one.median is not None else ""
        sources = _sources(policy, one, people, commands)
        wanted = ", then ".join(written_stage(stage) for stage in Approval.of_json(one.rule).steps)
        origin = "; ".join(sources) or "an earlier policy"
        text = f"{one.command}: {wanted} was asked {one.asked} times and never refused{took}; it comes from {origin}"
        detail = {"command": one.command, "rule": one.rule, "asked": one.asked, "approvers": one.approvers, "from": list(sources)}
        yield Suggestion("gate", text, detail)


def grants_to_end(
    policy: BoundPolicy, grants: Iterable[Grant], used: Used, commands: Mapping[str, Command], *, before: datetime
) -> Iterator[Suggestion]:
    """Granted roles, held since `before`, that nobody used since then."""
    for one in grants:
        if one.subject.startswith("@") or one.granted_at > before or uses_role(policy, one.role, one.subject, used, commands):
            continue
        since = f"{one.granted_at:%Y-%m-%d} ({one.name})"
        text = f"{one.subject} has the role {one.role} since {since} and did not use it: revoke {one.subject} {one.role}"
        yield Suggestion("grant", text, {"grant": one.name, "subject": one.subject, "role": one.role})


def roles_to_drop(policy: BoundPolicy, people: Iterable[Person], used: Used, commands: Mapping[str, Command]) -> Iterator[Suggestion]:
    """Roles that groups carry and of whose members nobody used them."""
    members: dict[str, list[str]] = {}
    for one in people:
        for group in policy.groups_of(one):
            members.setdefault(group, []).append(one.name)
    for group, roles in policy.file.groups.items():
        for role in roles:
            names = members.get(group, [])
            if names and not any(uses_role(policy, role, name, used, commands) for name in names):
                text = f"the group {group} carries the role {role}, and none of its {len(names)} members used it"
                yield Suggestion("role", text, {"group": group, "role": role, "members": len(names)})


def uses_role(policy: BoundPolicy, role: str, person: str, used: Used, commands: Mapping[str, Command]) -> bool:
    """Whether the person did something for which a permission of the role is needed: asked for a command, or voted."""
    patterns = policy.file.roles.get(role, ())
    asked = (commands[name].permission for name in used.asked.get(person, ()) if name in commands)
    voted = (permission for rule in used.voted.get(person, ()) for permission in _permissions_in(rule))
    return any(covers(pattern, permission) for permission in (*asked, *voted) for pattern in patterns) or _voted_as(used, person, role)


def _permissions_in(rule: Mapping[str, Any]) -> Iterator[str]:
    for stage in Approval.of_json(rule).steps:
        for voters in stage.sets:
            yield from (one.removeprefix("permission:") for one in (*voters.of, *stage.escalate_to) if one.startswith("permission:"))
            yield from voters.also


def _voted_as(used: Used, person: str, role: str) -> bool:
    selector = f"role:{role}"
    sets = ((stage, voters) for rule in used.voted.get(person, ()) for stage in Approval.of_json(rule).steps for voters in stage.sets)
    return any(selector in (*voters.of, *stage.escalate_to, *stage.fallback) for stage, voters in sets)


def _sources(policy: BoundPolicy, gate: Gate, people: Mapping[str, Person], commands: Mapping[str, Command]) -> tuple[str, ...]:
    """Where the gate comes from under the policy in force, by its last request."""
    command, person = commands.get(gate.command), people.get(gate.last.asker)
    if command is None or person is None:
        return ()
    place = Place(**gate.last.place) if gate.last.place else Place("api")
    request = Request(
        command.permission, Door(gate.last.door), place, command, gate.last.arguments, reason=gate.last.reason, now=gate.last.at
    )
    approval, sources = required_approval(policy, person, request, alone=False)
    return sources if approval and approval.as_json() == gate.rule else ()
