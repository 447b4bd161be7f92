"""Random policies and requests: as YAML for the program, as data and trees for the oracle."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from random import Random
from typing import Any

from countersign import Approval, Command, Context, Duration, Plan, command
from countersign import Person as PersonName
from countersign.approvals import Stage, Voters
from tests.commands.oracles import Asked, Kind, Tree, Who
from tests.commands.samples import nothing


class Env(StrEnum):
    staging = "staging"
    prod = "production"


@command("deploy", permission="deploy:run", risk="medium", approval=Approval(by="deploy:approve", count=2, when={"env": "prod"}))
async def deploy(
    ctx: Context,
    service: str,
    version: str = "latest",
    env: Env = Env.staging,
    force: bool = False,
    hosts: int = 1,
    tags: list[str] | None = None,
) -> Plan:
    """Deploy."""
    return Plan("deployed", nothing())


@command("scale", permission="deploy:run", risk="high", approval=Approval(by="deploy:approve"), may_loosen=True)
async def scale(ctx: Context, share: float = 1.0, pause: Duration | None = None, on_call: PersonName | None = None) -> Plan:
    """Scale."""
    return Plan("scaled", nothing())


@command("tell", permission="chat:tell", risk="low")
async def tell(ctx: Context, words: str) -> Plan:
    """Tell."""
    return Plan("told", nothing())


@command("erase", permission="data:erase", risk="critical")
async def erase(ctx: Context) -> Plan:
    """Erase."""
    return Plan("erased", nothing())


@command("inspect", permission="countersign:audit", risk="read")
async def inspect(ctx: Context, depth: int = 1) -> Plan:
    """Inspect."""
    return Plan("inspected", nothing())


@command("sign", permission="law:sign", risk="high", approval=Approval(stages=(Stage((Voters(("group:sre",), 2),)),), reason="L[0-9]"))
async def sign(ctx: Context, paper: str) -> Plan:
    """Sign."""
    return Plan("signed", nothing())


@command("policy apply", permission="countersign:admin", risk="high", approval=Approval(by="countersign:admin"))
async def policy_apply(ctx: Context, text: str) -> Plan:
    """Apply."""
    return Plan("applied", nothing())


COMMANDS: Mapping[str, Command] = {one.name: one for one in (deploy, scale, tell, erase, inspect, sign, policy_apply)}
_DEPLOY = {"service": "str", "version": "str", "env": "env", "force": "bool", "hosts": "int", "tags": "list str"}
_TWO_IN_PROD = {"by": "deploy:approve", "count": 2, "when": {"env": "prod"}}
_LAWYERS = {"stages": [{"of": "group:sre", "count": 2}], "reason": "L[0-9]"}
KINDS = (
    Kind("deploy", "deploy:run", "medium", _DEPLOY, _TWO_IN_PROD),
    Kind("scale", "deploy:run", "high", {"share": "float", "pause": "duration", "on_call": "person"}, {"by": "deploy:approve"}, True),
    Kind("tell", "chat:tell", "low", {"words": "str"}),
    Kind("erase", "data:erase", "critical", {}),
    Kind("inspect", "countersign:audit", "read", {"depth": "int"}),
    Kind("sign", "law:sign", "high", {"paper": "str"}, _LAWYERS),
    Kind("policy apply", "countersign:admin", "high", {"text": "str"}, {"by": "countersign:admin"}),
)
TYPED: Mapping[str, Sequence[Any]] = {
    "str": ("api", "7", "12", "v2", "latest"),
    "env": ("staging", "prod", "production"),
    "bool": (True, False, "yes", "off"),
    "int": (0, 1, 2, 3),
    "list str": ("api", "7", "web"),
    "float": (0.5, 1, 1.0, 2.5),
    "duration": ("60m", "1h", "90s", "2h30m"),
    "person": ("@Ada", "lin"),
}
STORED: Mapping[str, Sequence[Any]] = {
    "str": ("api", "7", "v2", "latest", "x" * 2_001),
    "env": ("staging", "prod"),
    "bool": (True, False),
    "int": (0, 1, 2, 3),
    "list str": (None, [], ["api"], ["7", "web"], ["api", "web", "7"], ["x"] * 101),
    "float": (0.5, 1, 1.0, 2.5),
    "duration": (None, "1h", "1m30s", "3h"),
    "person": (None, "ada", "lin"),
}
PEOPLE = ("ada", "lin", "eve")
GROUPS = ("dev", "sre", "sre-night")
DOORS = ("slack", "browser", "api", "terminal")
CHANNELS = ("ops", "dev", "")
REASONS = ("", "OPS-12", "L1 and OPS-7", "because")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo")


@dataclass(frozen=True)
class Wild:
    """A policy as its YAML, as data, and with the tree of each rule's expression."""

    body: str
    data: Mapping[str, Any]
    trees: Mapping[str, Tree]


