import copy
import json
import logging
import pickle
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from countersign import Channel, Choices, Duration, Percent, Person, Secret, ZonedTime
from countersign.arguments import Parsed, alternatives

PASSWORD = "hunter2-correct-horse"
TEN_YEARS = timedelta(days=3_650)
BERLIN = ZoneInfo("Europe/Berlin")


@given(st.timedeltas(min_value=timedelta(0), max_value=TEN_YEARS))
def test_every_duration_reads_back_what_it_writes(length: timedelta) -> None:
    duration = Duration.parse(length)
    assert duration == length
    assert Duration.parse(str(duration)) == duration


@pytest.mark.parametrize(
    ("typed", "seconds", "text"),
    [
        ("90s", 90, "1m30s"),
        ("1h30m", 5_400, "1h30m"),
        (" 1H 30M ", 5_400, "1h30m"),
        ("2d", 172_800, "2d"),
        ("1.5h", 5_400, "1h30m"),
        ("0.25s", 0.25, "0.25s"),
        ("0s", 0, "0s"),
    ],
)
def test_a_duration_is_typed_as_people_say_it(typed: str, seconds: float, text: str) -> None:
    duration = Duration.parse(typed)
    assert duration.total_seconds() == seconds
    assert str(duration) == text


@pytest.mark.parametrize(
    "typed", ["5", 5, "", "m", "-5m", "5 minutes", "1 2h", "11y", "3651d", "9" * 400 + "d", timedelta(-1), None, True, ["5m"]]
)
def test_a_duration_without_a_clear_unit_or_out_of_bounds_is_refused(typed: Any) -> None:
    with pytest.raises(ValueError, match="should be"):
        Duration.parse(typed)


@given(st.floats(0, 100))
def test_every_percentage_reads_back_what_it_writes(number: float) -> None:
    percent = Percent.parse(number)
    assert percent == number
    assert Percent.parse(str(percent)) == percent


@pytest.mark.parametrize(("typed", "text"), [("25%", "25%"), ("25", "25%"), (12.5, "12.5%"), (100, "100%")])
def test_a_percentage_is_kept_as_typed(typed: Any, text: str) -> None:
    assert str(Percent.parse(typed)) == text


@pytest.mark.parametrize(
    "typed", ["101", "-1", "nan", "inf", "1_0", "five", "", pytest.param(10**400, id="huge"), float("nan"), True, None, {}]
)
def test_what_is_no_share_is_refused(typed: Any) -> None:
    with pytest.raises(ValueError, match="should be a percentage"):
        Percent.parse(typed)


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.timezones() | st.just(UTC)))  # noqa: DTZ001
def test_every_moment_reads_back_what_it_writes(moment: datetime) -> None:
    zoned = ZonedTime.parse(moment)
    assert zoned.utcoffset() == moment.utcoffset()
    again = ZonedTime.parse(str(zoned))
    assert again == zoned
    assert again.utcoffset() == zoned.utcoffset()
    assert str(again) == str(zoned)


def test_the_second_half_past_two_of_an_autumn_night_is_not_the_first() -> None:
    first = ZonedTime.parse("2026-10-25 02:30 Europe/Berlin")
    second = ZonedTime.parse(datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1))
    assert str(second) == "2026-10-25 02:30:00+01:00 Europe/Berlin"
    assert ZonedTime.parse(str(second)).astimezone(UTC) - first.astimezone(UTC) == timedelta(hours=1)


@pytest.mark.parametrize(
    "typed", ["2026-11-24 22:00 Europe/Berlin", "2026-11-24T22:00+01:00", "2026-11-24 21:00 UTC", "2026-11-24 22:00 CET"]
)
def test_a_moment_names_its_zone_or_offset(typed: str) -> None:
    assert ZonedTime.parse(typed).astimezone(UTC) == datetime(2026, 11, 24, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    "typed",
    [
        "2026-11-24 22:00",
        "2026-11-24 22:00 Europe/",
        "2026-11-24 22:00 Mars/Olympus",
        "2026-11-24 22:00 ../../etc/passwd",
        "2026-11-24 22:00+05:00 Europe/Berlin",
        "tomorrow",
        "UTC",
        "",
        1_700_000_000,
        datetime(2026, 11, 24),  # noqa: DTZ001
    ],
)
def test_a_moment_that_is_not_certain_is_refused(typed: Any) -> None:
    with pytest.raises(ValueError, match="zone"):
        ZonedTime.parse(typed)


