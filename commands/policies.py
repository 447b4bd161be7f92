"""The policy: YAML checked strictly, compiled once, asked by everybody. Unknown keys and dead rules stop it from loading."""

import hashlib
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import AwareDatetime, Field, ValidationError, field_validator

from countersign.approvals import Approval, checked_selector
from countersign.arguments import Duration
from countersign.commands import Command
from countersign.permissions import Risk
from store.people import Person

from .accesses import AccessEntry, access_rules, problems_of
from .rules import APPROVE as APPROVE
from .rules import PATTERN, BoundRule, Part, Rule, approval_of, bind_rule, listed, targets_of

Profile = Literal["team", "strict"]
ADMIN: Final = "countersign:admin"
USE: Final = "countersign:use"
AUDIT: Final = "countersign:audit"
_PERSON = r"^[a-z0-9][a-z0-9._-]{0,63}$"
PermissionPattern = Annotated[str, Field(pattern=PATTERN)]


class PolicyError(Exception):
    """The policy cannot be used; the message names the place in the file and the fix."""


class PersonEntry(Part):
    """`manager` is the name of another person of the policy, for rules that ask the asker's manager."""

    email: str | None = None
    groups: tuple[str, ...] = ()
    timezone: str = "UTC"
    manager: str = ""


class IdentityEntry(Part):
    """`teams` are the workspaces whose full members may be linked by e-mail and whose accounts may act."""

    link_by_email: bool = False
    teams: tuple[str, ...] = ()


class ScheduleEntry(Part):
    """Who is on call when: `rotation` takes turns of `every`, the first from `start`."""

    rotation: Annotated[tuple[str, ...], Field(min_length=1)]
    start: AwareDatetime
    every: str = "7d"

    def on_call(self, at: datetime) -> str:
        """Before the start the first of the rotation is on call."""
        turns = max(timedelta(0), at - self.start) // Duration.parse(self.every)
        return self.rotation[turns % len(self.rotation)]

    @field_validator("every")
    @classmethod
    def _some_time(cls, value: str) -> str:
        if not Duration.parse(value):
            raise ValueError("should be some time, for instance 7d")
        return value


class PolicyFile(Part):
    profile: Profile = "team"
    people: Mapping[Annotated[str, Field(pattern=_PERSON)], PersonEntry] = {}
    identity: Mapping[Literal["slack", "discord"], IdentityEntry] = {}
    roles: Mapping[str, tuple[PermissionPattern, ...]] = {}
    groups: Mapping[str, tuple[str, ...]] = {}
    channels: Mapping[str, tuple[str, ...]] = {}
    schedules: Mapping[str, ScheduleEntry] = {}
    owners: Mapping[str, Mapping[str, tuple[str, ...]]] = {}
    access: Mapping[str, AccessEntry] = {}
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Policy:
    """A checked policy with the digest of its text."""

    digest: str
    body: str
    file: PolicyFile
    named: frozenset[str]

    @property
    def profile(self) -> Profile:
        return self.file.profile

    def permissions_of(self, roles: frozenset[str], groups: frozenset[str]) -> frozenset[str]:
        """The permission patterns that these run-time roles and these groups carry."""
        all_roles = roles | {role for group in groups for role in self.file.groups.get(group, ())}
        return frozenset(pattern for role in all_roles for pattern in self.file.roles.get(role, ()))

    def roles_with(self, permission: str) -> list[str]:
        """Names of the roles that carry this permission."""
        return sorted(name for name, patterns in self.file.roles.items() if any(covers(one, permission) for one in patterns))

    def groups_of(self, person: Person) -> frozenset[str]:
        """Every group the person is in."""
        return person.groups

    def roles_of(self, person: Person) -> frozenset[str]:
        """Every role the person has, granted to them or carried by their groups."""
        return person.roles | {role for group in self.groups_of(person) for role in self.file.groups.get(group, ())}

    def on_call(self, schedule: str, at: datetime | None) -> tuple[str, ...]:
        """Who is on call for a schedule: one person at an instant, the whole rotation when none is given, nobody when it is unknown."""
        entry = self.file.schedules.get(schedule)
        return () if entry is None else entry.rotation if at is None else (entry.on_call(at),)

    def owners_of(self, argument: str, value: Any) -> tuple[str, ...]:
        """Selectors of those who own what the argument names; of a list of things, only those who own them all."""
        known = self.file.owners.get(argument, {})
        each = [known.get(str(one), ()) for one in (value if isinstance(value, list | tuple) else [value])]
        return tuple(one for one in each[0] if all(one in others for others in each)) if each else ()

    def identity(self, platform: str) -> IdentityEntry:
        return next((entry for name, entry in self.file.identity.items() if name == platform), IdentityEntry())

    def channels_for(self, command: str) -> tuple[str, ...]:
        """Where cards of this command go whatever the place it was asked in; empty when policy names none."""
        return self.file.channels.get(command, ())


