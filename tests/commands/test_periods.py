"""Windows and freezes as a policy writes them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from commands.checks import check_policy
from commands.periods import FreezeEntry, WindowEntry, bind_freezes
from commands.policies import compile_policy
from countersign.calendars import zone_of
from countersign.moments import instant, shown
from tests.commands.samples import COMMANDS

NIGHTS: dict[str, Any] = {"days": "mon-thu", "from": "22:00", "to": "4:00", "zone": "Europe/Berlin"}
YEAR_END: dict[str, Any] = {
    "from": "2026-12-18 18:00 Europe/Berlin",
    "to": "2027-01-04 08:00 Europe/Berlin",
    "command": "deploy",
    "when": {"env": "prod"},
}


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (NIGHTS, "w (mon-thu 22:00–04:00 Europe/Berlin)"),
        ({"from": "9:00", "to": "17:00", "zone": "UTC", "days": ["mon", "wed", "fri"]}, "w (mon,wed,fri 09:00–17:00 UTC)"),
        ({"from": "00:00", "to": "24:00", "zone": "UTC"}, "w (daily 00:00–24:00 UTC)"),
    ],
)
def test_a_window_is_days_hours_and_a_zone(entry: dict[str, Any], text: str) -> None:
    assert str(WindowEntry.model_validate(entry).window("w")) == text


def test_a_window_leaves_out_holidays() -> None:
    hours = WindowEntry.model_validate(
        {"days": "mon-fri", "from": "9:00", "to": "17:00", "zone": "Europe/Berlin", "closed": ["2026-12-25"]}
    )
    opening = hours.window("w").next_opening(instant("2026-12-24 18:00 Europe/Berlin"))
    assert shown(opening, zone_of("Europe/Berlin")) == "2026-12-28 09:00 Europe/Berlin"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"zone": "Europe/Atlantis"}, "there is no time zone 'Europe/Atlantis'"),
        ({"days": "weekdays"}, "'weekdays' should be a day of the week"),
        ({"days": []}, "should be a day of the week"),
        ({"from": "25:00"}, "25:00 is not a time of day"),
        ({"from": 1320}, "should be a valid string"),
        ({"from": "4:00"}, "from and to are the same time; a whole day is from 00:00 to 24:00"),
        ({"until": "4:00"}, "Extra inputs are not permitted"),
        ({"closed": ["christmas"]}, "closed"),
    ],
)
def test_what_is_no_window_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        WindowEntry.model_validate(NIGHTS | change)


@pytest.mark.parametrize(
    "times",
    [
        {"from": "2026-12-18 18:00 Europe/Berlin", "to": "2027-01-04 08:00 Europe/Berlin"},
        {"from": "2026-12-18 18:00", "to": "2027-01-04 08:00", "zone": "Europe/Berlin"},
        {"from": "2026-12-18T17:00:00Z", "to": "2027-01-04T08:00:00+01:00"},
        {"from": datetime(2026, 12, 18, 17, tzinfo=UTC), "to": datetime(2027, 1, 4, 8), "zone": "Europe/Berlin"},  # noqa: DTZ001  as YAML reads it
    ],
)
def test_a_freeze_says_its_moments_in_any_zone(times: dict[str, Any]) -> None:
    freeze = FreezeEntry.model_validate(YEAR_END | times).freeze("year-end")
    assert (freeze.begins, freeze.ends) == (instant("2026-12-18 18:00 Europe/Berlin"), instant("2027-01-04 08:00 Europe/Berlin"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"from": "2026-12-18 18:00"}, "should be a date and a time with their zone"),
        ({"from": datetime(2026, 12, 18, 18)}, "should be a date and a time with their zone"),  # noqa: DTZ001
        ({"from": "2026-12-18"}, "should be a date and a time with their zone"),
        ({"to": None}, "should be a date and a time with their zone"),
        ({"zone": "Mars"}, "there is no time zone 'Mars'"),
        ({"to": "2026-12-18 18:00 Europe/Berlin"}, "should end after it begins"),
        ({"command": None}, "should name a command or a risk, or it would stop everything"),
        ({"approve": {"count": 0}}, "somebody else than the asker has to agree"),
        ({"approve": {"asker_may": True}}, "somebody else than the asker has to agree"),
        ({"deny": "no"}, "Extra inputs are not permitted"),
    ],
)
def test_what_is_no_freeze_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        FreezeEntry.model_validate(YEAR_END | change)


def bound(**change: Any) -> dict[str, list[str]]:
    """What each command's freezes say is wrong with them; no entry where none concerns it."""
    found = bind_freezes({"year-end": FreezeEntry.model_validate(YEAR_END | {"line": 7} | change)}, COMMANDS)
    return {command: [f"{one.bound.rule.place} {one.bound.broken}".strip() for one in freezes] for command, freezes in found.items()}


def test_a_freeze_concerns_the_commands_that_it_names() -> None:
    assert bound() == {"deploy": ["line 7: freeze 'year-end'"]}
    assert set(bound(command=None, risk="high", when={})) == {"scale", "rotate"}, "not policy apply, or nobody could lift it"
    assert set(bound(command=["deploy", "policy apply"], when={})) == {"deploy", "policy apply"}, "unless it is named"


def test_a_freeze_that_cannot_be_read_for_a_command_says_why() -> None:
    assert bound(when={"env": "moon"}) == {"deploy": ["line 7: freeze 'year-end' looks for env=moon: should be 'staging' or 'prod'"]}


def test_policy_check_finds_windows_that_nothing_uses_and_freezes_that_hold_nothing() -> None:
    text = """
timezone: UTC
people: {ada: {}}
windows: {nights: {from: "22:00", to: "4:00"}}
freezes:
  one: {from: 2026-12-18 18:00, to: 2026-12-19 18:00, command: launch}
  two: {from: 2026-12-18 18:00, to: 2026-12-19 18:00, command: deploy, when: {colour: red}, people: [bob]}
"""
    assert check_policy(compile_policy(text), COMMANDS) == [
        "line 6: freeze 'one' names the command 'launch', which does not exist",
        "line 7: freeze 'two' looks at the argument 'colour', which deploy does not have",
        "line 7: freeze 'two' names 'bob', who is not listed under people",
        "line 4: windows: no rule uses 'nights'",
    ]