def random_policy(random: Random) -> Wild:
    data: dict[str, Any] = {"profile": random.choice(("team", "strict"))}
    if random.random() < 0.5:
        data["timezone"] = random.choice(ZONES)
    permissions = ("deploy:run", "deploy:*", "*:run", "*:*", "chat:tell", "data:erase", "countersign:audit", "countersign:*", "law:sign")
    data["roles"] = {name: random.sample(permissions, random.randint(0, 3)) for name in ("one", "two", "three")[: random.randint(0, 3)]}
    data["groups"] = {group: random.sample(list(data["roles"]), random.randint(0, len(data["roles"]))) for group in GROUPS}
    trees: dict[str, Tree] = {}
    data["rules"] = [_rule(random, f"r{n}", trees) for n in range(random.randint(0, 7))]
    return written(data, trees)


def written(data: Mapping[str, Any], trees: Mapping[str, Tree]) -> Wild:
    """JSON is YAML; one rule stands on each line."""
    head = [f"{key}: {json.dumps(value)}" for key, value in data.items() if key != "rules"]
    rules = [f"- {json.dumps(rule)}" for rule in data["rules"]]
    return Wild("\n".join([*head, "rules:", *rules, ""]), data, trees)


def random_request(random: Random, data: Mapping[str, Any]) -> tuple[Who, Asked]:
    granted = random.sample(list(data["roles"]), random.randint(0, min(1, len(data["roles"]))))
    who = Who(
        random.choice(PEOPLE),
        frozenset(random.sample(GROUPS, random.randint(0, 2))),
        frozenset(granted),
        active=random.random() > 0.02,
        service=random.random() < 0.05,
    )
    kind = random.choice(KINDS[:1] * 3 + KINDS[1:2] * 2 + KINDS[2:])
    arguments = {name: random.choice(STORED[one]) for name, one in kind.arguments.items()}
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=random.randrange(525_600))
    return who, Asked(kind, arguments, random.choice(DOORS), random.choice(CHANNELS), random.choice(REASONS), now)


def _rule(random: Random, name: str, trees: dict[str, Tree]) -> dict[str, Any]:
    kind = random.choice(KINDS[:1] * 4 + KINDS[1:2] * 2 + KINDS[2:])
    rule: dict[str, Any] = {"name": name} | _targets(random, kind)
    if kind.arguments and random.random() < 0.4:
        for argument in random.sample(list(kind.arguments), random.randint(1, min(2, len(kind.arguments)))):
            values = random.sample(TYPED[kind.arguments[argument]], random.randint(1, 2))
            rule.setdefault("when", {})[argument] = values[0] if len(values) == 1 and random.random() < 0.5 else values
    for key, known, chance in (
        ("people", PEOPLE, 0.15),
        ("groups", GROUPS, 0.2),
        ("doors", DOORS, 0.15),
        ("channels", ("ops", "#dev"), 0.1),
    ):
        if random.random() < chance:
            rule[key] = random.sample(known, random.randint(1, 2))
    if random.random() < 0.6:
        trees[name] = _condition(random, kind, depth=random.randint(0, 3))
        rule["if"] = text_of(trees[name])
    if random.random() < 0.2:
        rule["timezone"] = random.choice(ZONES)
    return rule | _outcome(random, allowing="command" in rule)


def _targets(random: Random, kind: Kind) -> dict[str, Any]:
    chance = random.random()
    if chance < 0.55:
        return {"command": kind.name}
    if chance < 0.65:
        return {"command": list(dict.fromkeys((kind.name, random.choice(KINDS).name)))}
    if chance < 0.75:
        return {"command": [kind.name], "risk": list(dict.fromkeys((kind.risk, "high")))}
    return {"risk": random.choice((kind.risk, [kind.risk, "low"]))}


def _outcome(random: Random, *, allowing: bool) -> dict[str, Any]:
    chance = random.random()
    if chance < 0.2:
        return {"deny": "No."}
    if chance < 0.3 and allowing:
        return {"allow": True}
    parts: dict[str, Any] = {}
    if random.random() < 0.6:
        parts["approve"] = _approve(random)
    if random.random() < 0.2:
        parts["require_reason"] = random.choice(("OPS-[0-9]+", "^L", "."))
    if random.random() < 0.2:
        parts["step_up"] = random.choice(("login", "passkey"))
    if random.random() < 0.2:
        parts["limit"] = {"count": random.randint(1, 3), "per": random.choice(("1h", "1d")), "by": random.choice(("person", "command"))}
    if random.random() < 0.15 or not parts:
        parts["only"] = random.choice(
            ({"doors": ["slack", "browser"]}, {"channels": ["#ops", "dev"]}, {"doors": ["api"], "channels": ["ops"]})
        )
    return parts


def _approve(random: Random) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    if random.random() < 0.3:
        stages = [_stage(random) for _ in range(random.randint(1, 2))]
        entry["stages"] = [*stages, {"of": "group:sre"}] if all("skip_after" in one for one in stages) else stages
    else:
        if random.random() < 0.7:
            entry["by"] = random.choice(("deploy:approve", "ops:sign", "countersign:approve"))
        if random.random() < 0.7:
            entry["count"] = random.randint(0, 3)
    more: dict[str, Sequence[Any]] = {
        "expires": ("30m", "2h", "36h"),
        "valid": ("1h", "3d"),
        "deny": (1, 2),
        "asker_may": (True, False),
        "editor_may": (True,),
        "reason": ("OPS", ["L[0-9]", "OPS"]),
        "voter_reason": (True,),
        "step_up": ("login", "passkey"),
        "remind": ("10m", "1h"),
    }
    return entry | {key: random.choice(values) for key, values in more.items() if random.random() < 0.15}