@dataclass(frozen=True)
class BoundPolicy(Policy):
    """A policy whose rules are bound to the commands there are; only such a one can be asked."""

    rules: Mapping[str, tuple[BoundRule, ...]] = field(default_factory=dict)
    signed: bool = False
    """Whether anybody ever enrolled a passkey here; from then on what needs an admin's approval needs an admin's passkey."""

    def rules_for(self, command: Command | None) -> tuple[BoundRule, ...]:
        """The rules that concern a command, as they stand in the file."""
        return self.rules.get(command.name, ()) if command else ()


def compile_policy(body: str) -> Policy:
    """Reads a policy; raises PolicyError naming the line or key."""
    data, lines = _read(body)
    for rule, line in zip(data.get("rules") or (), lines, strict=False) if lines else ():
        if isinstance(rule, dict):
            rule["line"] = line
    try:
        file = PolicyFile.model_validate(data)
    except ValidationError as error:
        raise PolicyError(_explained(error, lines)) from None
    _check_references(file)
    named = frozenset(one for patterns in file.roles.values() for one in patterns if "*" not in one)
    return Policy(digest=hashlib.sha256(body.encode()).hexdigest(), body=body, file=file, named=named)


def bind(policy: Policy, commands: Mapping[str, Command]) -> BoundPolicy:
    """The policy for these commands. A rule that one of them cannot meet stays, broken: the command is then refused to everybody."""
    rules: dict[str, tuple[BoundRule, ...]] = {}
    for rule in (*policy.file.rules, *access_rules(policy.file.access)):
        for name, bound in bind_rule(rule, commands).items():
            rules[name] = (*rules.get(name, ()), bound)
    return BoundPolicy(policy.digest, policy.body, policy.file, policy.named, rules)


def check_rules(policy: Policy, commands: Mapping[str, Command]) -> list[str]:
    """Rules that name unknown commands or arguments, values that an argument never has, or rules that can never match."""
    return [problem for rule in policy.file.rules for problem in _rule_problems(rule, commands)]


def check_policy(policy: Policy, commands: Mapping[str, Command]) -> list[str]:
    """What only the whole set shows: wrong rules, people and groups that nobody is, channels and permissions of no command."""
    problems = check_rules(policy, commands)
    problems += [problem for rule in policy.file.rules for problem in _nobodies(rule, policy.file)]
    members = {group for entry in policy.file.people.values() for group in entry.groups}
    problems += [
        f"groups: nobody listed under people is in {group!r}" for group in policy.file.groups if policy.file.people and group not in members
    ]
    problems += [f"channels: there is no command {name!r}" for name in policy.file.channels if name not in commands]
    known = {one.permission for one in commands.values()} | {one.approval.by for one in commands.values() if one.approval}
    known |= {ADMIN, APPROVE, USE, AUDIT} | {rule.approve.by for rule in policy.file.rules if rule.approve}
    known |= {entry.approve.by for entry in policy.file.access.values() if entry.approve}
    return problems + [f"roles: no command uses the permission {one!r}" for one in sorted(policy.named - known)]


def covers(pattern: str, permission: str) -> bool:
    """Whether `deploy:*`, `*:*` or an exact name covers the permission."""
    bundle, _, verb = pattern.partition(":")
    wanted_bundle, _, wanted_verb = permission.partition(":")
    return bundle in ("*", wanted_bundle) and verb in ("*", wanted_verb)


