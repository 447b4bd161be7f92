"""policy check: what only the whole policy, together with the commands there are, shows to be wrong. Each problem names its line."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from countersign.approvals import Approval
from countersign.commands import Command

from .departments import fed_groups, with_departments
from .policies import ADMIN, APPROVE, AUDIT, USE, Policy, PolicyFile, covers, freeze_rules
from .rules import BoundRule, Rule, approval_of, bind_rule, listed, targets_of
from .yamls import Lines, read_yaml


def check_rules(policy: Policy, commands: Mapping[str, Command]) -> list[str]:
    """Rules that name unknown commands or arguments, values that an argument never has, expressions that cannot be typed, dead rules."""
    bound = [bind_rule(rule, commands) for rule in policy.file.rules]
    problems = [problem for rule, mine in zip(policy.file.rules, bound, strict=True) for problem in _rule_problems(rule, mine, commands)]
    for rule in freeze_rules(policy.file):
        problems += _rule_problems(rule, bind_rule(rule, commands), commands)
    return problems + list(_shadowed(policy.file.rules, bound)) + list(_same_names(policy.file.rules))


def check_policy(policy: Policy, commands: Mapping[str, Command]) -> list[str]:
    """What stops a policy from being applied: wrong rules, people and groups that nobody is, channels and permissions of no command."""
    lines = read_yaml(policy.body)[1]
    problems = check_rules(policy, commands)
    problems += [problem for rule in (*policy.file.rules, *freeze_rules(policy.file)) for problem in _nobodies(rule, policy.file)]
    used = {rule.window for rule in policy.file.rules}
    problems += [f"{lines.place('windows', name)}windows: no rule uses {name!r}" for name in policy.file.windows if name not in used]
    problems += _empty_groups(policy.file, lines)
    problems += [
        f"{lines.place('channels', name)}channels: there is no command {name!r}" for name in policy.file.channels if name not in commands
    ]
    return problems + _unused_permissions(policy, commands, lines)


def notes_on(policy: Policy, commands: Mapping[str, Command]) -> list[str]:
    """What is worth knowing and not wrong: commands that no rule concerns, approvals that too few of the people listed could give."""
    ruled = {command for rule in policy.file.rules for command in bind_rule(rule, commands)}
    ours = ("commands.shipped",)  # whose authors have said what they need
    free = [name for name, one in commands.items() if name not in ruled and one.kind == "command" and not one.origin.startswith(ours)]
    notes = [f"no rule concerns {', '.join(sorted(free))}: the profile and their authors decide"] if free and policy.file.rules else []
    return notes + [note for rule in policy.file.rules for note in _too_few(rule, policy)]


def _rule_problems(rule: Rule, bound: Mapping[str, BoundRule], commands: Mapping[str, Command]) -> list[str]:
    problems = [f"{rule.place} names the command {name!r}, which does not exist" for name in listed(rule.command) if name not in commands]
    if not problems and not targets_of(rule, commands):
        problems.append(f"{rule.place} can never match: no command it names has risk {' or '.join(listed(rule.risk)) or 'at all'}")
    broken = [one.broken for one in bound.values() if one.broken]
    problems += [f"{rule.place} {one}" for one in dict.fromkeys(broken)]
    if not problems and bound and not any(_can_hold(one, commands[name]) for name, one in bound.items()):
        problems.append(f"{rule.place} can never match: its conditions contradict each other; if: {' '.join(rule.test.split())}")
    return problems


def _can_hold(bound: BoundRule, command: Command) -> bool:
    """Whether the expression can be true under the rule's other conditions."""
    if bound.test is None:
        return True
    allowed = {f"args.{name}": tuple(values) for name, values in bound.when.items() if not _is_list(command, name)}
    fixed = {"command": (command.name,), "risk": (command.risk.name,), "door": tuple(one.value for one in bound.rule.doors)}
    return bound.test.can_hold({**allowed, **fixed, "channel": bound.rule.channels, "person.name": bound.rule.people})


def _is_list(command: Command, name: str) -> bool:
    return any(one.name == name and one.many for one in command.schema.parameters)


