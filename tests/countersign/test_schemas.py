from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign import Channel, Choices, Command, CountersignError, Duration, Percent, Person, Secret, ZonedTime, command
from countersign.arguments import Parsed
from countersign.canonical import canonical
from countersign.errors import BadArgument, MissingArguments
from countersign.schemas import Schema, written, written_json


class Env(Enum):
    staging = "st"
    prod = "production"


class Tier(StrEnum):
    """Each name is the other's value, the worst case for text that may be either."""

    gold = "silver"
    silver = "gold"


class Size(IntEnum):
    small = 1
    big = 2


def hosts() -> list[str]:
    return ["a1", "a2"]


async def everything(
    ctx: Any,
    text: str,
    number: int = 3,
    ratio: float = 0.5,
    sure: bool = False,
    day: date = date(2026, 11, 23),
    moment: datetime = datetime(2026, 11, 23, 9, tzinfo=UTC),
    span: timedelta = timedelta(minutes=5),
    length: Duration = Duration.parse("5m"),
    share: Percent = Percent.parse("25%"),
    when: ZonedTime = ZonedTime.parse("2026-11-24 22:00 Europe/Berlin"),
    who: Person = Person("ada"),
    where: Channel = Channel("ops"),
    env: Env = Env.staging,
    tier: Tier = Tier.gold,
    size: Size = Size.small,
    colour: Annotated[str, Choices("red", "blue")] = "red",
    shade: Annotated[str, Choices("dark", "light")] | None = None,
    host: Annotated[str, Choices(source=hosts)] = "a1",
    mode: Literal["fast", "safe"] = "safe",
    price: Decimal = Decimal("1.10"),
    ticket: UUID = UUID(int=7),
    tags: list[str] = [],  # noqa: B006  pydantic copies defaults
    envs: list[Env] = [],  # noqa: B006
    groups: frozenset[str] = frozenset(),
    weights: dict[Env, float] = {},  # noqa: B006
    note: str | None = None,
    limit: int | None = None,
    copy: str = "",
    schema: str = "",
    model_config: str = "",
    self: str = "",
    token: Secret | None = None,
) -> None: ...


SCHEMA = Schema.of(everything, name="everything")
UNICODE = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXT = st.text(UNICODE)
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(timezones=OFFSETS, min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1))  # noqa: DTZ001
TYPED: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(UNICODE, min_size=1),
    "number": st.integers(-(2**63), 2**63),
    "ratio": st.floats(allow_nan=False, allow_infinity=False),
    "sure": st.booleans(),
    "day": st.dates(),
    "moment": MOMENTS,
    "span": st.timedeltas(timedelta(0), timedelta(days=100)),
    "length": st.timedeltas(timedelta(0), timedelta(days=100)).map(Duration.parse),
    "share": st.floats(0, 100).map(Percent.parse),
    "when": MOMENTS.map(ZonedTime.parse),
    "who": st.sampled_from(["ada", "lin"]).map(Person),
    "where": st.just(Channel("ops")),
    "env": st.sampled_from(Env),
    "tier": st.sampled_from(Tier),
    "size": st.sampled_from(Size),
    "colour": st.sampled_from(["red", "blue"]),
    "shade": st.sampled_from(["dark", "light", None]),
    "host": TEXT,
    "mode": st.sampled_from(["fast", "safe"]),
    "price": st.decimals(allow_nan=False, allow_infinity=False, places=2),
    "ticket": st.uuids(),
    "tags": st.lists(TEXT, max_size=4),
    "envs": st.lists(st.sampled_from(Env), max_size=4),
    "groups": st.frozensets(TEXT, max_size=4),
    "weights": st.dictionaries(st.sampled_from(Env), st.floats(0, 1)),
    "note": st.none() | TEXT,
    "limit": st.none() | st.integers(0, 9),
    "copy": TEXT,
    "schema": TEXT,
    "model_config": TEXT,
    "self": TEXT,
    "token": st.none() | st.text(UNICODE, min_size=1).map(Secret),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["prod", "gold", "1", "5m", "$secret"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from(["$secret", "$result"]), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({"text": TYPED["text"]}, optional={name: one for name, one in TYPED.items() if name != "text"}))
def test_what_is_written_reads_back_as_the_same_typed_values(given_values: dict[str, Any]) -> None:
    values = SCHEMA.validate(given_values)
    data = SCHEMA.written(values)
    again = SCHEMA.validate(data)
    assert again == values
    assert [type(one) for one in again.values()] == [type(one) for one in values.values()]
    assert SCHEMA.written(again) == data
    canonical({name: value for name, value in data.items() if name != "token"})


def refusal(given_values: dict[str, Any]) -> CountersignError | None:
    """The refusal, or None when the values are accepted and can be stored; anything else that is raised fails the test."""
    try:
        values = SCHEMA.validate({"text": "x"} | given_values)
    except CountersignError as error:
        return error
    canonical({name: value for name, value in SCHEMA.written(values).items() if name != "token"})
    return None


