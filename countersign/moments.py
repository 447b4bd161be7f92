"""Moments, times of day and days of the week as people write them. Pure: whoever asks brings the time and the zone that is meant."""

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from itertools import count
from typing import Final

from .arguments import Duration
from .calendars import DAYS, FARTHEST, name_of, resolved, zone_of

EXAMPLES: Final = "22:00, tomorrow 9:00, 2026-12-01 22:00 Europe/Berlin or in 2h"
_TIME: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_MOMENT: Final = re.compile(
    rf"(?:(?P<day>[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}|[A-Za-z]+)(?: |(?<=[0-9])T))?(?P<time>{_TIME.pattern})(?:\.0+)?"
    r"(?: ?(?P<offset>Z|[+-][0-9]{2}:?[0-9]{2}))?(?: (?P<zone>[A-Za-z][A-Za-z0-9_+/-]*))?"
)


def moment(text: str, now: datetime, zone: tzinfo) -> datetime:
    """The instant that somebody means who writes `22:00`, `fri 9:00`, `2026-12-01 22:00 Europe/Berlin`, ISO with an offset, or `in 2h`.

    A time alone, or with the name of a day, is the next one from `now` on. What names no zone is meant in `zone`. Raises ValueError
    with what is wrong for anything else, and for what has passed or is more than a year away.
    """
    words = " ".join(text.split())
    try:
        found = now + Duration.parse(words[3:]) if words.lower().startswith("in ") else _next(words, now, zone)
    except OverflowError:
        raise ValueError("is outside the calendar") from None
    if found < now:
        raise ValueError(f"has passed: it is {shown(now, zone)} now")
    if found - now > FARTHEST:
        raise ValueError("is more than a year away")
    return found.astimezone(UTC)


def instant(text: str, zone: tzinfo | None = None) -> datetime:
    """The instant of a written date and time with its zone or offset, past or not; `zone` is meant where none is written.

    Raises ValueError for anything else.
    """
    found = _MOMENT.fullmatch(" ".join(text.split()))
    if found is None or "-" not in (found["day"] or "") or not (zone or found["offset"] or found["zone"]):
        raise ValueError(f"{text[:40]!r} should be a date and a time with their zone, for instance 2026-12-24 18:00 Europe/Berlin")
    try:
        return _placed(_date(found["day"]), found, zone or UTC)
    except OverflowError:
        raise ValueError(f"{text[:40]!r} is outside the calendar") from None


def shown(at: datetime, zone: tzinfo) -> str:
    """The instant to the minute, for people and as `moment` reads it; in the second of two equal hours with its offset."""
    local = at.astimezone(zone)
    second = local.utcoffset() != local.replace(fold=0).utcoffset()
    return f"{local:%Y-%m-%d %H:%M}{local.replace(microsecond=0).isoformat()[19:25] if second else ''} {name_of(zone)}"


def clock_time(text: str) -> time:
    """A time of day written as `9:00` or `17:30`; `24:00` is midnight. Raises ValueError."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text[:20]!r} should be a time of day, for instance 9:00 or 17:30")
    hour, minute, second = (int(part or 0) for part in found.groups())
    if (hour, minute, second) == (24, 0, 0):
        return time(0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(f"{text.strip()} is not a time of day; there are 00:00 to 23:59")
    return time(hour, minute, second)


def weekdays(text: str) -> frozenset[int]:
    """Days of the week written as `mon-fri`, `sat, sun` or `daily`; 0 is Monday. Raises ValueError."""
    if text.strip().lower() == "daily":
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = (one.strip() for one in part.partition("-"))
        begin, end = _weekday(first), _weekday(last if dash else first)
        days |= {(begin + n) % 7 for n in range((end - begin) % 7 + 1)}
    return frozenset(days)


def _next(words: str, now: datetime, zone: tzinfo) -> datetime:
    """The next moment that fits the words."""
    found = _MOMENT.fullmatch(words)
    if found is None:
        raise ValueError(f"should be a time such as {EXAMPLES}")
    day = (found["day"] or "").lower()
    if "-" in day:
        return _placed(_date(day), found, zone)
    today = now.astimezone(_zone(found, zone)).date()
    if day in ("today", "tomorrow"):
        return _placed(today + timedelta(days=day == "tomorrow"), found, zone)
    wanted = [_weekday(day)] if day else range(7)
    days = (today + timedelta(days=n) for n in count() if (today.weekday() + n) % 7 in wanted)
    return next(at for at in (_placed(one, found, zone) for one in days) if at >= now)


def _placed(day: date, found: re.Match[str], zone: tzinfo) -> datetime:
    """The instant of the time that was found, on a day. An offset beside a zone says which of two equal hours is meant."""
    until_midnight = found["time"].startswith("24")
    clock, own = clock_time(found["time"]), _zone(found, zone)
    at = resolved(datetime.combine(day + timedelta(days=until_midnight), clock), own)
    if found["zone"] and found["offset"] and at.astimezone(zone_of(found["zone"])).utcoffset() != own.utcoffset(None):
        raise ValueError(f"has the offset {found['offset']}, which {found['zone']} does not have then")
    return at


def _zone(found: re.Match[str], zone: tzinfo) -> tzinfo:
    """The zone that what was found is meant in; an offset says it best."""
    if offset := found["offset"]:
        hours, minutes = (0, 0) if offset == "Z" else (int(offset[1:3]), int(offset[-2:]))
        if hours > 23 or minutes > 59:
            raise ValueError(f"{offset} is not an offset from UTC")
        return timezone(timedelta(hours=hours, minutes=minutes) * (-1 if offset[0] == "-" else 1))
    return zone_of(found["zone"]) if found["zone"] else zone


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text} is not a day of the calendar") from None


def _weekday(text: str) -> int:
    name = text.lower()
    found = next((n for n, day in enumerate(DAYS) if len(name) >= 3 and day.startswith(name)), None)
    if found is None:
        raise ValueError(f"{text[:20]!r} should be a day of the week, such as mon or friday")
    return found