def _stage(random: Random) -> dict[str, Any]:
    sets = [
        {"of": random.choice(("group:sre", "person:lin", ["group:dev", "person:ada"])), "count": random.randint(1, 2)} for _ in range(2)
    ]
    stage = random.choice((sets[0], {"all": sets}, {"any": sets}))
    return dict(stage) | ({"skip_after": "1h"} if random.random() < 0.2 else {})


def _condition(random: Random, kind: Kind, *, depth: int) -> Tree:
    if depth:
        one = random.choice(("and", "and", "or", "or", "not", "choose"))
        count = {"not": 1, "choose": 3}.get(one, 2)
        return (one, *(_condition(random, kind, depth=depth - 1) for _ in range(count)))
    about = random.choice([*kind.arguments, None, None])
    return _about_argument(random, about, kind.arguments[about]) if about else _about_the_rest(random)


def _about_argument(random: Random, name: str, kind: str) -> Tree:
    arg: Tree = ("arg", name)
    if random.random() < 0.15:
        return ("given", name)
    sign = random.choice(("==", "!="))
    order = random.choice(("==", "!=", "<", "<=", ">", ">="))
    match kind:
        case "bool":
            return arg
        case "env":
            return random.choice((("compare", sign, arg, ("text", "prod")), ("in", arg, ("text", ["staging", "prod"]))))
        case "int":
            ten = ("divide", ("number", 10), arg)
            return ("compare", order, random.choice((arg, ten)), ("number", random.randint(0, 3)))
        case "float":
            return ("compare", order, arg, ("number", random.choice((0.5, 1.0, 2.0))))
        case "duration":
            return ("compare", order, arg, ("duration", random.choice(("1h", "90s", "2h30m"))))
        case "list str":
            return random.choice(
                (
                    ("in", ("text", "api"), arg),
                    ("exists", arg, sign, "web"),
                    ("all", arg, sign, "7"),
                    ("compare", order, ("size", arg), ("number", 1)),
                    ("compare", sign, ("item", arg, 1), ("text", "web")),
                )
            )
    number = ("compare", order, ("int", arg), ("number", 7))
    return random.choice(
        (("compare", sign, arg, ("text", "api")), ("starts", arg, ("text", "v")), ("contains", arg, ("text", "2")), number)
    )


def _about_the_rest(random: Random) -> Tree:
    sign = random.choice(("==", "!="))
    order = random.choice(("<", ">="))
    return random.choice(
        (
            ("compare", sign, ("name", "person.name"), ("text", "ada")),
            ("in", ("text", random.choice(GROUPS)), ("name", "person.groups")),
            ("in", ("text", "one"), ("name", "person.roles")),
            ("exists", ("name", "person.groups"), sign, "sre"),
            ("name", "person.service"),
            ("compare", sign, ("name", "door"), ("text", "slack")),
            ("compare", sign, ("name", "channel"), ("text", "ops")),
            ("compare", sign, ("name", "command"), ("text", "deploy")),
            ("compare", sign, ("name", "risk"), ("text", "high")),
            ("starts", ("name", "reason"), ("text", "OPS")),
            ("compare", order, ("name", "time.hour"), ("number", random.randint(1, 22))),
            ("compare", order, ("name", "time.minute"), ("number", 30)),
            ("in", ("name", "time.weekday"), ("text", ["saturday", "sunday"])),
            ("compare", order, ("name", "time.date"), ("text", "2026-07-01")),
        )
    )


def text_of(tree: Tree) -> str:
    """The tree as an expression is written."""
    kind, *parts = tree
    inner = [text_of(one) for one in parts if isinstance(one, tuple)]
    match kind:
        case "text" | "number":
            return json.dumps(parts[0])
        case "duration":
            return f'duration("{parts[0]}")'
        case "arg" | "given":
            return f"{'args' if kind == 'arg' else 'given'}.{parts[0]}"
        case "name":
            return str(parts[0])
        case "not":
            return f"!({inner[0]})"
        case "choose":
            return f"(({inner[0]}) ? ({inner[1]}) : ({inner[2]}))"
        case "compare":
            return f"{inner[0]} {parts[0]} {inner[1]}"
        case "size" | "int":
            return f"{kind}({inner[0]})"
        case "item":
            return f"{inner[0]}[{parts[1]}]"
        case "exists" | "all":
            return f"{inner[0]}.{kind}(one, one {parts[1]} {json.dumps(parts[2])})"
        case "starts" | "contains":
            return f"{inner[0]}.{'startsWith' if kind == 'starts' else kind}({inner[1]})"
    signs = {"and": "&&", "or": "||", "in": "in", "divide": "/"}
    return f"({inner[0]} {signs[kind]} {inner[1]})"
