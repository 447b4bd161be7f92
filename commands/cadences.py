"""When a schedule is due: a cron expression by the clocks of a time zone, or a length of elapsed time. Pure.

Cron reads local time. A time of day that clocks skip is due at the first instant after the gap; one that they show twice, the first time.
Where minute or hour begin with `*` the expression means how often, not when: it goes by elapsed time, through the hour that there is twice
and past the one that there is not. That is what Debian's cron does, whose expressions these are: minute, hour, day of month, month, day of
week; with `*`, lists, ranges, steps, names, `L` and `MON#2`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from heapq import heappop, heappush
from itertools import islice, takewhile
from typing import Any, Final

from cronsim import CronSim, CronSimError

from countersign.arguments import Duration
from countersign.calendars import resolved
from countersign.errors import BadArgument

LONGEST: Final = 100
SHORTEST_INTERVAL: Final = timedelta(minutes=1)
LONGEST_INTERVAL: Final = timedelta(days=366)
EXAMPLES: Final = '"30 2 * * *" (at 2:30), "0 9 * * mon-fri", "every 15m" or @daily'
_NAMED: Final[Mapping[str, str]] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS: Final = (
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31, or L for the last"),
    ("month", "1 to 12, or jan to dec"),
    ("day of the week", "0 to 7, or sun to sat; 0 and 7 are Sunday"),
)
_WRONG: Final = (CronSimError, ValueError, AssertionError)
# No clock was set back by more in our time.
_SHOWN_TWICE: Final = timedelta(hours=3)
_BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Cadence:
    """`text` as it was written; made by `read_cadence`. `every` is set for a length of time, counted from `anchor`."""

    text: str
    zone: tzinfo
    anchor: datetime
    every: timedelta | None = None

    def slots(self, after: datetime) -> Iterator[datetime]:
        """Every instant (UTC, later than `after`) at which it is due, in order; ends where there is none within 50 years."""
        if self.every is not None:
            return self._counted(self.every, after)
        return self._told(after)

    def coming(self, after: datetime, *, count: int = 10) -> list[datetime]:
        """The first ones."""
        return list(islice(self.slots(after), count))

    def within(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Those later than `after` and not later than `until`."""
        return takewhile(lambda one: one <= until, self.slots(after))

    def _counted(self, every: timedelta, after: datetime) -> Iterator[datetime]:
        first = max(0, (after - self.anchor) // every + 1)
        try:
            for n in range(first, 10**9):
                yield self.anchor + n * every
        except OverflowError:
            return

    def _told(self, after: datetime) -> Iterator[datetime]:
        """What clocks show twice comes out of order, and waits until everything that is earlier has come."""
        text, waiting, latest = _NAMED.get(self.text, self.text), list[datetime](), after.astimezone(UTC)
        often = any(field.startswith("*") for field in text.split()[:2])
        with suppress(OverflowError):
            for naive in CronSim(text, after.astimezone(self.zone).replace(tzinfo=None) - _SHOWN_TWICE):
                for one in self._instants(naive, often=often):
                    heappush(waiting, one)
                while waiting and waiting[0] <= naive.replace(tzinfo=self.zone).astimezone(UTC):
                    if (found := heappop(waiting)) > latest:
                        latest = found
                        yield found

    def _instants(self, naive: datetime, *, often: bool) -> Iterable[datetime]:
        """When clocks show this: once by the rule, or with `often` each time, which may be never."""
        if not often:
            return [resolved(naive, self.zone)]
        each = {naive.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
        return [one for one in each if one.astimezone(self.zone).replace(tzinfo=None) == naive]


def read_cadence(text: str, zone: tzinfo, anchor: datetime) -> Cadence:
    """Raises BadArgument for `when`, with what is wrong and where it stands."""
    words = " ".join(text.split())
    if len(words) > LONGEST:
        raise BadArgument("when", f"has more than {LONGEST} characters")
    if words.lower().startswith("every "):
        return Cadence(words, zone, anchor.astimezone(UTC), _interval(words[6:]))
    named = words.lower() in _NAMED
    if words.startswith("@") and not named:
        raise BadArgument("when", f"{words!r} is none of {', '.join(_NAMED)}")
    cadence = Cadence(words.lower() if named else words, zone, anchor.astimezone(UTC))
    if not named and len(words.split()) != len(_FIELDS):
        fields = ", ".join(name for name, _ in _FIELDS)
        raise BadArgument("when", f"{words[:40]!r} should have five fields: {fields}; for instance {EXAMPLES}")
    try:
        CronSim(_NAMED.get(cadence.text, words), _BEGINNING)
    except _WRONG:
        raise BadArgument("when", _complaint(words)) from None
    if not cadence.coming(anchor, count=1):
        raise BadArgument("when", f"{words!r} is never due: there is no such day")
    return cadence


def filled(arguments: Mapping[str, Any], slot: datetime, zone: tzinfo) -> dict[str, Any]:
    """The arguments for one slot: `{date}`, `{time}` and `{slot}` stand for when it was due, by the schedule's own clocks."""
    local = slot.astimezone(zone)
    known = {"{date}": f"{local:%Y-%m-%d}", "{time}": f"{local:%H:%M}", "{slot}": local.isoformat(timespec="minutes")}
    return {name: _with(value, known) for name, value in arguments.items()}


def _with(value: Any, known: Mapping[str, str]) -> Any:
    if not isinstance(value, str):
        return value
    return re.sub(r"\{(?:date|time|slot)\}", lambda found: known[found[0]], value)


def _interval(text: str) -> timedelta:
    try:
        found = Duration.parse(text)
    except ValueError:
        raise BadArgument("when", f"{text[:20]!r} (character 7) should be a length of time, for instance 15m or 6h") from None
    if not SHORTEST_INTERVAL <= found <= LONGEST_INTERVAL:
        raise BadArgument("when", f"every {text[:20]} should be from 1m to 366d")
    return timedelta(seconds=found.total_seconds())


def _complaint(text: str) -> str:
    """What is wrong with it and where: each part of each field is tried by itself."""
    for n, field in enumerate(re.finditer(r"\S+", text)):
        start = field.start()
        for part in field[0].split(","):
            if not _is_right(n, part):
                name, known = _FIELDS[n]
                return f"{part[:20]!r} (character {start + 1}) is no {name}: {known}"
            start += len(part) + 1
    return f"{text!r} is never due: there is no such day in these months"


def _is_right(position: int, part: str) -> bool:
    fields = ["*"] * len(_FIELDS)
    fields[position] = part
    try:
        CronSim(" ".join(fields), _BEGINNING)
    except _WRONG:
        return False
    return True
