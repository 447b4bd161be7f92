"""Expressions: what they may look at and call, what is refused with the fix, and what happens when one cannot be evaluated."""

from datetime import UTC, datetime
from enum import StrEnum
from time import perf_counter
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commands.expressions import Expression, ExpressionError, MissingName, Unreadable, compile_expression
from commands.lexing import LONGEST, read
from commands.requests import Request
from commands.vocabularies import LONGEST_TEXT, MOST_ITEMS, Scene
from countersign import Command, Context, Duration, Percent, Plan, Secret, ZonedTime, command
from countersign.invocations import Door, Place
from tests.commands.samples import asking, deploy, nothing, rotate, scale, somebody

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = datetime(2026, 11, 23, 21, 30, tzinfo=UTC)


class Size(StrEnum):
    small = "S"
    large = "L"


@command("order", permission="shop:order", risk="low")
async def order(
    ctx: Context,
    size: Size,
    kind: Literal["tea", "coffee"] = "tea",
    count: int = 1,
    share: Percent | None = None,
    pause: Duration | None = None,
    at: ZonedTime | None = None,
    sizes: list[Size] | None = None,
    notes: list[str] | None = None,
    limits: dict[str, int] | None = None,
    pin: Secret | None = None,
) -> Plan:
    """Order something."""
    return Plan("ordered", nothing())


def compiled(source: str, one: Command = deploy) -> Expression:
    return compile_expression(source, one, zone=BERLIN)


def scene(request: Request, *, groups: tuple[str, ...] = ("developers",), roles: tuple[str, ...] = ()) -> Scene:
    return Scene(somebody("ada", *groups), request, frozenset(groups), frozenset(roles))


def holds(source: str, *, one: Command = deploy, door: Door = Door.slack, channel: str = "#ops", **arguments: Any) -> bool:
    request = asking(one, door=door, channel=channel, **arguments)
    now = Request(request.permission, door, request.place, one, request.arguments, "OPS-12 is down", NIGHT)
    return compiled(source, one).holds(scene(now, roles=("deployer",)))


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ('args.env == "prod"', True),
        ('args.env != "prod" || args.force', False),
        ('args.env in ["staging", "prod"] && !args.force', True),
        ('"developers" in person.groups && "deployer" in person.roles', True),
        ('person.name == "ada" && !person.service', True),
        ('person.groups.exists(one, one.startsWith("sre-"))', False),
        ('person.groups.all(one, one.endsWith("s"))', True),
        ('person.groups.exists_one(one, one.contains("dev"))', True),
        ('door == "slack" && channel == "ops" && command == "deploy" && risk == "medium"', True),
        (r'reason.matches(r"^OPS-\d+")', True),
        (r'reason.matches("^OPS-\\d+$")', False),
        ("size(args.version) > 3 && args.version.size() < 10", True),
        ('time.hour == 22 && time.minute == 30 && time.weekday == "monday" && time.date == "2026-11-23"', True),
        ('time.now > timestamp("2026-11-23T21:29:59Z")', True),
        ("given.version && given.force", True),
        ('args.force ? args.env == "staging" : args.env == "prod"', True),
        ('!(args.env\n   == "prod")', False),
    ],
)
def test_what_an_expression_can_say(source: str, answer: bool) -> None:
    assert holds(source, env="prod") is answer


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ('args.size == "small" && args.kind != "coffee" && args.count == 3', True),
        ('args.share > 12.5 && args.pause >= duration("90m")', True),
        ('args.at < timestamp("2026-12-24T00:00:00Z")', True),
        ('"large" in args.sizes && args.sizes.size() == 1', True),
        ('args.notes.exists(one, one == "hot")', True),
        ("given.limits || given.pin", False),
    ],
)
def test_arguments_are_typed(source: str, answer: bool) -> None:
    values: dict[str, Any] = {"size": "S", "count": 3, "share": "25%", "pause": "1h30m", "at": "2026-12-23 22:00 Europe/Berlin"}
    assert holds(source, one=order, sizes=["L"], notes=["hot", "sweet"], **values) is answer


