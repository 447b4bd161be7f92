"""The policy: YAML checked strictly, compiled once, asked by everybody. Unknown keys and dead rules stop it from loading."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from countersign.approvals import Approval
from countersign.arguments import Duration
from countersign.commands import Command
from countersign.permissions import Risk

Profile = Literal["team", "strict"]
ADMIN: Final = "countersign:admin"
APPROVE: Final = "countersign:approve"
USE: Final = "countersign:use"
AUDIT: Final = "countersign:audit"
_PATTERN = r"^(?:[a-z][a-z0-9_-]*|\*):(?:[a-z][a-z0-9_-]*|\*)$"
_PERSON = r"^[a-z0-9][a-z0-9._-]{0,63}$"
PermissionPattern = Annotated[str, Field(pattern=_PATTERN)]


class PolicyError(Exception):
    """The policy cannot be used; the message names the place in the file and the fix."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PersonEntry(_Part):
    email: str | None = None
    groups: tuple[str, ...] = ()
    timezone: str = "UTC"


class IdentityEntry(_Part):
    """`teams` are the workspaces whose full members may be linked by e-mail and whose accounts may act."""

    link_by_email: bool = False
    teams: tuple[str, ...] = ()


class ApproveEntry(_Part):
    by: Annotated[str, Field(pattern=_PATTERN)] = APPROVE
    count: Annotated[int, Field(ge=0, le=20)] = 1
    expires: str = "24h"


class Rule(_Part):
    """Conditions by equality or membership (a list means any of them); all must hold. Then `deny` or `approve`."""

    name: str
    command: str | tuple[str, ...] | None = None
    risk: str | tuple[str, ...] | None = None
    when: Mapping[str, Any] = {}
    people: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    doors: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    deny: str = ""
    approve: ApproveEntry | None = None
    line: int = 0


class PolicyFile(_Part):
    profile: Profile = "team"
    people: Mapping[Annotated[str, Field(pattern=_PERSON)], PersonEntry] = {}
    identity: Mapping[Literal["slack", "discord"], IdentityEntry] = {}
    roles: Mapping[str, tuple[PermissionPattern, ...]] = {}
    groups: Mapping[str, tuple[str, ...]] = {}
    channels: Mapping[str, tuple[str, ...]] = {}
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

    def identity(self, platform: str) -> IdentityEntry:
        return next((entry for name, entry in self.file.identity.items() if name == platform), IdentityEntry())

    def channels_for(self, command: str) -> tuple[str, ...]:
        """Where cards of this command go whatever the place it was asked in; empty when policy names none."""
        return self.file.channels.get(command, ())


def compile_policy(body: str) -> Policy:
    """Reads a policy; raises PolicyError naming the line or key."""
    try:
        data = yaml.safe_load(body) or {}
        lines = _rule_lines(body)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise PolicyError(f"policy line {mark.line + 1 if mark else '?'}: not YAML: {getattr(error, 'problem', 'unreadable')}") from None
    if not isinstance(data, dict):
        raise PolicyError("policy: should be a mapping with keys such as profile, people, roles, groups and rules")
    for rule, line in zip(data.get("rules") or (), lines, strict=False):
        if isinstance(rule, dict):
            rule["line"] = line
    try:
        file = PolicyFile.model_validate(data)
    except ValidationError as error:
        raise PolicyError(_explained(error, lines)) from None
    _check_references(file)
    named = frozenset(one for patterns in file.roles.values() for one in patterns if "*" not in one)
    return Policy(digest=hashlib.sha256(body.encode()).hexdigest(), body=body, file=file, named=named)


