from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.calendars import Freeze, Window, first_opening, name_of, resolved, zone_of
from countersign.moments import instant, shown

BERLIN, NEW_YORK, SYDNEY = zone_of("Europe/Berlin"), zone_of("America/New_York"), zone_of("Australia/Sydney")
WORKDAYS = frozenset(range(5))
ZONES = st.timezones() | st.sampled_from([UTC, BERLIN, NEW_YORK, SYDNEY, timezone(timedelta(hours=5, minutes=30))])
NAIVE = st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2037, 1, 1))  # noqa: DTZ001  clocks show no zone
INSTANTS = NAIVE.map(lambda one: one.replace(tzinfo=UTC))
WINDOWS = st.builds(
    Window,
    name=st.just("w"),
    days=st.sets(st.integers(0, 6), min_size=1).map(frozenset),
    opens=st.times(),
    closes=st.times(),
    zone=st.sampled_from([UTC, BERLIN, NEW_YORK, SYDNEY]),
)


def at(text: str) -> datetime:
    return instant(text)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("zone", "typed", "utc"),
    [
        (BERLIN, "2027-03-28 01:59:59", "2027-03-28 00:59:59"),
        (BERLIN, "2027-03-28 02:00", "2027-03-28 01:00"),  # from here on there is no such time until 03:00
        (BERLIN, "2027-03-28 02:30", "2027-03-28 01:00"),
        (BERLIN, "2027-03-28 02:59:59", "2027-03-28 01:00"),
        (BERLIN, "2027-03-28 03:00", "2027-03-28 01:00"),
        (BERLIN, "2026-10-25 01:59:59", "2026-10-24 23:59:59"),
        (BERLIN, "2026-10-25 02:00", "2026-10-25 00:00"),  # from here on every time is there twice
        (BERLIN, "2026-10-25 02:30", "2026-10-25 00:30"),
        (BERLIN, "2026-10-25 03:00", "2026-10-25 02:00"),
        (NEW_YORK, "2027-03-14 02:30", "2027-03-14 07:00"),
        (NEW_YORK, "2027-03-14 03:00", "2027-03-14 07:00"),
        (NEW_YORK, "2026-11-01 01:30", "2026-11-01 05:30"),
        (NEW_YORK, "2026-11-01 02:00", "2026-11-01 07:00"),
        (zone_of("Pacific/Apia"), "2011-12-30 12:00", "2011-12-30 10:00"),  # a day that Samoa left out
    ],
)
def test_in_a_gap_the_first_instant_after_counts_and_in_an_overlap_the_first_occurrence(zone: tzinfo, typed: str, utc: str) -> None:
    assert resolved(local(typed), zone) == local(utc).replace(tzinfo=UTC)


@given(NAIVE, ZONES)
def test_no_earlier_instant_reads_so(naive: datetime, zone: tzinfo) -> None:
    found = resolved(naive, zone)
    reading = found.astimezone(zone).replace(tzinfo=None)
    offsets = {(found + timedelta(hours=n)).astimezone(zone).utcoffset() or timedelta() for n in range(-30, 31)}
    equal = [one for offset in offsets if clocks(one := (naive - offset).replace(tzinfo=UTC), zone) == naive]
    if equal:
        assert (found, reading) == (min(equal), naive)
    else:
        assert reading > naive, "an instant that clocks never show stands for the first one after it"
        assert clocks(found - timedelta.resolution, zone) < naive


def clocks(at: datetime, zone: tzinfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None)


@pytest.mark.parametrize("name", ["", "Europe", "Europe/", "/etc/passwd", "../UTC", "Europe/Atlantis", "UTC\0", "Ütc", "CET/Europe"])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"there is no time zone .*; one is written as Europe/Berlin"):
        zone_of(name)


def test_time_zones_are_those_of_the_pinned_package() -> None:
    assert name_of(BERLIN) == "Europe/Berlin"
    assert BERLIN is not ZoneInfo("Europe/Berlin"), "the machine's own files may be older"
    assert BERLIN.utcoffset(local("2026-07-01 12:00")) == timedelta(hours=2)


def hours(zone: tzinfo = BERLIN, *, closed: frozenset[date] = frozenset()) -> Window:
    return Window("business-hours", WORKDAYS, time(9), time(17), zone, closed)