def test_a_number_that_storage_wrote_without_its_fraction_is_still_a_number() -> None:
    request = Request("deploy:run", Door.api, Place("api"), scale, {"share": 2, "pause": None, "on_call": None})
    assert compiled("args.share > 1.5", scale).holds(scene(request))


REFUSED = {
    "": "is empty; write a condition such as",
    "true &&": "at character 8: mismatched input",
    "args.env": "is a text, not a condition; compare it with something",
    "[true, 1][0]": "is a value of any type, not a condition",
    'args.env == "production"': "args.env is never 'production'; it is 'staging' or 'prod'",
    '"live" == args.env': "args.env is never 'live'",
    'args.env in ["prod", "live"]': "args.env is never 'live'",
    'door == "slakc"': "door is never 'slakc'; it is 'slack', 'discord'",
    'time.weekday == "mon"': "time.weekday is never 'mon'; it is 'monday'",
    "args.env == 1": "at character 10: == does not go with a text and a whole number",
    "args.environment == 1": "looks at the argument 'environment', which deploy does not have",
    "given.environment": "looks at the argument 'environment', which deploy does not have",
    "person.email == ''": "knows no person.email; there is person.groups, person.name",
    "who == 'ada'": "knows no who; there is args, channel, command, door, given, person, reason, risk, time",
    "args['env'] == 'prod'": "knows no args; there is args.env, args.force",
    "has(args.env)": "has(…) cannot be used here; given.NAME says whether",
    "dyn(args.env) == 1": "dyn(…) cannot be used here; there are all, contains",
    "person.groups.map(one, one + one) == []": "map(…) cannot be used here",
    "person.groups.exists(one, person.groups.all(two, one == two))": "all stands inside another all or exists or exists_one",
    "person.groups.exists(one, one + one == 'x')": "+ stands inside all or exists or exists_one",
    "person.groups.exists(door, door == 'x')": "door is what rules look at; name the items of the list otherwise",
    "person.groups.exists(1, true)": "exists reads exists(one, CONDITION)",
    "reason.matches(args.version)": "matches takes a text that is written out, for instance reason.matches(",
    "reason.matches('a' + 'b')": "matches takes a text that is written out",
    "reason.matches('(a+')": "matches('(a+') cannot be read: invalid regular expression: missing )",
    "duration('2d') == duration('2d')": "duration('2d') cannot be read: String to Duration conversion failed (hours, minutes and seconds",
    "time.now < timestamp('tomorrow')": "timestamp('tomorrow') cannot be read",
    "b'x' == b'x'": "b stands before a text",
    "'''x''' == 'x'": "text stands in single or double quotes, not in three",
    "true // always": "cannot be read from character 6 on: '// always'",
    "{'a': true}.a": "cannot be read from character 1 on",
    "`args` == 1": "cannot be read from character 1 on",
    "(" * 40 + "true" + ")" * 40: "nests too deeply; make two rules of it",
    "true || " * 100 + "true": f"has 804 characters; {LONGEST} are allowed",
}


@pytest.mark.parametrize("source", REFUSED)
def test_what_is_wrong_is_said_with_the_fix(source: str) -> None:
    with pytest.raises(ExpressionError) as found:
        compiled(source)
    assert REFUSED[source] in str(found.value)


def test_secrets_and_shapeless_arguments_are_out_of_sight() -> None:
    with pytest.raises(ExpressionError, match=r"args.value: a rule cannot look at a secret; given.value is known"):
        compiled("args.value == 'x'", rotate)
    with pytest.raises(ExpressionError, match=r"args.limits: a rule cannot look at this argument"):
        compiled("args.limits == 1", order)
    with pytest.raises(ExpressionError, match=r"a number and a whole number; write a number with a fraction as 1.0"):
        compiled("args.share > 1", scale)
    with pytest.raises(MissingName):
        compiled("args.env == 'prod'", scale)


