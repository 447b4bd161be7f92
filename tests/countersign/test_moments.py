from contextlib import suppress
from datetime import UTC, datetime, time, timedelta, tzinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.calendars import zone_of
from countersign.moments import clock_time, instant, moment, shown, weekdays

BERLIN, NEW_YORK = zone_of("Europe/Berlin"), zone_of("America/New_York")
NOW = datetime(2026, 11, 23, 13, 30, tzinfo=UTC)  # a Monday; 14:30 in Berlin


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("22:00", "2026-11-23 22:00 Europe/Berlin"),
        ("14:30", "2026-11-23 14:30 Europe/Berlin"),  # this very minute
        ("14:29", "2026-11-24 14:29 Europe/Berlin"),  # passed, so tomorrow's
        ("9:00", "2026-11-24 09:00 Europe/Berlin"),
        ("24:00", "2026-11-24 00:00 Europe/Berlin"),
        ("22:00:30", "2026-11-23 22:00:30 Europe/Berlin"),
        ("22:00 America/New_York", "2026-11-23 22:00 America/New_York"),
        ("22:00 UTC", "2026-11-23 22:00 UTC"),
        ("22:00Z", "2026-11-23 22:00 UTC"),
        ("today 22:00", "2026-11-23 22:00 Europe/Berlin"),
        ("Tomorrow 9:00", "2026-11-24 09:00 Europe/Berlin"),
        ("tomorrow 9:00 America/New_York", "2026-11-24 09:00 America/New_York"),
        ("monday 22:00", "2026-11-23 22:00 Europe/Berlin"),
        ("mon 9:00", "2026-11-30 09:00 Europe/Berlin"),
        ("Fri  17:30", "2026-11-27 17:30 Europe/Berlin"),
        ("2026-12-01 22:00", "2026-12-01 22:00 Europe/Berlin"),
        (" 2026-12-01 22:00 Europe/Berlin ", "2026-12-01 22:00 Europe/Berlin"),
        ("2026-12-01T22:00:00+01:00", "2026-12-01 22:00 Europe/Berlin"),
        ("2026-12-01T22:00+0100", "2026-12-01 22:00 Europe/Berlin"),
        ("2026-12-01T21:00:00.000Z", "2026-12-01 22:00 Europe/Berlin"),
        ("2026-12-01 22:00+01:00 Europe/Berlin", "2026-12-01 22:00 Europe/Berlin"),
        ("in 2h", "2026-11-23 16:30 Europe/Berlin"),
        ("In 1h 30m", "2026-11-23 16:00 Europe/Berlin"),
        ("in 0s", "2026-11-23 14:30 Europe/Berlin"),
    ],
)
def test_ada_says_when_as_people_do(typed: str, meant: str) -> None:
    assert moment(typed, NOW, BERLIN) == instant(meant)


def test_tomorrow_is_that_of_the_zone_which_is_meant() -> None:
    late = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)  # already Tuesday in Berlin, still Monday in New York
    assert moment("tomorrow 9:00", late, BERLIN) == instant("2026-11-25 09:00 Europe/Berlin")
    assert moment("tomorrow 9:00", late, NEW_YORK) == instant("2026-11-24 09:00 America/New_York")
    assert moment("today 20:00 America/New_York", late, BERLIN) == instant("2026-11-23 20:00 America/New_York")