@pytest.mark.parametrize("kind", [Duration, Percent, Person, Channel, ZonedTime, Secret])
@settings(max_examples=50)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_reading_raises_nothing_but_value_errors(kind: type[Parsed], value: Any) -> None:
    try:
        read = kind.parse(value)
    except ValueError:
        return
    assert isinstance(read, kind)


def test_people_and_channels_are_read_with_and_without_their_mark() -> None:
    assert Person.parse("@Ada") == Person.parse("ada") == "ada"
    assert Channel.parse("#ops") == Channel.parse("ops") == "ops"


@pytest.mark.parametrize("value", [None, True, 5, ["ops"], {"a": 1}, "", "two words"])
@pytest.mark.parametrize("kind", [Person, Channel])
def test_only_text_is_a_name(kind: type[Parsed], value: Any) -> None:
    with pytest.raises(ValueError, match="should be a"):
        kind.parse(value)


class Login(BaseModel):
    token: Secret


@pytest.mark.parametrize(
    "shown",
    [
        str,
        repr,
        "{}".format,
        "{!r:>40}".format,
        "{:>40}".format,
        lambda one: f"{one}",
        lambda one: "%s" % one,  # noqa: UP031  the old way too
        lambda one: json.dumps({"token": one}, default=str),
        lambda one: json.dumps({"token": one}, default=repr),
        lambda one: Login(token=one).model_dump_json(),
        lambda one: str(Login(token=one).model_dump()),
        lambda one: repr(Login(token=one)),
        lambda one: repr({"token": one, "more": [one]}),
        lambda one: repr(copy.copy(one)),
        lambda one: repr(copy.deepcopy({"token": one})),
    ],
)
def test_a_secret_never_prints(shown: Any) -> None:
    text = shown(Secret(PASSWORD))
    assert "hunter2" not in text
    assert "•" in text or "\\u2022" in text


def test_a_secret_is_not_in_a_traceback_even_with_local_variables() -> None:
    def fails(token: Secret) -> None:
        arguments = {"token": token}
        raise RuntimeError(f"could not log in with {arguments}")

    try:
        fails(Secret.parse(PASSWORD))
    except RuntimeError as error:
        lines = traceback.TracebackException.from_exception(error, capture_locals=True).format()
        assert "hunter2" not in "".join(lines)


def test_a_secret_is_not_in_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        logging.getLogger("tests").info("asked with %s and %r", {"token": Secret(PASSWORD)}, Secret(PASSWORD))
    assert "hunter2" not in caplog.text
    assert "••••••" in caplog.text


def test_a_secret_cannot_be_pickled_but_can_be_copied_compared_and_revealed() -> None:
    secret = Secret(PASSWORD)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps({"token": secret}, protocol)
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        vars(secret)
    assert copy.deepcopy(secret) is copy.copy(secret) is secret
    assert secret == Secret(PASSWORD) != Secret("other")
    assert {secret: 1}[Secret(PASSWORD)] == 1
    assert secret.reveal() == PASSWORD


def services() -> list[str]:
    return ["api", "web"]


def test_choices_are_values_or_a_source() -> None:
    assert Choices("a", "b").values == ("a", "b")
    assert Choices(source=services).name.endswith("test_arguments.services")
    assert Choices("a").name == ""


@pytest.mark.parametrize("wrong", [Choices, lambda: Choices("a", source=services)])
def test_choices_with_both_or_neither_are_refused_at_import(wrong: Any) -> None:
    with pytest.raises(TypeError, match="either values or source="):
        wrong()


def test_alternatives_read_as_a_sentence() -> None:
    assert alternatives(["a"]) == "'a'"
    assert alternatives(["a", "b", "c"]) == "'a', 'b' or 'c'"
    assert alternatives([str(one) for one in range(20)]).endswith("'11' or one of 8 more")
