"""What a policy means, written again from docs/operators/policy.md alone: no line of the program is used here.

Policies are plain data, as YAML gives them; commands and arguments are described in the oracle's own words. Expressions are trees.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

Tree = tuple[Any, ...]
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class NoAnswer(Exception):
    """An expression has none."""


@dataclass(frozen=True)
class Kind:
    """A command: `arguments` maps each to its type, `enums` each enum to its names by value. `approval` is its author's."""

    name: str
    permission: str
    risk: str
    arguments: Mapping[str, str]
    approval: Mapping[str, Any] | None = None
    may_loosen: bool = False


@dataclass(frozen=True)
class Who:
    """Somebody: `granted` are roles given to them, besides those of their groups."""

    name: str
    groups: frozenset[str]
    granted: frozenset[str] = frozenset()
    active: bool = True
    service: bool = False


@dataclass(frozen=True)
class Asked:
    """A request, its arguments after defaults as they are stored."""

    kind: Kind
    arguments: Mapping[str, Any]
    door: str
    channel: str
    reason: str
    now: datetime


@dataclass
class Verdict:
    """`why`: inactive, closed, denied, elsewhere, permission, reason or nothing; `rule` is the one that said so, by its name."""

    allowed: bool
    why: str = ""
    rule: str = ""
    approval: dict[str, Any] | None = None
    limits: list[tuple[str, str, int]] = field(default_factory=list)


def judge(policy: Mapping[str, Any], trees: Mapping[str, Tree], who: Who, asked: Asked) -> Verdict:
    """The steps of "How a request is decided"; `trees` has the expression of each rule that has one, by the rule's name."""
    if not who.active:
        return Verdict(False, "inactive")
    rules = [rule for rule in policy.get("rules", ()) if names(rule, asked.kind)]
    closing = [rule for rule in rules if fits(rule, trees, asked.kind) is False and not rule.get("allow")]
    if closing and asked.kind.name != "policy apply":
        return Verdict(False, "closed", closing[0]["name"])
    return decided(policy, rules, trees, who, asked)


def decided(policy: Mapping[str, Any], rules: Sequence[Any], trees: Mapping[str, Tree], who: Who, asked: Asked) -> Verdict:
    matching = [(rule, known) for rule in rules if (known := matches(policy, rule, trees, who, asked)) is not None]
    for rule, _ in matching:
        if "deny" in rule:
            return Verdict(False, "denied", rule["name"])
        if "only" in rule and not is_there(rule["only"], asked):
            return Verdict(False, "elsewhere", rule["name"])
    if not holds(policy, who, asked.kind) and not any(rule.get("allow") for rule, _ in matching):
        return Verdict(False, "permission")
    for rule, _ in matching:
        if "require_reason" in rule and not re.search(rule["require_reason"], asked.reason):
            return Verdict(False, "reason", rule["name"])
    approval = what_is_asked(matching, asked)
    if approval and any(not re.search(one, asked.reason) for one in approval["reason"]):
        return Verdict(False, "reason")
    limits = [
        (rule["name"], asked.kind.name if rule["limit"].get("by") == "command" else f"{asked.kind.name} {who.name}", rule["limit"]["count"])
        for rule, _ in matching
        if "limit" in rule
    ]
    return Verdict(True, approval=approval, limits=limits)


# Permissions


def covered(pattern: str, permission: str) -> bool:
    return all(one in ("*", other) for one, other in zip(pattern.split(":"), permission.split(":"), strict=True))


def roles_of(policy: Mapping[str, Any], who: Who) -> set[str]:
    return set(who.granted) | {role for group in who.groups for role in policy.get("groups", {}).get(group, ())}


def holds(policy: Mapping[str, Any], who: Who, kind: Kind) -> bool:
    roles = policy.get("roles", {})
    if any(covered(pattern, kind.permission) for role in roles_of(policy, who) for pattern in roles.get(role, ())):
        return True
    if kind.permission == "countersign:use":
        return True
    if policy.get("profile", "team") == "strict" or who.service:
        return False
    every = [pattern for patterns in roles.values() for pattern in patterns]
    if kind.permission in ("countersign:admin", "countersign:audit") and any(covered(one, kind.permission) for one in every):
        return False
    return kind.permission not in every and kind.risk != "critical"


# Rules


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def names(rule: Mapping[str, Any], kind: Kind) -> bool:
    return ("command" not in rule or kind.name in listed(rule["command"])) and ("risk" not in rule or kind.risk in listed(rule["risk"]))


def fits(rule: Mapping[str, Any], trees: Mapping[str, Tree], kind: Kind) -> bool | None:
    """None: it does not concern this command, which it only names by its risk. False: it cannot be read for it."""
    looked_at = set(rule.get("when", {})) | arguments_in(trees.get(rule["name"], ()))
    if looked_at <= set(kind.arguments):
        return True
    return False if "command" in rule else None


