"""When schedules are due, held against a clock that is read minute by minute; and what cannot be a schedule, with its place."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from commands.cadences import filled, read_cadence
from countersign.calendars import zone_of
from countersign.errors import BadArgument

MANY = 150
MINUTE = timedelta(minutes=1)
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "America/Sao_Paulo", "Asia/Kolkata", "UTC")
# Around changes of each of these clocks, and a day without one.
STARTS = (
    datetime(2027, 3, 28, tzinfo=UTC),
    datetime(2027, 10, 31, tzinfo=UTC),
    datetime(2027, 3, 14, 5, tzinfo=UTC),
    datetime(2027, 11, 7, 4, tzinfo=UTC),
    datetime(2027, 4, 3, 13, tzinfo=UTC),
    datetime(2027, 10, 2, 14, tzinfo=UTC),
    datetime(2018, 11, 3, 23, tzinfo=UTC),
    datetime(2018, 2, 17, 22, tzinfo=UTC),
    datetime(2027, 6, 15, 12, tzinfo=UTC),
)


def matches(local: datetime, fields: list[set[int]], *, either: bool) -> bool:
    minutes, hours, days, months, weekdays = fields
    by_day, by_week = local.day in days, local.isoweekday() % 7 in {one % 7 for one in weekdays}
    on_day = (by_day or by_week) if either else (by_day and by_week)
    return local.minute in minutes and local.hour in hours and local.month in months and on_day


def read(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        begin = low if span == "*" else int(first)
        end = high if span == "*" or (step and not dash) else int(last or first)
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def first_reading(naive: datetime, zone: ZoneInfo) -> datetime:
    """The first instant, found minute by minute, at which a clock there shows this or later for the first time."""
    at = naive.replace(tzinfo=UTC) - timedelta(hours=16)
    while at.astimezone(zone).replace(tzinfo=None) < naive:
        at += MINUTE
    return at


def oracle(text: str, zone: ZoneInfo, after: datetime, until: datetime) -> list[datetime]:
    """By the rules as they are written, and no other way: every minute is looked at."""
    parts = text.split()
    fields = [read(part, low, high) for part, (low, high) in zip(parts, ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7)), strict=True)]
    either = not (parts[2].startswith("*") or parts[4].startswith("*"))
    if parts[0].startswith("*") or parts[1].startswith("*"):
        return [at for at in _minutes(after, until) if matches(at.astimezone(zone), fields, either=either)]
    clocks = _minutes(
        *(one.astimezone(zone).replace(tzinfo=None) + by for one, by in ((after, -timedelta(hours=3)), (until, timedelta(hours=3))))
    )
    due = {first_reading(naive, zone) for naive in clocks if matches(naive, fields, either=either)}
    return sorted(at for at in due if after < at <= until)


def _minutes(after: datetime, until: datetime) -> Iterator[datetime]:
    at = after.replace(second=0, microsecond=0) + MINUTE
    while at <= until:
        yield at
        at += MINUTE


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).filter(lambda two: two[0] < two[1]).map(lambda two: f"{two[0]}-{two[1]}")
    step = st.tuples(st.one_of(st.just("*"), span), st.integers(1, 7)).map(lambda two: f"{two[0]}/{two[1]}")
    part = st.one_of(number.map(str), span, step)
    return st.one_of(st.just("*"), part, st.lists(number.map(str), min_size=2, max_size=3).map(",".join))


EXPRESSIONS = st.tuples(
    field(0, 59), field(0, 4), st.one_of(st.just("*"), field(1, 31)), st.just("*"), st.one_of(st.just("*"), field(0, 7))
).map(" ".join)


@settings(max_examples=MANY, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EXPRESSIONS, st.sampled_from(ZONES), st.sampled_from(STARTS), st.integers(0, 6 * 60 * 60))
@example("30 2 * * *", "Europe/Berlin", STARTS[0], 0)
@example("30 2 * * *", "Europe/Berlin", STARTS[1], 60 * 60 + 600)
@example("15,45 1-2 * * *", "Australia/Lord_Howe", STARTS[4], 0)
@example("*/10 * * * *", "Australia/Lord_Howe", STARTS[5], 0)
@example("0 0 * * *", "America/Sao_Paulo", STARTS[6], 0)
@example("* 0 * * 0", "America/Sao_Paulo", STARTS[6], 0)
@example("* * * * 0", "America/Sao_Paulo", STARTS[6], 0)
@example("*/20 * * * *", "Europe/Berlin", STARTS[1], 3_000)
def test_they_are_those_of_a_clock_that_is_read_every_minute(text: str, zone: str, start: datetime, seconds: int) -> None:
    after, known = start + timedelta(seconds=seconds), zone_of(zone)
    until = after + timedelta(hours=9)
    try:
        cadence = read_cadence(text, known, after)
    except BadArgument as error:
        if "never due" in str(error):
            return
        raise
    found = list(cadence.within(after, until))
    assert found == oracle(text, known, after, until)
    assert found == sorted(set(found))


@given(st.integers(1, 5_000), st.integers(0, 10**8), st.integers(-(10**7), 10**7))
def test_an_interval_is_elapsed_time_from_its_anchor(minutes: int, anchor: int, seconds: int) -> None:
    start = STARTS[0] + timedelta(seconds=anchor)
    after, every = start + timedelta(seconds=seconds), timedelta(minutes=minutes)
    first, second = read_cadence(f"every {minutes}m", zone_of("Europe/Berlin"), start).coming(after, count=2)
    assert second - first == every
    assert first > after
    assert first - every <= after or first == start
    assert (first - start) % every == timedelta(0)


@pytest.mark.parametrize(
    ("text", "zone", "after", "due"),
    [
        ("30 2 * * *", "Europe/Berlin", "2027-03-27T12:00Z", ["2027-03-28T01:00Z", "2027-03-29T00:30Z"]),
        ("0,30 2 * * *", "Europe/Berlin", "2027-03-27T12:00Z", ["2027-03-28T01:00Z", "2027-03-29T00:00Z"]),
        ("30 2 * * *", "Europe/Berlin", "2027-10-30T12:00Z", ["2027-10-31T00:30Z", "2027-11-01T01:30Z"]),
        ("0 * * * *", "Europe/Berlin", "2027-10-30T23:59Z", ["2027-10-31T00:00Z", "2027-10-31T01:00Z", "2027-10-31T02:00Z"]),
        ("30 1 * * *", "America/New_York", "2027-11-06T12:00Z", ["2027-11-07T05:30Z", "2027-11-08T06:30Z"]),
        ("30 2 * * *", "America/New_York", "2027-03-13T12:00Z", ["2027-03-14T07:00Z", "2027-03-15T06:30Z"]),
        ("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00Z", ["2018-11-04T03:00Z", "2018-11-05T02:00Z"]),
        ("@weekly", "UTC", "2027-01-01T00:00Z", ["2027-01-03T00:00Z"]),
        ("0 9 L * *", "UTC", "2028-02-01T00:00Z", ["2028-02-29T09:00Z"]),
        ("0 9 * * mon#2", "UTC", "2027-01-01T00:00Z", ["2027-01-11T09:00Z"]),
        ("every 90m", "Europe/Berlin", "2027-03-28T00:00Z", ["2027-03-28T01:30Z", "2027-03-28T03:00Z"]),
    ],
)
def test_the_rules_by_example(text: str, zone: str, after: str, due: list[str]) -> None:
    start = datetime.fromisoformat(after)
    assert read_cadence(text, zone_of(zone), start).coming(start, count=len(due)) == [datetime.fromisoformat(one) for one in due]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "should have five fields: minute, hour, day of the month, month, day of the week"),
        ("30 2 * *", "should have five fields"),
        ("0 0 0 * * *", "should have five fields"),
        ("30 25 * * *", "'25' (character 4) is no hour: 0 to 23"),
        ("5,60 2 * * *", "'60' (character 3) is no minute: 0 to 59"),
        ("0 2 * * mon-frei", "'mon-frei' (character 9) is no day of the week: 0 to 7, or sun to sat"),
        ("0 2 32 * *", "'32' (character 5) is no day of the month: 1 to 31"),
        ("0 2 * 9-3 *", "'9-3' (character 7) is no month: 1 to 12"),
        ("0 2 * * 1#6", "'1#6' (character 9) is no day of the week"),
        ("*/0 * * * *", "'*/0' (character 1) is no minute"),
        ("1#2/3 * * * *", "'1#2/3' (character 1) is no minute"),
        ("0 2 30 2 *", "is never due: there is no such day in these months"),
        ("0 2 31 4,6,9,11 *", "is never due: there is no such day in these months"),
        ("@reboot", "'@reboot' is none of @hourly, @daily"),
        ("every", "should have five fields"),
        ("every soon", "'soon' (character 7) should be a length of time, for instance 15m or 6h"),
        ("every 10s", "every 10s should be from 1m to 366d"),
        ("every 999d", "every 999d should be from 1m to 366d"),
        ("* " * 60, "has more than 100 characters"),
    ],
)
def test_what_cannot_work_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(BadArgument) as told:
        read_cadence(text, zone_of("UTC"), STARTS[0])
    assert told.value.argument == "when"
    assert problem in str(told.value)


@given(st.text(alphabet="0123456789*/,-#L@ monfrievery\n\t{}", max_size=30))
def test_whatever_is_written_is_a_cadence_or_a_sentence(text: str) -> None:
    try:
        cadence = read_cadence(text, zone_of("Europe/Berlin"), STARTS[0])
    except BadArgument:
        return
    assert cadence.coming(STARTS[0])


def test_arguments_may_name_the_slot() -> None:
    slot = datetime(2027, 3, 28, 0, 30, tzinfo=UTC)
    given_ = {"day": "{date}", "note": "{time} of {slot} {else}", "count": 3}
    assert filled(given_, slot, zone_of("Europe/Berlin")) == {
        "day": "2027-03-28",
        "note": "01:30 of 2027-03-28T01:30+01:00 {else}",
        "count": 3,
    }