@pytest.mark.parametrize(
    ("source", "one", "why"),
    [
        ('args.pause > duration("2h")', scale, "args.pause was not given"),
        ("int(args.version) > 1", deploy, "cannot convert string to int"),
        ("1 / (size(args.version) - 6) == 1", deploy, "divide by zero"),
        ("args.services[3] == 'x'", rotate, "index"),
        ("time.hour == 3", deploy, "time.hour is not known here"),
    ],
)
def test_what_cannot_be_evaluated_is_neither_true_nor_false(source: str, one: Command, why: str) -> None:
    asked = asking(one)
    with pytest.raises(Unreadable) as found:
        compiled(source, one).holds(scene(Request(asked.permission, asked.door, asked.place, one, asked.arguments)))
    assert why in str(found.value).lower()


def test_what_decides_alone_needs_nothing_else() -> None:
    request = asking(scale)
    assert not compiled("given.pause && args.pause > duration('2h')", scale).holds(scene(request))
    assert compiled("args.pause > duration('2h') || args.share == 1.0", scale).holds(scene(request))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"version": "v" * (LONGEST_TEXT + 1)}, "args.version has more than 2,000 characters"),
        ({"version": 3}, "args.version is not a text"),
        ({"force": "yes"}, "args.force is neither true nor false"),
        ({"version": {"$secret": "x"}}, "args.version is not a text"),
    ],
)
def test_arguments_that_are_too_long_or_of_another_type_are_not_read(arguments: dict[str, Any], why: str) -> None:
    request = Request("deploy:run", Door.api, Place("api"), deploy, {"version": "v", "force": False, **arguments})
    with pytest.raises(Unreadable, match=why):
        compiled("args.version == 'x' || args.force").holds(scene(request))


def test_long_lists_are_not_read() -> None:
    request = Request("k:r", Door.api, Place("api"), rotate, {"services": ["x"] * (MOST_ITEMS + 1)})
    with pytest.raises(Unreadable, match="more than 100 values"):
        compiled("'x' in args.services", rotate).holds(scene(request))


@pytest.mark.parametrize(
    ("source", "allowed", "possible"),
    [
        ("time.hour >= 22 && time.hour < 6", {}, False),
        ("time.hour >= 22 || time.hour < 6", {}, True),
        ('args.env == "prod" && args.env == "staging"', {}, False),
        ('args.env == "staging" && reason == "x"', {"args.env": ("prod",)}, False),
        ('door == "api" || channel == "ops"', {"door": ("slack",)}, True),
        ('door == "api" && channel == "ops"', {"door": ("slack",)}, False),
        ('args.version == "a" && args.version == "b"', {}, True),  # too many texts to try: nothing is claimed
        ('risk == "low"', {"risk": ("medium",)}, False),
        ("time.hour > time.minute && time.minute > 22", {}, False),
    ],
)
def test_contradictions_are_found_where_there_are_few_values(source: str, allowed: dict[str, tuple[str, ...]], possible: bool) -> None:
    assert compiled(source).can_hold(allowed) is possible


def test_the_slowest_expressions_that_are_allowed_stay_bounded() -> None:
    patterns = " || ".join(['reason.matches("(a?){50}b$")'] * 18)
    slow = compiled(f"args.services.exists(one, {patterns})", rotate)
    arguments = {"services": ["x"] * MOST_ITEMS}
    request = Request("k:r", Door.api, Place("api"), rotate, arguments, "a" * LONGEST_TEXT)
    began = perf_counter()
    assert not slow.holds(scene(request))
    assert perf_counter() - began < 5


@given(st.text(alphabet="abdegrsv.()[]&|!=<>+-*/%?:,'\"\\` {}\n0123", max_size=60))
@settings(max_examples=2_000, deadline=None)
def test_whatever_is_written_is_read_or_refused(source: str) -> None:
    said = ""
    try:
        compiled(source).holds(scene(asking(deploy)))
    except (ExpressionError, Unreadable) as error:
        said = str(error)
    assert "\n" not in said


def test_names_are_found_behind_calls_and_in_texts_they_are_not() -> None:
    found = read('args.a.exists(one, one.size() > 1 && person.name == \'args.b\') || door == "x\\"y" && f.g.startsWith(h)')
    assert found.names == {"args.a", "person.name", "door", "f.g", "h"}
    assert found.made == {"one"}
    assert set(found.compared()) == {("person.name", "args.b"), ("door", 'x"y')}