def arguments_in(tree: Any) -> set[str]:
    if not isinstance(tree, tuple):
        return set()
    if tree[:1] in (("arg",), ("given",)):
        return {tree[1]}
    return {name for one in tree for name in arguments_in(one)}


def matches(policy: Mapping[str, Any], rule: Mapping[str, Any], trees: Mapping[str, Tree], who: Who, asked: Asked) -> bool | None:
    """True: it matches; False: it matches because it has no answer; None: it does not match."""
    if not fits(rule, trees, asked.kind):
        return None
    conditions = (
        all(has(asked.kind.arguments[name], asked.arguments.get(name), wanted) for name, wanted in rule.get("when", {}).items()),
        "people" not in rule or who.name in rule["people"],
        "groups" not in rule or bool(who.groups & set(rule["groups"])),
        "doors" not in rule or asked.door in rule["doors"],
        "channels" not in rule or asked.channel in [one.removeprefix("#") for one in rule["channels"]],
    )
    if not all(conditions):
        return None
    if rule["name"] not in trees:
        return True
    try:
        zone = ZoneInfo(rule.get("timezone", policy.get("timezone", "UTC")))
        return True if answer(trees[rule["name"]], policy, who, asked, zone) else None
    except NoAnswer:
        gives = rule.get("allow") or rule.get("approve", {}).get("count") == 0
        mends = asked.kind.name == "policy apply" and "policy apply" not in listed(rule.get("command", []))
        return None if gives or mends else False


def has(kind: str, value: Any, wanted: Any) -> bool:
    """Compared the way people type them."""
    values = value if isinstance(value, list) else [value]
    return any(as_typed(kind, one) == as_typed(kind, other) for one in values for other in listed(wanted))


def as_typed(kind: str, value: Any) -> Any:
    if value is None:
        return None
    kind = kind.removeprefix("list ")
    if kind == "env":
        return {"staging": "staging", "prod": "prod", "production": "prod"}[value]
    if kind == "duration":
        return seconds(value)
    if kind == "bool":
        return value if isinstance(value, bool) else value in ("yes", "true", "on")
    if kind in ("int", "float"):
        return float(value)
    return str(value).lower().removeprefix("@") if kind == "person" else str(value)


def seconds(text: str) -> float:
    return sum(float(number) * {"d": 86_400, "h": 3_600, "m": 60, "s": 1}[unit] for number, unit in re.findall(r"([0-9.]+)([dhms])", text))


def is_there(only: Mapping[str, Any], asked: Asked) -> bool:
    if "doors" in only and asked.door not in only["doors"]:
        return False
    return "channels" not in only or asked.channel in [one.removeprefix("#") for one in only["channels"]]


# Expressions


def answer(tree: Tree, policy: Mapping[str, Any], who: Who, asked: Asked, zone: ZoneInfo) -> Any:
    """Raises NoAnswer."""

    def of(one: Tree) -> Any:
        return answer(one, policy, who, asked, zone)

    match tree:
        case ("text" | "number", value):
            return value
        case ("duration", text):
            return seconds(text)
        case ("arg", name):
            return argument(asked, name)
        case ("given", name):
            return asked.arguments.get(name) is not None
        case ("name", name):
            return fact(name, policy, who, asked, zone)
        case ("and" | "or", left, right):
            return either(tree[0] == "and", lambda: of(left), lambda: of(right))
        case ("not", one):
            return not of(one)
        case ("choose", test, yes, no):
            return of(yes) if of(test) else of(no)
        case ("in", one, several):
            return of(one) in of(several)
        case ("compare", sign, left, right):
            return compared(sign, of(left), of(right))
        case ("starts", text, start):
            return of(text).startswith(of(start))
        case ("contains", text, part):
            return of(part) in of(text)
        case ("size", one):
            return len(of(one))
        case ("item", several, n):
            items = of(several)
            return items[n] if n < len(items) else none()
        case ("int", text):
            return int(of(text)) if re.fullmatch(r"-?[0-9]+", of(text)) else none()
        case ("divide", left, right):
            return quotient(of(left), of(right))
        case ("exists" | "all", several, sign, literal):
            results = [compared(sign, one, literal) for one in of(several)]
            return any(results) if tree[0] == "exists" else all(results)
    raise AssertionError(tree)


def none() -> Any:
    raise NoAnswer


def argument(asked: Asked, name: str) -> Any:
    value, kind = asked.arguments.get(name), asked.kind.arguments[name]
    if value is None or (isinstance(value, str) and len(value) > 2_000) or (isinstance(value, list) and len(value) > 100):
        raise NoAnswer
    return seconds(value) if kind == "duration" else float(value) if kind == "float" else value