def nights(days: frozenset[int] = frozenset(range(4))) -> Window:
    return Window("nights", days, time(22), time(4), BERLIN)


@pytest.mark.parametrize(
    ("when", "opens"),
    [
        ("2026-11-23 08:59 Europe/Berlin", "2026-11-23 09:00 Europe/Berlin"),
        ("2026-11-23 09:00 Europe/Berlin", None),
        ("2026-11-23 16:59 Europe/Berlin", None),
        ("2026-11-23 17:00 Europe/Berlin", "2026-11-24 09:00 Europe/Berlin"),
        ("2026-11-27 17:00 Europe/Berlin", "2026-11-30 09:00 Europe/Berlin"),  # Friday evening
        ("2026-11-24 09:00 America/New_York", None),  # 15:00 in Berlin
        ("2026-11-24 11:00 America/New_York", "2026-11-25 09:00 Europe/Berlin"),
    ],
)
def test_business_hours_are_those_of_their_zone(when: str, opens: str | None) -> None:
    assert hours().is_open(at(when)) is (opens is None)
    assert hours().next_opening(at(when)) == at(opens or when)


def test_a_holiday_is_no_business_day() -> None:
    with_holidays = hours(closed=frozenset({date(2026, 12, 25), date(2026, 12, 28)}))
    assert with_holidays.next_opening(at("2026-12-25 10:00 Europe/Berlin")) == at("2026-12-29 09:00 Europe/Berlin")


@pytest.mark.parametrize(
    ("when", "opens"),
    [
        ("2026-11-23 21:59 Europe/Berlin", "2026-11-23 22:00 Europe/Berlin"),
        ("2026-11-23 22:00 Europe/Berlin", None),
        ("2026-11-24 03:59 Europe/Berlin", None),
        ("2026-11-24 04:00 Europe/Berlin", "2026-11-24 22:00 Europe/Berlin"),
        ("2026-11-27 03:00 Europe/Berlin", None),  # the night of Thursday, although it is Friday
        ("2026-11-27 22:30 Europe/Berlin", "2026-11-30 22:00 Europe/Berlin"),
    ],
)
def test_a_night_belongs_to_the_day_on_which_it_begins(when: str, opens: str | None) -> None:
    assert nights().is_open(at(when)) is (opens is None)
    assert nights().next_opening(at(when)) == at(opens or when)


def test_a_night_is_an_hour_shorter_when_clocks_are_set_forward_and_an_hour_longer_when_they_are_set_back() -> None:
    every_night = nights(frozenset(range(7)))
    assert length(every_night, "2027-03-27 22:00 Europe/Berlin") == timedelta(hours=5)
    assert length(every_night, "2026-10-24 22:00 Europe/Berlin") == timedelta(hours=7)
    assert length(every_night, "2026-11-23 22:00 Europe/Berlin") == timedelta(hours=6)
    in_new_york = Window("nights", frozenset(range(7)), time(22), time(4), NEW_YORK)
    assert length(in_new_york, "2027-03-13 22:00 America/New_York") == timedelta(hours=5)
    assert length(in_new_york, "2026-10-31 22:00 America/New_York") == timedelta(hours=7)


def length(window: Window, opens: str) -> timedelta:
    """How long it stays open, by minutes."""
    begin = at(opens)
    assert not window.is_open(begin - timedelta(seconds=1)), "it opens here"
    return next(timedelta(minutes=n) for n in range(1, 1_500) if not window.is_open(begin + timedelta(minutes=n)))


def test_a_window_inside_the_hour_that_is_left_out_does_not_open_that_day() -> None:
    early = Window("early", frozenset({6}), time(2, 15), time(2, 45), BERLIN)
    assert early.next_opening(at("2027-03-27 12:00 UTC")) == at("2027-04-04 02:15 Europe/Berlin")


def test_a_window_inside_the_hour_that_is_there_twice_opens_the_first_time() -> None:
    early = Window("early", frozenset({6}), time(2, 15), time(2, 45), BERLIN)
    assert early.next_opening(at("2026-10-24 12:00 UTC")) == at("2026-10-25 00:15 UTC")
    assert not early.is_open(at("2026-10-25 01:15 UTC")), "02:15 the second time"