class _Reader(yaml.SafeLoader):
    """Refuses a key given twice: YAML's usual readers keep the last one, and what stood before would silently be gone."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise PolicyError(f"policy line {key.start_mark.line + 1}: {key.value} is given twice")
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read(body: str) -> tuple[dict[str, Any], list[int]]:
    """The data and the line of each rule; raises PolicyError for what is not YAML or not a mapping."""
    try:
        root = yaml.compose(body, Loader=_Reader)
        data = yaml.load(body, Loader=_Reader) or {}  # noqa: S506  _Reader is a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise PolicyError(f"policy line {mark.line + 1 if mark else '?'}: not YAML: {getattr(error, 'problem', 'unreadable')}") from None
    except (ValueError, RecursionError):
        raise PolicyError("policy: not YAML: a date that does not exist, or too many brackets") from None
    if not isinstance(data, dict):
        raise PolicyError("policy: should be a mapping with keys such as profile, people, roles, groups and rules")
    known = PolicyFile.model_fields  # a section with nothing under it is as good as left out; an unknown key is not
    _note_lines(data.get("access"), root)
    return {name: one for name, one in data.items() if one is not None or name not in known}, _rule_lines(root)


def _rule_lines(root: yaml.Node | None) -> list[int]:
    if not isinstance(root, yaml.MappingNode):
        return []
    rules = next((value for key, value in root.value if key.value == "rules"), None)
    return [one.start_mark.line + 1 for one in rules.value] if isinstance(rules, yaml.SequenceNode) else []


def _note_lines(section: Any, root: yaml.Node | None) -> None:
    """Each entry of `access:` learns its line, because its approval is explained like a rule."""
    node = next((value for key, value in root.value if key.value == "access"), None) if isinstance(root, yaml.MappingNode) else None
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        if isinstance(section, dict) and isinstance(section.get(key.value), dict):
            section[key.value]["line"] = key.start_mark.line + 1


def _explained(error: ValidationError, lines: list[int]) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    path = [str(part) for part in first["loc"]]
    line = (
        f" line {lines[int(path[1])]}"
        if path[:1] == ["rules"] and len(path) > 1 and path[1].isdecimal() and int(path[1]) < len(lines)
        else ""
    )
    if first["type"] == "extra_forbidden":
        return f"policy{line}: {'.'.join(path)} is not a key that is known here"
    return f"policy{line}: {'.'.join(path)}: {first['msg'].replace('Input should', 'should').removeprefix('Value error, ')}"


def _check_references(file: PolicyFile) -> None:
    for group, roles in file.groups.items():
        for role in roles:
            if role not in file.roles:
                raise PolicyError(f"policy: groups.{group} names the role {role!r}, which roles does not define")
    for argument, things in file.owners.items():
        for thing, selectors in things.items():
            for one in selectors:
                _check_owner(one, f"owners.{argument}.{thing}")
    for problem in problems_of(file.access, file.roles):
        raise PolicyError(f"policy: {problem}")
    for role, access in file.access.items():
        if access.approve and (approval := approval_of(access.approve)):
            _check_selectors(approval, file, f"policy: access.{role}")
    for name, schedule in file.schedules.items():
        if file.people and (unknown := set(schedule.rotation) - set(file.people)):
            raise PolicyError(f"policy: schedules.{name} names {min(unknown)!r}, who is not listed under people")
    for person, entry in file.people.items():
        for group in entry.groups:
            if file.groups and group not in file.groups:
                raise PolicyError(f"policy: people.{person} is in the group {group!r}, which groups does not define")
        if entry.manager and (entry.manager not in file.people or entry.manager == person):
            raise PolicyError(f"policy: people.{person}.manager should be somebody else who is listed under people, not {entry.manager!r}")
    for rule in file.rules:
        where = f"policy {rule.place}"
        if bool(rule.deny) == (rule.approve is not None):
            raise PolicyError(f"{where} should say either deny: or approve:")
        if rule.command is None and rule.risk is None:
            raise PolicyError(f"{where} should name a command or a risk, or it would match everything")
        if unknown := set(listed(rule.risk)) - set(Risk.__members__):
            raise PolicyError(f"{where}: risk {min(unknown)!r} should be one of {', '.join(Risk.__members__)}")
        if rule.approve and (approval := approval_of(rule.approve)):
            _check_selectors(approval, file, where)


def _check_owner(selector: str, where: str) -> None:
    try:
        checked_selector(selector)
    except TypeError as error:
        raise PolicyError(f"policy: {where}: {error}") from None
    if selector.startswith("owner-of:"):
        raise PolicyError(f"policy: {where}: an owner cannot be the owner of something else")


def _check_selectors(approval: Approval, file: PolicyFile, where: str) -> None:
    """A selector of what the policy does not define would silently name nobody."""
    known: Mapping[str, Collection[str]] = {"role": file.roles, "on-call": file.schedules, "owner-of": file.owners}
    for stage in approval.stages:
        for one in (*(name for voters in stage.sets for name in voters.of), *stage.escalate_to, *stage.fallback):
            kind, _, name = one.partition(":")
            if kind in known and name not in known[kind]:
                raise PolicyError(f"{where}: {one} names {name!r}, which this policy does not define")


def _rule_problems(rule: Rule, commands: Mapping[str, Command]) -> list[str]:
    problems = [f"{rule.place} names the command {name!r}, which does not exist" for name in listed(rule.command) if name not in commands]
    if not problems and not targets_of(rule, commands):
        problems.append(f"{rule.place} can never match: no command it names has risk {' or '.join(listed(rule.risk)) or 'at all'}")
    broken = [one.broken for one in bind_rule(rule, commands).values() if one.broken]
    return problems + [f"{rule.place} {one}" for one in dict.fromkeys(broken)]


def _nobodies(rule: Rule, file: PolicyFile) -> list[str]:
    if not file.people:
        return []
    members = {group for entry in file.people.values() for group in entry.groups}
    return [f"{rule.place} names {name!r}, who is not listed under people" for name in rule.people if name not in file.people] + [
        f"{rule.place} names the group {name!r}, which nobody listed under people is in" for name in rule.groups if name not in members
    ]