def fact(name: str, policy: Mapping[str, Any], who: Who, asked: Asked, zone: ZoneInfo) -> Any:
    local = asked.now.astimezone(zone)
    facts = {
        "person.name": who.name,
        "person.groups": list(who.groups),
        "person.roles": list(roles_of(policy, who)),
        "person.service": who.service,
        "command": asked.kind.name,
        "risk": asked.kind.risk,
        "door": asked.door,
        "channel": asked.channel,
        "reason": asked.reason,
        "time.hour": local.hour,
        "time.minute": local.minute,
        "time.weekday": DAYS[local.weekday()],
        "time.date": f"{local:%Y-%m-%d}",
    }
    return facts[name]


def either(both: bool, left: Any, right: Any) -> bool:
    """`false && …` is false and `true || …` is true on either side, whatever the other side is."""
    answers = []
    for one in (left, right):
        try:
            answers.append(one())
        except NoAnswer:
            answers.append(None)
    if any(one is (not both) for one in answers):
        return not both
    return none() if None in answers else both


def compared(sign: str, left: Any, right: Any) -> bool:
    answers = {"==": left == right, "!=": left != right, "<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}
    return bool(answers[sign])


def quotient(left: int, right: int) -> int:
    return abs(left) // abs(right) * (1 if left * right >= 0 else -1) if right else none()


# Approvals


DEFAULTS: dict[str, Any] = {
    "by": "countersign:approve",
    "count": 1,
    "stages": [],
    "expires": "24h",
    "valid": "24h",
    "deny": 1,
    "asker_may": False,
    "editor_may": False,
    "reason": [],
    "voter_reason": False,
    "step_up": "",
    "remind": "",
}


def what_is_asked(matching: Sequence[tuple[Mapping[str, Any], bool]], asked: Asked) -> dict[str, Any] | None:
    kind = asked.kind
    found = [DEFAULTS | rule["approve"] for rule, _ in matching if "approve" in rule and rule["approve"].get("count") != 0]
    read = [rule for rule, known in matching if known and "approve" in rule]
    author = kind.approval
    wanted = author.get("when", {}) if author else {}
    concerned = all(has(kind.arguments[name], asked.arguments.get(name), value) for name, value in wanted.items())
    if author and concerned and not (kind.may_loosen and read):
        found.append(DEFAULTS | {name: value for name, value in author.items() if name != "when"})
    if not read and kind.risk in ("high", "critical"):
        found.append(DEFAULTS | {"count": 1 if kind.risk == "high" else 2})
    steps = [rule["step_up"] for rule, _ in matching if rule.get("step_up")]
    if not found and (steps or kind.risk == "critical"):
        found.append(dict(DEFAULTS))
    return together(found, ["passkey"] if kind.risk == "critical" else steps) if found else None


def together(found: Sequence[Mapping[str, Any]], steps: Sequence[str]) -> dict[str, Any]:
    """All of them at once."""
    short = [one for one in found if not one["stages"]]
    stages: list[Any] = []
    for stage in (stage for one in found for stage in one["stages"]):
        if whole(stage) not in stages:
            stages.append(whole(stage))
    largest = max((one["count"] for one in short), default=0)
    by = next((one["by"] for one in short if one["count"] == largest), "")
    also = sorted({one["by"] for one in short} - {by, "countersign:approve"})
    if short and stages:
        enough = sum(least(stage) for stage in stages if not stage["skip_after"]) >= largest
        if not (by == "countersign:approve" and not also and enough):
            stages.insert(0, whole({"of": f"permission:{by}", "count": largest}, also=also))
    strengths = ["", "login", "passkey"]
    reminders = [one["remind"] for one in found if one["remind"]]
    return {
        "short": None if stages else (by, largest, also),
        "stages": stages,
        "expires": min(seconds(one["expires"]) for one in found),
        "valid": min(seconds(one["valid"]) for one in found),
        "remind": min(map(seconds, reminders)) if reminders else None,
        "deny": min(one["deny"] for one in found),
        "asker_may": all(one["asker_may"] for one in found),
        "editor_may": all(one["editor_may"] for one in found),
        "reason": list(dict.fromkeys(pattern for one in found for pattern in (listed(one["reason"]) if one["reason"] else []))),
        "voter_reason": any(one["voter_reason"] for one in found),
        "step_up": max([*(one["step_up"] for one in found), *steps], key=strengths.index),
    }


def whole(stage: Mapping[str, Any], *, also: Sequence[str] = ()) -> dict[str, Any]:
    """A stage as it is meant: its sets, each as (selectors, count, further permissions)."""
    entries = stage.get("all") or stage.get("any") or [stage]
    return {
        "sets": [(tuple(listed(one["of"])), one.get("count", 1), tuple(also)) for one in entries],
        "need": "any" if "any" in stage else "all",
        "skip_after": stage.get("skip_after", ""),
    }


def least(stage: Mapping[str, Any]) -> int:
    counts = [count for _, count, _ in stage["sets"]]
    return sum(counts) if stage["need"] == "all" else min(counts)
