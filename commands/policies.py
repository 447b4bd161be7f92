"""The policy: YAML checked strictly, compiled once, asked by everybody. Unknown keys and dead rules stop it from loading."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, AwareDatetime, Field, ValidationError, field_validator

from countersign.approvals import Approval, checked_selector
from countersign.arguments import Duration
from countersign.calendars import Window
from countersign.commands import Command
from countersign.permissions import Risk
from store.people import Person

from .accesses import AccessEntry, access_rules, problems_of
from .departments import DirectoryEntry, department_problems, directory_problems, with_departments
from .periods import BoundFreeze, FreezeEntry, WindowEntry, bind_freezes
from .rules import APPROVE as APPROVE
from .rules import OUTCOMES, PATTERN, BoundRule, Part, Rule, approval_of, bind_rule, known_zone, listed
from .yamls import Lines, read_yaml
from .yamls import PolicyError as PolicyError

Profile = Literal["team", "strict"]
ADMIN: Final = "countersign:admin"
USE: Final = "countersign:use"
AUDIT: Final = "countersign:audit"
MOST_CARRIED: Final = 50_000
_NAMED: Final = ("access", "freezes")
"""Sections whose entries are explained like rules, so each learns its line."""
_PERSON = r"^[a-z0-9][a-z0-9._-]{0,63}$"
PermissionPattern = Annotated[str, Field(pattern=PATTERN)]


class PersonEntry(Part):
    """`manager` is the name of another person of the policy, for rules that ask the asker's manager.

    Who is not `active` is kept out, whatever a directory says.
    """

    email: str | None = None
    groups: tuple[str, ...] = ()
    timezone: Annotated[str, AfterValidator(known_zone)] = "UTC"
    manager: str = ""
    active: bool = True


class ServiceEntry(Part):
    """An account that schedules and triggers run as: it has what its groups carry, never votes and never logs in."""

    groups: tuple[str, ...] = ()
    timezone: Annotated[str, AfterValidator(known_zone)] = "UTC"
    active: bool = True


class IdentityEntry(Part):
    """`teams` are the workspaces whose full members may be linked by e-mail and whose accounts may act."""

    link_by_email: bool = False
    teams: tuple[str, ...] = ()


_NO_IDENTITY: Final = IdentityEntry()


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
    timezone: Annotated[str, AfterValidator(known_zone)] = "UTC"
    people: Mapping[Annotated[str, Field(pattern=_PERSON)], PersonEntry] = {}
    service_accounts: Mapping[Annotated[str, Field(pattern=_PERSON)], ServiceEntry] = {}
    identity: Mapping[Literal["slack", "discord", "oidc"], IdentityEntry] = {}
    roles: Mapping[str, tuple[PermissionPattern, ...]] = {}
    groups: Mapping[str, tuple[str, ...]] = {}
    departments: Mapping[str, tuple[str, ...]] = {}
    directories: Mapping[Literal["slack", "scim", "oidc"], DirectoryEntry] = {}
    channels: Mapping[str, tuple[str, ...]] = {}
    schedules: Mapping[str, ScheduleEntry] = {}
    owners: Mapping[str, Mapping[str, tuple[str, ...]]] = {}
    access: Mapping[str, AccessEntry] = {}
    windows: Mapping[str, WindowEntry] = {}
    freezes: Mapping[str, FreezeEntry] = {}
    rules: tuple[Rule, ...] = ()

    @property
    def actors(self) -> dict[str, PersonEntry | ServiceEntry]:
        """People and service accounts."""
        return {**self.people, **self.service_accounts}

    def roster(self) -> dict[str, dict[str, Any]]:
        """Both of them, as `save_people` takes them."""
        return {name: one.model_dump() | {"service": isinstance(one, ServiceEntry)} for name, one in self.actors.items()}


@dataclass(frozen=True)
class Policy:
    """A checked policy with the digest of its text."""

    digest: str
    body: str
    file: PolicyFile
    named: frozenset[str]
    _carried: dict[tuple[frozenset[str], frozenset[str], str], bool] = field(default_factory=dict, compare=False, repr=False, kw_only=True)
    _carrying: dict[str, list[str]] = field(default_factory=dict, compare=False, repr=False, kw_only=True)

    @property
    def profile(self) -> Profile:
        return self.file.profile

    def permissions_of(self, roles: frozenset[str], groups: frozenset[str]) -> frozenset[str]:
        """The permission patterns that these run-time roles, these groups and their departments carry."""
        carrying = with_departments(groups, self.file.departments)
        all_roles = roles | {role for group in carrying for role in self.file.groups.get(group, ())}
        return frozenset(pattern for role in all_roles for pattern in self.file.roles.get(role, ()))

    def carries(self, roles: frozenset[str], groups: frozenset[str], permission: str) -> bool:
        """Whether these run-time roles or these groups carry the permission; worked out once for each, because everything asks."""
        key = (roles, groups, permission)
        if (found := self._carried.get(key)) is None:
            if len(self._carried) >= MOST_CARRIED:
                self._carried.clear()
            found = any(covers(one, permission) for one in self.permissions_of(roles, groups))
            self._carried[key] = found
        return found

    def roles_with(self, permission: str) -> list[str]:
        """Names of the roles that carry this permission."""
        if (found := self._carrying.get(permission)) is None:
            if len(self._carrying) >= MOST_CARRIED:
                self._carrying.clear()
            found = sorted(name for name, patterns in self.file.roles.items() if any(covers(one, permission) for one in patterns))
            self._carrying[permission] = found
        return found

    def groups_of(self, person: Person) -> frozenset[str]:
        """Every group the person is in, and the departments of these groups."""
        return with_departments(person.groups, self.file.departments)

    def roles_of(self, person: Person) -> frozenset[str]:
        """Every role the person has, granted to them or carried by their groups."""
        return person.roles | {role for group in self.groups_of(person) for role in self.file.groups.get(group, ())}

    def on_call(self, schedule: str, at: datetime | None) -> tuple[str, ...]:
        """Who is on call for a schedule: one person at an instant, the whole rotation when none is given, nobody when it is unknown."""
        entry = self.file.schedules.get(schedule)
        return () if entry is None else entry.rotation if at is None else (entry.on_call(at),)

    def schedules_of(self, person: Person, at: datetime | None) -> frozenset[str] | None:
        """The schedules by which the person is on call at this moment; None when there are any and no moment is given."""
        if at is None and self.file.schedules:
            return None
        return frozenset(name for name in self.file.schedules if person.name in self.on_call(name, at))

    def owners_of(self, argument: str, value: Any) -> tuple[str, ...]:
        """Selectors of those who own what the argument names; of a list of things, only those who own them all."""
        known = self.file.owners.get(argument, {})
        each = [known.get(str(one), ()) for one in (value if isinstance(value, list | tuple) else [value])]
        return tuple(one for one in each[0] if all(one in others for others in each)) if each else ()

    def identity(self, platform: Literal["slack", "discord", "oidc"]) -> IdentityEntry:
        return self.file.identity.get(platform, _NO_IDENTITY)

    def channels_for(self, command: str) -> tuple[str, ...]:
        """Where cards of this command go whatever the place it was asked in; empty when policy names none."""
        return self.file.channels.get(command, ())


@dataclass(frozen=True)
class BoundPolicy(Policy):
    """A policy whose rules are bound to the commands there are; only such a one can be asked."""

    rules: Mapping[str, tuple[BoundRule, ...]] = field(default_factory=dict)
    signed: bool = False
    """Whether anybody ever enrolled a passkey here; from then on what needs an admin's approval needs an admin's passkey."""
    windows: Mapping[str, Window] = field(default_factory=dict)
    freezes: Mapping[str, tuple[BoundFreeze, ...]] = field(default_factory=dict)

    def rules_for(self, command: Command | None) -> tuple[BoundRule, ...]:
        """The rules that concern a command, as they stand in the file."""
        return self.rules.get(command.name, ()) if command else ()

    def freezes_for(self, command: Command | None) -> tuple[BoundFreeze, ...]:
        """The freezes that concern a command, whenever they are."""
        return self.freezes.get(command.name, ()) if command else ()


def compile_policy(body: str) -> Policy:
    """Reads a policy; raises PolicyError naming the line or key."""
    data, lines = read_yaml(body)
    try:
        file = PolicyFile.model_validate(_with_lines(data, lines))
    except ValidationError as error:
        raise PolicyError(_explained(error, lines)) from None
    _check_references(file, lines)
    named = frozenset(one for patterns in file.roles.values() for one in patterns if "*" not in one)
    return Policy(digest=hashlib.sha256(body.encode()).hexdigest(), body=body, file=file, named=named)


def bind(policy: Policy, commands: Mapping[str, Command]) -> BoundPolicy:
    """The policy for these commands. A rule that one of them cannot meet stays, broken: the command is then refused to everybody."""
    rules: dict[str, tuple[BoundRule, ...]] = {}
    for rule in (*policy.file.rules, *access_rules(policy.file.access)):
        for name, bound in bind_rule(rule, commands).items():
            rules[name] = (*rules.get(name, ()), bound)
    windows = {name: entry.window(name) for name, entry in policy.file.windows.items()}
    freezes = bind_freezes(policy.file.freezes, commands)
    return BoundPolicy(policy.digest, policy.body, policy.file, policy.named, rules, windows=windows, freezes=freezes)


def freeze_rules(file: PolicyFile) -> list[Rule]:
    """What each freeze concerns, as a rule."""
    return [entry.rule(name) for name, entry in file.freezes.items()]


def covers(pattern: str, permission: str) -> bool:
    """Whether `deploy:*`, `*:*` or an exact name covers the permission."""
    bundle, _, verb = pattern.partition(":")
    wanted_bundle, _, wanted_verb = permission.partition(":")
    return bundle in ("*", wanted_bundle) and verb in ("*", wanted_verb)


def _with_lines(data: dict[str, Any], lines: Lines) -> dict[str, Any]:
    """What explains itself learns its line. A section with nothing under it is as good as left out; an unknown key is not."""
    for n, rule in enumerate(data.get("rules") or ()) if isinstance(data.get("rules"), list) else ():
        if isinstance(rule, dict):
            rule["line"] = lines.at("rules", n)
            rule.setdefault("timezone", data.get("timezone", "UTC"))
    for section in ("windows", "freezes") if data.get("timezone") else ():
        entries = data.get(section)
        for entry in entries.values() if isinstance(entries, dict) else ():
            if isinstance(entry, dict):
                entry.setdefault("zone", data["timezone"])
    for section in _NAMED:
        entries = data.get(section)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            if isinstance(entry, dict):
                entry["line"] = lines.at(section, name)
    return {name: one for name, one in data.items() if one is not None or name not in PolicyFile.model_fields}


def _explained(error: ValidationError, lines: Lines) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    path = [str(part) for part in first["loc"]]
    line = lines.at(*path)
    where = f"policy line {line}" if line else "policy"
    if first["type"] == "extra_forbidden":
        return f"{where}: {'.'.join(path)} is not a key that is known here{_nearest(path)}"
    return f"{where}: {'.'.join(path)}: {first['msg'].replace('Input should', 'should').removeprefix('Value error, ')}"


def _nearest(path: Sequence[str]) -> str:
    """`; did you mean doors?` for a key that is almost one of a rule's, or of the file's."""
    known = _keys(Rule) if path[:1] == ["rules"] and len(path) == 3 else _keys(PolicyFile) if len(path) == 1 else []
    near = get_close_matches(path[-1], known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _keys(model: type[Part]) -> list[str]:
    return [one.alias or name for name, one in model.model_fields.items() if name != "line"]


def _check_references(file: PolicyFile, lines: Lines) -> None:
    rules = (*file.rules, *freeze_rules(file))
    for problem in (*_reference_problems(file, lines), *(_told for rule in rules for _told in _rule_problems(rule, file))):
        raise PolicyError(f"policy {problem}")


def _reference_problems(file: PolicyFile, lines: Lines) -> Iterator[str]:
    for group, roles in file.groups.items():
        for role in roles:
            if role not in file.roles:
                yield f"{lines.place('groups', group)}groups.{group} names the role {role!r}, which roles does not define"
    for name, problem in department_problems(file.departments, file.groups):
        yield f"{lines.place('departments', name)}{problem}"
    for name, problem in directory_problems(file.directories, file.groups):
        yield f"{lines.place('directories', name)}{problem}"
    for argument, things in file.owners.items():
        for thing, selectors in things.items():
            where = f"{lines.place('owners', argument, thing)}owners.{argument}.{thing}: "
            yield from (where + problem for one in selectors for problem in _owner_problems(one))
    for problem in problems_of(file.access, file.roles):
        yield f"{lines.place('access', problem.partition(':')[0].removeprefix('access.'))}{problem}"
    for role, access in file.access.items():
        if access.approve and (approval := approval_of(access.approve)):
            yield from (f"{lines.place('access', role)}access.{role}: {one}" for one in _selector_problems(approval, file))
    for name, schedule in file.schedules.items():
        if file.people and (unknown := set(schedule.rotation) - set(file.people)):
            yield f"{lines.place('schedules', name)}schedules.{name} names {min(unknown)!r}, who is not listed under people"
    for name in file.people.keys() & file.service_accounts.keys():
        yield f"{lines.place('service_accounts', name)}service_accounts.{name} is listed under people too; give it a name of its own"
    for name, actor in file.actors.items():
        section = "people" if name in file.people else "service_accounts"
        for group in actor.groups:
            if file.groups and group not in file.groups:
                yield f"{lines.place(section, name)}{section}.{name} is in the group {group!r}, which groups does not define"
    for person, entry in file.people.items():
        where = lines.place("people", person)
        if entry.manager and (entry.manager not in file.people or entry.manager == person):
            yield f"{where}people.{person}.manager should be somebody else who is listed under people, not {entry.manager!r}"


def _rule_problems(rule: Rule, file: PolicyFile) -> Iterator[str]:
    """What is wrong with a rule whatever commands there are."""
    if problem := _outcome_problem(rule):
        yield f"{rule.place} {problem}"
    if rule.window and rule.window not in file.windows:
        yield f"{rule.place} names the window {rule.window!r}, which windows does not define"
    if rule.command is None and rule.risk is None:
        yield f"{rule.place} should name a command or a risk, or it would match everything"
    if unknown := set(listed(rule.risk)) - set(Risk.__members__):
        yield f"{rule.place}: risk {min(unknown)!r} should be one of {', '.join(Risk.__members__)}"
    if rule.approve and (approval := approval_of(rule.approve)):
        yield from (f"{rule.place}: {one}" for one in _selector_problems(approval, file))


def _outcome_problem(rule: Rule) -> str:
    outcomes = rule.outcomes
    if not outcomes:
        return f"should say what follows: {', '.join(f'{one}:' for one in OUTCOMES[:-1])} or {OUTCOMES[-1]}:"
    for alone in ("deny", "allow"):
        if alone in outcomes and len(outcomes) > 1:
            return f"says {alone}: together with {next(one for one in outcomes if one != alone)}:; make two rules of it"
    return "allows something, so it should name its commands" if rule.allow and rule.command is None else ""


def _owner_problems(selector: str) -> Iterator[str]:
    try:
        checked_selector(selector)
    except TypeError as error:
        yield str(error)
    if selector.startswith("owner-of:"):
        yield "an owner cannot be the owner of something else"


def _selector_problems(approval: Approval, file: PolicyFile) -> Iterator[str]:
    """A selector of what the policy does not define would silently name nobody."""
    known: Mapping[str, Collection[str]] = {"role": file.roles, "on-call": file.schedules, "owner-of": file.owners}
    for stage in approval.stages:
        for one in (*(name for voters in stage.sets for name in voters.of), *stage.escalate_to, *stage.fallback):
            kind, _, name = one.partition(":")
            if kind in known and name not in known[kind]:
                yield f"{one} names {name!r}, which this policy does not define"