@pytest.mark.parametrize(
    ("zone", "now", "typed", "utc"),
    [
        (BERLIN, "2027-03-28 01:30 Europe/Berlin", "2:30", "2027-03-28 01:00"),  # there is no 2:30 today: 3:00
        (BERLIN, "2027-03-28 03:00 Europe/Berlin", "2:30", "2027-03-28 01:00"),  # which is now
        (BERLIN, "2027-03-28 03:01 Europe/Berlin", "2:30", "2027-03-29 00:30"),
        (BERLIN, "2026-10-25 01:30 Europe/Berlin", "2:30", "2026-10-25 00:30"),  # the first of two
        (BERLIN, "2026-10-25 02:45 Europe/Berlin", "2:30", "2026-10-26 01:30"),  # the first has passed
        (NEW_YORK, "2027-03-14 01:30 America/New_York", "2:30", "2027-03-14 07:00"),
        (NEW_YORK, "2026-11-01 00:30 America/New_York", "1:30", "2026-11-01 05:30"),
        (NEW_YORK, "2026-11-01 00:30 America/New_York", "2026-11-01 01:30-05:00 America/New_York", "2026-11-01 06:30"),  # the second
        (NEW_YORK, "2026-11-01 00:30 America/New_York", "in 2h", "2026-11-01 06:30"),  # clocks show 1:30
    ],
)
def test_when_clocks_are_set_the_written_rule_holds(zone: tzinfo, now: str, typed: str, utc: str) -> None:
    assert moment(typed, instant(now), zone) == instant(f"{utc} UTC")


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("", "should be a time such as 22:00"),
        ("later", "should be a time such as"),
        ("22", "should be a time such as"),
        ("10pm", "should be a time such as"),
        ("22:00 tomorrow evening", "should be a time such as"),
        ("25:00", "25:00 is not a time of day; there are 00:00 to 23:59"),
        ("24:01", "24:01 is not a time of day"),
        ("22:60", "22:60 is not a time of day"),
        ("2026-02-30 22:00", "2026-02-30 is not a day of the calendar"),
        ("9999-12-31 24:00", "is outside the calendar"),
        ("9999-12-31 23:59", "is more than a year away"),
        ("2026-11-23 14:29", "has passed: it is 2026-11-23 14:30 Europe/Berlin now"),
        ("today 9:00", "has passed"),
        ("funday 9:00", "'funday' should be a day of the week"),
        ("fr 9:00", "'fr' should be a day of the week"),
        ("22:00 Europe/Atlantis", "there is no time zone 'Europe/Atlantis'"),
        ("22:00 CEST", "there is no time zone 'CEST'"),
        ("22:00+25:00", r"\+25:00 is not an offset from UTC"),
        ("2026-12-01 22:00+05:00 Europe/Berlin", r"has the offset \+05:00, which Europe/Berlin does not have then"),
        ("in 5", "should be a duration such as"),
        ("in two hours", "should be a duration such as"),
        ("in 400d", "is more than a year away"),
        ("in 99999d", "should be from 0s to ten years"),
    ],
)
def test_what_is_no_moment_is_refused_with_what_is_wrong(typed: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        moment(typed, NOW, BERLIN)


@given(st.text(max_size=30) | st.from_regex(r"(in |mon |2026-1[12]-[0-9]{2}[T ])?[0-9:+Zdhm]{1,8}( [A-Z][a-z]+)?", fullmatch=True))
def test_whatever_is_typed_is_a_moment_to_come_or_a_sentence(typed: str) -> None:
    found = NOW
    with suppress(ValueError):
        found = moment(typed, NOW, BERLIN)
    assert NOW <= found <= NOW + timedelta(days=366)


@given(
    st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2037, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.sampled_from([BERLIN, NEW_YORK, zone_of("Australia/Lord_Howe"), zone_of("UTC"), zone_of("Asia/Kolkata")]),
)
def test_what_is_shown_reads_back_as_the_same_minute(at: datetime, zone: tzinfo) -> None:
    at = at.replace(second=0, microsecond=0)
    assert instant(shown(at, zone)) == at
    assert moment(shown(at, zone), at, BERLIN) == at


def test_the_second_of_two_equal_hours_shows_its_offset() -> None:
    first = instant("2026-10-25 02:30 Europe/Berlin")
    assert shown(first, BERLIN) == "2026-10-25 02:30 Europe/Berlin"
    assert shown(first + timedelta(hours=1), BERLIN) == "2026-10-25 02:30+01:00 Europe/Berlin"


@pytest.mark.parametrize(
    "text", ["22:00 Europe/Berlin", "tomorrow 9:00", "in 2h", "2026-12-24 18:00", "2026-12-24", "", "2026-12-24 18:00 "]
)
def test_a_date_in_a_policy_says_its_day_its_time_and_its_zone(text: str) -> None:
    with pytest.raises(ValueError, match="should be a date and a time with their zone, for instance 2026-12-24 18:00 Europe/Berlin"):
        instant(text)


def test_a_written_date_may_have_passed_and_may_take_its_zone_from_beside_it() -> None:
    assert instant("1999-12-31 23:59", BERLIN) == datetime(1999, 12, 31, 22, 59, tzinfo=UTC)
    assert instant("1999-12-31 23:59Z", BERLIN) == datetime(1999, 12, 31, 23, 59, tzinfo=UTC)


@pytest.mark.parametrize(("text", "clock"), [("9:00", time(9)), ("09:00", time(9)), ("17:30:15", time(17, 30, 15)), ("24:00", time(0))])
def test_a_time_of_day(text: str, clock: time) -> None:
    assert clock_time(text) == clock


@pytest.mark.parametrize("text", ["", "9", "9.00", "nine", "24:30", "12:61", "-1:00", "9:00 Europe/Berlin"])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time of day"):
        clock_time(text)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon-fri", {0, 1, 2, 3, 4}),
        ("Monday", {0}),
        ("sat, sun", {5, 6}),
        ("fri-mon", {4, 5, 6, 0}),
        ("tue,thu-fri", {1, 3, 4}),
        ("daily", set(range(7))),
        ("mon-sun", set(range(7))),
    ],
)
def test_days_of_the_week(text: str, days: set[int]) -> None:
    assert weekdays(text) == days


@pytest.mark.parametrize("text", ["", "mo", "mon-", "mon--fri", "weekday", "1-5", "mon;fri"])
def test_what_is_no_day_of_the_week_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="should be a day of the week, such as mon or friday"):
        weekdays(text)
