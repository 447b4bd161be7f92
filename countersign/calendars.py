"""Windows and freezes by the clocks of a time zone, and the written rule for local times that exist twice or not at all. Pure.

Where clocks are set forward a local time does not exist, and the first instant after the gap stands for it. Where they are set back a
local time exists twice, and its first occurrence counts. Every instant that is returned is in UTC, because Python compares two moments of
the same zone without regard to which of two equal hours they are in.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache
from importlib.resources import files
from itertools import count
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
FARTHEST: Final = timedelta(days=366)
_ZONE_PARTS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-")


@dataclass(frozen=True)
class Window:
    """When something may begin: from `opens` to `closes` on `days` (0 is Monday), except on the dates `closed`, by the clocks of `zone`.

    Where `closes` is not later than `opens`, it is on the next day; the window belongs to the day on which it opens.
    """

    name: str
    days: frozenset[int]
    opens: time
    closes: time
    zone: tzinfo
    closed: frozenset[date] = frozenset()

    def __post_init__(self) -> None:
        if not self.days or not self.days <= set(range(7)):
            raise TypeError(f"Window({self.name!r}): days should be some of 0 (Monday) to 6")

    def is_open(self, at: datetime) -> bool:
        """Whether the instant is inside; the instant of closing is not."""
        return any(begins <= at < ends for begins, ends in self._spans(at, range(-1, 2)))

    def next_opening(self, at: datetime) -> datetime:
        """The instant itself when it is inside, else the first one after it that is."""
        if self.is_open(at):
            return at.astimezone(UTC)
        return next(begins for begins, ends in self._spans(at, count(-1)) if at <= begins < ends)

    def __str__(self) -> str:
        return f"{self.name} ({_days(self.days)} {self.opens:%H:%M}–{_closing(self.closes)} {name_of(self.zone)})"

    def _spans(self, at: datetime, days: Iterable[int]) -> Iterator[tuple[datetime, datetime]]:
        """From when to when it is open, counted in days from today. The days around count too: a zone may have a midnight twice."""
        today = at.astimezone(self.zone).date()
        for n in days:
            day = today + timedelta(days=n)
            if day.weekday() in self.days and day not in self.closed:
                until = day if self.closes > self.opens else day + timedelta(days=1)
                yield resolved(datetime.combine(day, self.opens), self.zone), resolved(datetime.combine(until, self.closes), self.zone)


@dataclass(frozen=True)
class Freeze:
    """A time during which something may begin only if the freeze's own approvers say so; `ends` is the first instant after it."""

    name: str
    begins: datetime
    ends: datetime

    def covers(self, at: datetime) -> bool:
        return self.begins <= at < self.ends


def resolved(naive: datetime, zone: tzinfo) -> datetime:
    """The instant at which clocks in the zone read this: the first of two, or the first one after a gap that leaves it out.

    Raises OverflowError for what lies outside the years 1 to 9999 in UTC.
    """
    found, before = (naive.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    while found - before > timedelta.resolution:  # only in a gap is the second reading the earlier one
        middle = before + (found - before) / 2
        if middle.astimezone(zone).replace(tzinfo=None) >= naive:
            found = middle
        else:
            before = middle
    return found


def first_opening(windows: Iterable[Window], at: datetime) -> datetime | None:
    """The first instant from `at` on at which all the windows are open; None when there is none within 366 days."""
    found, wanted = at.astimezone(UTC), list(windows)
    while found - at <= FARTHEST:
        latest = max((one.next_opening(found) for one in wanted), default=found)
        if latest == found:
            return found
        found = latest
    return None


@cache
def zone_of(name: str) -> ZoneInfo:
    """The time zone of this IANA name; raises ValueError when there is none.

    The pinned package tzdata goes before the machine's own files, so that all processes know the same clocks.
    """
    parts = name.split("/")
    if all(part and _ZONE_PARTS.issuperset(part) for part in parts):
        with suppress(ModuleNotFoundError, OSError, ValueError), files("tzdata").joinpath("zoneinfo", *parts).open("rb") as file:
            return ZoneInfo.from_file(file, key=name)
        with suppress(ZoneInfoNotFoundError, OSError, ValueError):
            return ZoneInfo(name)
    raise ValueError(f"there is no time zone {name[:40]!r}; one is written as Europe/Berlin")


def name_of(zone: tzinfo) -> str:
    """The zone's name, as it is shown and can be read again."""
    return getattr(zone, "key", None) or str(zone)


def _closing(closes: time) -> str:
    return "24:00" if closes == time(0) else f"{closes:%H:%M}"


def _days(days: frozenset[int]) -> str:
    """The days by their short names, a run of three or more as a range."""
    if len(days) == len(DAYS):
        return "daily"
    runs: list[list[int]] = []
    for day in sorted(days):
        if runs and day == runs[-1][-1] + 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    short = [name[:3] for name in DAYS]
    return ",".join(f"{short[one[0]]}-{short[one[-1]]}" if len(one) > 2 else ",".join(short[day] for day in one) for one in runs)