def _shadowed(rules: Sequence[Rule], bound: Sequence[Mapping[str, BoundRule]]) -> Iterator[str]:
    """Rules that come to nothing because another one denies all that they concern."""
    for n, (rule, mine) in enumerate(zip(rules, bound, strict=True)):
        denying = [other for m, other in enumerate(rules) if other.deny and m != n and (m < n or not rule.deny)]
        covers = [
            next((other for other in denying if (theirs := bound[rules.index(other)].get(name)) and _covers(theirs, one)), None)
            for name, one in mine.items()
        ]
        if covers and all(covers) and covers[0] is not None:
            yield f"{rule.place} never counts: {covers[0].place} denies all that it concerns; move or narrow one of them"


def _covers(other: BoundRule, one: BoundRule) -> bool:
    """Whether the other matches whatever this one matches."""
    theirs, mine = other.rule, one.rule
    if other.broken or one.broken or (theirs.test and (theirs.test, theirs.timezone) != (mine.test, mine.timezone)):
        return False
    sets = ((theirs.people, mine.people), (theirs.groups, mine.groups), (theirs.doors, mine.doors), (theirs.channels, mine.channels))
    narrower = all(not wide or (narrow and set(narrow) <= set(wide)) for wide, narrow in sets)
    return narrower and all(name in one.when and all(value in wide for value in one.when[name]) for name, wide in other.when.items())


def _same_names(rules: Sequence[Rule]) -> Iterator[str]:
    """What a limit has counted is kept under its rule's name."""
    named = sorted((rule for rule in rules if rule.limit), key=lambda rule: (rule.name, rule.line))
    for one, other in pairwise(named):
        if one.name == other.name:
            yield f"{other.place} limits under the same name as line {one.line}; give it another one"


def _nobodies(rule: Rule, file: PolicyFile) -> list[str]:
    if not file.people:
        return []
    members, unknown = _members(file), [name for name in rule.people if name not in file.actors and "scim" not in file.directories]
    return [f"{rule.place} names {name!r}, who is not listed under people" for name in unknown] + [
        f"{rule.place} names the group {name!r}, which nobody listed under people is in" for name in rule.groups if name not in members
    ]


def _empty_groups(file: PolicyFile, lines: Lines) -> list[str]:
    members = _members(file)
    return [
        f"{lines.place('groups', group)}groups: nobody listed under people is in {group!r}"
        for group in file.groups
        if file.people and group not in members
    ]


def _members(file: PolicyFile) -> set[str]:
    """Groups that somebody listed under people is in, directly or by department, or whose members come from elsewhere."""
    direct = {group for entry in file.actors.values() for group in entry.groups} | fed_groups(file.directories)
    return set(with_departments(frozenset(direct), file.departments))


def _unused_permissions(policy: Policy, commands: Mapping[str, Command], lines: Lines) -> list[str]:
    entries = [rule.approve for rule in (*policy.file.rules, *freeze_rules(policy.file))] + [
        entry.approve for entry in policy.file.access.values()
    ]
    approvals = [approval_of(entry) for entry in entries if entry] + [one.approval for one in commands.values()]
    known = {one.permission for one in commands.values()} | {ADMIN, APPROVE, USE, AUDIT}
    known |= {permission for approval in approvals if approval for permission in _asked_for(approval)}
    return [
        f"{lines.place('roles', role)}roles: no command uses the permission {one!r}"
        for one in sorted(policy.named - known)
        for role in sorted(name for name, patterns in policy.file.roles.items() if one in patterns)[:1]
    ]


def _asked_for(approval: Approval) -> set[str]:
    """The permissions that voters are known by."""
    selectors = (one for stage in approval.steps for voters in stage.sets for one in (*voters.of, *stage.escalate_to, *stage.fallback))
    return {one.removeprefix("permission:") for one in selectors if one.startswith("permission:")}


def _too_few(rule: Rule, policy: Policy) -> Iterator[str]:
    """For the short form, which asks for a permission; who is in other sets may depend on the request."""
    entry = rule.approve
    if entry is None or entry.stages or not policy.file.people or not policy.roles_with(entry.by):
        return
    carried = [policy.permissions_of(frozenset(), frozenset(one.groups)) for one in policy.file.people.values()]
    able = [patterns for patterns in carried if any(covers(one, entry.by) for one in patterns)]
    if len(able) < entry.count:
        yield f"{rule.place} asks for {entry.count} who hold {entry.by}; of the people listed, {len(able)} do"