@given(st.dictionaries(st.sampled_from([*TYPED, "unknown"]) | st.text(), JSON, max_size=6))
def test_whatever_is_given_the_answer_is_values_or_one_sentence(given_values: dict[str, Any]) -> None:
    if error := refusal(given_values):
        assert str(error).encode()
        assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize("name", [name for name in TYPED if name not in ("text", "token")])
@settings(max_examples=25)
@given(data=st.data())
def test_one_argument_of_any_type_survives_any_json(name: str, data: st.DataObject) -> None:
    error = refusal({name: data.draw(JSON)})
    assert error is None or (isinstance(error, BadArgument) and error.argument == name and error.problem)


def problem(**given_values: Any) -> str:
    with pytest.raises(BadArgument) as caught:
        SCHEMA.validate({"text": "x"} | given_values)
    return str(caught.value)


@pytest.mark.parametrize(
    ("argument", "value", "sentence"),
    [
        ("env", "qa", "env: should be 'staging' or 'prod'"),
        ("colour", "green", "colour: should be 'red' or 'blue'"),
        ("shade", "grey", "shade: should be 'dark' or 'light'"),
        ("sure", "perhaps", "sure: should be 'yes' or 'no'"),
        ("number", "many", "number: should be a valid integer, unable to parse string as an integer"),
        ("length", "5", "length: should be a duration such as 90s, 5m, 1h30m or 2d"),
        ("ratio", float("inf"), "ratio: should be a finite number"),
        ("note", "a\0b", "note: should be text without NUL characters or broken Unicode"),
        ("tags", ["\ud800"], "tags: should be text without NUL characters or broken Unicode"),
        ("number", 10**400, "number: should be a number of at most 300 digits"),
        ("weights", {"$secret": 1}, "weights: may not have the key '$secret', which Countersign uses itself"),
        ("weights", {"$result": 0, "path": []}, "weights: may not have the key '$result', which Countersign uses itself"),
    ],
)
def test_a_wrong_value_gets_one_clear_sentence(argument: str, value: Any, sentence: str) -> None:
    assert problem(**{argument: value}) == sentence


def test_deep_nesting_is_refused_before_it_can_hurt() -> None:
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    assert problem(tags=deep) == "tags: is nested more than 32 deep"


async def small(ctx: Any, service: str, env: Env = Env.staging, *, sure: bool = False) -> None: ...


SMALL = Schema.of(small, name="small")


def test_an_unknown_argument_names_the_known_ones() -> None:
    with pytest.raises(BadArgument, match=r"^servce: is not an argument of this command \(it takes service, env, sure\)$"):
        SMALL.validate({"service": "api", "servce": "x"})


@pytest.mark.parametrize("given_values", [{}, {"service": None}])
def test_missing_arguments_are_named(given_values: dict[str, Any]) -> None:
    with pytest.raises(MissingArguments, match=r"^service: is required$") as caught:
        SMALL.validate(given_values)
    assert caught.value.names == ("service",)


def test_defaults_are_filled_in_and_types_are_made() -> None:
    assert SMALL.validate({"service": "api"}) == {"service": "api", "env": Env.staging, "sure": False}
    assert SMALL.validate({"service": "api", "env": "production", "sure": "yes"}) == {"service": "api", "env": Env.prod, "sure": True}


def test_an_enum_is_typed_by_name_or_value_and_the_name_wins() -> None:
    assert SCHEMA.validate({"text": "x", "tier": "gold"})["tier"] is Tier.gold
    assert SCHEMA.validate({"text": "x", "tier": Tier.silver})["tier"] is Tier.silver
    assert SCHEMA.validate({"text": "x", "envs": ["prod", "st"]})["envs"] == [Env.prod, Env.staging]


def test_several_values_are_separated_by_commas_in_text() -> None:
    assert SCHEMA.validate({"text": "x", "tags": "a, b,c"})["tags"] == ["a", "b", "c"]
    assert SCHEMA.validate({"text": "x", "envs": "prod,staging"})["envs"] == [Env.prod, Env.staging]


def test_usage_is_what_people_read() -> None:
    assert SMALL.usage == "<service> [env=staging] [sure=no]"