def test_a_midnight_that_is_there_twice_begins_a_day_the_first_time() -> None:
    """Clocks in St. John's went from 00:01 back to 23:01."""
    sunday = Window("sunday", frozenset({6}), time(0), time(0), zone_of("America/St_Johns"))
    midnight = at("2010-11-07 02:30 UTC")
    assert not sunday.is_open(midnight - timedelta(seconds=1))
    assert sunday.is_open(midnight)
    assert sunday.is_open(midnight + timedelta(minutes=30)), "clocks show Saturday 23:30 again"


@given(WINDOWS, INSTANTS)
def test_a_window_is_open_exactly_when_it_opens_now(window: Window, when: datetime) -> None:
    opens = window.next_opening(when)
    assert window.is_open(opens)
    assert (opens == when) is window.is_open(when)
    if opens > when:
        assert not window.is_open(opens - timedelta.resolution)
        assert not any(window.is_open(when + (opens - when) // 20 * n) for n in range(20))


@given(WINDOWS, INSTANTS)
def test_where_clocks_are_never_set_a_window_is_what_clocks_and_calendar_show(window: Window, when: datetime) -> None:
    plain = Window("w", window.days, window.opens, window.closes, timezone(timedelta(hours=3)))
    now = clocks(when, plain.zone)
    today, yesterday = now.weekday() in plain.days, (now.weekday() - 1) % 7 in plain.days
    if plain.opens < plain.closes:
        assert plain.is_open(when) is (today and plain.opens <= now.time() < plain.closes)
    else:
        assert plain.is_open(when) is ((today and now.time() >= plain.opens) or (yesterday and now.time() < plain.closes))


def test_several_windows_are_open_together_or_never() -> None:
    tuesdays = Window("tuesdays", frozenset({1}), time(0), time(0), BERLIN)
    weekend = Window("weekend", frozenset({5, 6}), time(0), time(0), BERLIN)
    friday = at("2026-11-27 12:00 Europe/Berlin")
    assert first_opening([hours(), tuesdays], friday) == at("2026-12-01 09:00 Europe/Berlin")
    assert first_opening([tuesdays, hours(NEW_YORK)], friday) == at("2026-12-01 09:00 America/New_York")
    assert first_opening([weekend, hours()], friday) is None
    assert first_opening([], friday) == friday


@given(st.lists(WINDOWS, max_size=3), INSTANTS)
def test_the_first_common_opening_is_in_all_windows_and_nothing_before_it_is(windows: list[Window], when: datetime) -> None:
    found = first_opening(windows, when)
    before = (found or when + timedelta(days=30)) - when
    assert found is None or all(one.is_open(found) for one in windows)
    assert not any(all(one.is_open(when + before // 50 * n) for one in windows) for n in range(50) if before)


@pytest.mark.parametrize("days", [frozenset(), frozenset({7}), frozenset({-1})])
def test_a_window_without_a_day_of_the_week_is_a_mistake(days: frozenset[int]) -> None:
    with pytest.raises(TypeError, match="days should be some of 0"):
        Window("never", days, time(9), time(17), UTC)


@pytest.mark.parametrize(
    ("window", "text"),
    [
        (hours(), "business-hours (mon-fri 09:00–17:00 Europe/Berlin)"),
        (nights(frozenset({0, 2, 3, 6})), "nights (mon,wed,thu,sun 22:00–04:00 Europe/Berlin)"),
        (Window("always", frozenset(range(7)), time(0), time(0), UTC), "always (daily 00:00–24:00 UTC)"),
    ],
)
def test_a_window_says_when_it_is_open(window: Window, text: str) -> None:
    assert str(window) == text


def test_a_freeze_holds_from_its_first_instant_until_the_one_it_ends_at() -> None:
    freeze = Freeze("year-end", at("2026-12-18 18:00 Europe/Berlin"), at("2027-01-04 08:00 Europe/Berlin"))
    tick = timedelta.resolution
    assert [freeze.covers(one) for one in (freeze.begins - tick, freeze.begins, freeze.ends - tick, freeze.ends)] == [
        False,
        True,
        True,
        False,
    ]


def test_a_freeze_over_a_change_of_clocks_is_as_long_as_the_clocks_say() -> None:
    freeze = Freeze("night", at("2026-10-25 01:00 Europe/Berlin"), at("2026-10-25 04:00 Europe/Berlin"))
    assert freeze.ends - freeze.begins == timedelta(hours=4)
    assert shown(freeze.begins, BERLIN) == "2026-10-25 01:00 Europe/Berlin"