def check_policy(policy: Policy, commands: Mapping[str, Command]) -> list[str]:
    """What only the whole set shows: rules naming unknown commands or arguments, rules no command can meet, groups nobody is in."""
    problems = [problem for rule in policy.file.rules for problem in _rule_problems(rule, commands)]
    members = {group for entry in policy.file.people.values() for group in entry.groups}
    problems += [
        f"groups: nobody listed under people is in {group!r}" for group in policy.file.groups if policy.file.people and group not in members
    ]
    problems += [f"channels: there is no command {name!r}" for name in policy.file.channels if name not in commands]
    known = {one.permission for one in commands.values()} | {one.approval.by for one in commands.values() if one.approval}
    known |= {ADMIN, APPROVE, USE, AUDIT} | {rule.approve.by for rule in policy.file.rules if rule.approve}
    return problems + [f"roles: no command uses the permission {one!r}" for one in sorted(policy.named - known)]


def covers(pattern: str, permission: str) -> bool:
    """Whether `deploy:*`, `*:*` or an exact name covers the permission."""
    bundle, _, verb = pattern.partition(":")
    wanted_bundle, _, wanted_verb = permission.partition(":")
    return bundle in ("*", wanted_bundle) and verb in ("*", wanted_verb)


def _rule_lines(body: str) -> list[int]:
    root = yaml.compose(body)
    if not isinstance(root, yaml.MappingNode):
        return []
    rules = next((value for key, value in root.value if key.value == "rules"), None)
    return [one.start_mark.line + 1 for one in rules.value] if isinstance(rules, yaml.SequenceNode) else []


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
    return f"policy{line}: {'.'.join(path)}: {first['msg'].replace('Input should', 'should')}"


def _check_references(file: PolicyFile) -> None:
    for group, roles in file.groups.items():
        for role in roles:
            if role not in file.roles:
                raise PolicyError(f"policy: groups.{group} names the role {role!r}, which roles does not define")
    for person, entry in file.people.items():
        for group in entry.groups:
            if file.groups and group not in file.groups:
                raise PolicyError(f"policy: people.{person} is in the group {group!r}, which groups does not define")
    for rule in file.rules:
        where = f"policy line {rule.line}: rule {rule.name!r}"
        if bool(rule.deny) == (rule.approve is not None):
            raise PolicyError(f"{where} should say either deny: or approve:")
        if rule.command is None and rule.risk is None:
            raise PolicyError(f"{where} should name a command or a risk, or it would match everything")
        if unknown := set(_listed(rule.risk)) - set(Risk.__members__):
            raise PolicyError(f"{where}: risk {min(unknown)!r} should be one of {', '.join(Risk.__members__)}")
        if rule.approve:
            _check_duration(rule.approve.expires, where)


def _check_duration(text: str, where: str) -> None:
    try:
        Duration.parse(text)
    except ValueError as error:
        raise PolicyError(f"{where}: expires {error}") from None


def _rule_problems(rule: Rule, commands: Mapping[str, Command]) -> list[str]:
    where = f"line {rule.line}: rule {rule.name!r}"
    problems = [f"{where} names the command {name!r}, which does not exist" for name in _listed(rule.command) if name not in commands]
    targets = [one for name, one in commands.items() if rule.command is None or name in _listed(rule.command)]
    targets = [one for one in targets if rule.risk is None or one.risk.name in _listed(rule.risk)]
    problems += [
        f"{where} looks at the argument {key!r}, which {' and '.join(one.name for one in targets[:3])} does not have"
        for key in rule.when
        if targets and not any(key in {one.name for one in command.schema.parameters} for command in targets)
    ]
    if not targets and not problems:
        problems.append(f"{where} can never match: no command has risk {' or '.join(_listed(rule.risk))}")
    return problems


def _listed(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else value


def approval_of(entry: ApproveEntry) -> Approval | None:
    """The rule's approval; None when its count is 0, which loosens what an author allowed to be loosened."""
    return Approval(by=entry.by, count=entry.count, expires=entry.expires) if entry.count else None


def rule_names(rule: Rule, command: Command) -> bool:
    """Whether the rule is about this command at all."""
    return (rule.command is None or command.name in _listed(rule.command)) and (
        rule.risk is None or command.risk.name in _listed(rule.risk)
    )