def test_json_schema_speaks_of_every_argument() -> None:
    schema = SCHEMA.json_schema()
    assert list(schema["properties"]) == list(TYPED)
    assert schema["required"] == ["text"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["colour"]["enum"] == ["red", "blue"]
    assert schema["properties"]["copy"]["title"] == "copy"


def test_a_form_asks_in_order_and_never_shows_a_secret() -> None:
    inputs = {one.name: one for one in SCHEMA.inputs({"text": "hello", "token": "hunter2"}, choices={"x": ("y",)})}
    assert list(inputs) == list(TYPED)
    assert (inputs["text"].initial, inputs["text"].required) == ("hello", True)
    assert (inputs["env"].kind, inputs["env"].choices, inputs["env"].initial) == ("choice", ("staging", "prod"), "staging")
    assert (inputs["token"].kind, inputs["token"].initial) == ("secret", "")
    assert inputs["model_config"].label == "model config"
    assert SCHEMA.secrets == {"token"}


def test_a_source_gives_its_choices_when_they_are_known() -> None:
    source = next(one.source for one in SCHEMA.parameters if one.name == "host")
    assert source is not None
    asked = {one.name: one for one in SCHEMA.inputs({}, choices={source.name: ("a1", "a2")})}
    assert (asked["host"].kind, asked["host"].choices) == ("choice", ("a1", "a2"))


def test_a_secret_is_not_in_the_sentence_about_another_mistake() -> None:
    for wrong in ({"token": "hunter2", "number": "x"}, {"token": ["hunter2"]}, {"token": "hunter2", "unknown": "hunter2"}):
        with pytest.raises(CountersignError) as caught:
            SCHEMA.validate({"text": "x"} | wrong)
        assert "hunter2" not in f"{caught.value!r} {caught.value.__context__!s} {caught.value.__context__!r}"


def test_part_of_a_schema_checks_the_rest() -> None:
    part = SMALL.without({"service"})
    assert part.validate({"env": "prod"}) == {"env": Env.prod, "sure": False}
    assert [one.name for one in part.parameters] == ["env", "sure"]
    with pytest.raises(BadArgument, match="is not an argument"):
        part.validate({"service": "api"})


def test_what_a_rule_wants_is_written_like_arguments() -> None:
    assert SCHEMA.wanted("env", "production") == "prod"
    assert SCHEMA.wanted("env", [Env.prod, "st"]) == ["prod", "staging"]
    assert SCHEMA.wanted("length", "60m") == "1h"
    assert SCHEMA.wanted("envs", "production") == "prod"
    assert SCHEMA.wanted("note", None) is None


@pytest.mark.parametrize(("name", "value"), [("env", "qa"), ("env", []), ("nothing", 1), ("token", "x"), ("number", "x")])
def test_a_rule_that_can_never_match_is_refused(name: str, value: Any) -> None:
    with pytest.raises(BadArgument):
        SCHEMA.wanted(name, value)


class Opaque:
    pass


async def untyped(ctx: Any, service) -> None: ...  # type: ignore[no-untyped-def]


async def stars(ctx: Any, *services: str) -> None: ...


async def double_stars(ctx: Any, **services: str) -> None: ...


async def no_context() -> None: ...


async def star_context(*ctx: Any) -> None: ...


async def opaque(ctx: Any, thing: Opaque) -> None: ...


async def bad_default(ctx: Any, env: Env = "qa") -> None: ...  # type: ignore[assignment]


async def bad_choice(ctx: Any, colour: Annotated[str, Choices("red", "blue")] = "green") -> None: ...


async def secrets(ctx: Any, tokens: list[Secret]) -> None: ...


async def perhaps_secret(ctx: Any, token: Secret | str) -> None: ...


async def unknown_type(ctx: Any, thing: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "fix"),
    [
        (untyped, "argument 'service' needs a type, for instance 'service: str'"),
        (stars, r"\*services has no place in a schema; name each argument"),
        (double_stars, r"\*services has no place in a schema; name each argument"),
        (no_context, "the first parameter should be the context"),
        (star_context, "the first parameter should be the context"),
        (opaque, "Opaque"),
        (bad_default, "the default of env: should be 'staging' or 'prod'"),
        (bad_choice, "the default of colour: should be 'red' or 'blue'"),
        (secrets, "make each secret an argument of its own"),
        (perhaps_secret, "make each secret an argument of its own"),
        (unknown_type, "should be importable when the module is loaded"),
    ],
)
def test_a_signature_that_is_no_schema_is_refused_at_import(function: Any, fix: str) -> None:
    with pytest.raises(TypeError, match=f"^deploy: .*{fix}"):
        Schema.of(function, name="deploy")


def test_values_are_written_as_people_type_them() -> None:
    typed = [True, False, None, Env.prod, Size.big, Tier.gold, [Env.prod, True], Duration.parse("90m"), 1.5, Secret("x")]
    assert list(map(written, typed)) == ["yes", "no", "", "prod", "big", "gold", "prod,yes", "1h30m", "1.5", "••••••"]


def test_a_set_is_written_in_one_order() -> None:
    assert written_json({"b", "a", "c"}) == ["a", "b", "c"]
    assert written_json({"envs": {Env.prod: (1, 2)}}) == {"envs": {"prod": [1, 2]}}


def test_what_has_no_json_form_is_refused() -> None:
    with pytest.raises(TypeError, match="a Opaque cannot be written as JSON"):
        written_json(Opaque())


def test_a_type_of_ones_own_says_what_it_reads() -> None:
    class Version(Parsed, str):
        __slots__ = ()
        hint = "a version, such as v2"

        @classmethod
        def parse(cls, value: Any) -> "Version":
            if not str(value).startswith("v"):
                raise ValueError("should be a version, such as v2")
            return cls(value)

    async def release(ctx: Any, version: Version) -> Any:
        """Release."""

    release.__annotations__["version"] = Version
    made: Command = command("release", permission="deploy:run")(release)
    assert made.schema.inputs({})[0].hint == "a version, such as v2"
    with pytest.raises(BadArgument, match="version: should be a version, such as v2"):
        made.schema.validate({"version": "2"})
