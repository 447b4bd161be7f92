"""savings: how much of people's time runs saved, by what the authors of commands say one run saves. Only what succeeded counts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from countersign.commands import Command

NOBODYS = "in no group"
_HOUR = timedelta(hours=1)


@dataclass
class Saving:
    """What was saved: the time, the runs that succeeded, those that failed and save nothing, and who asked."""

    time: timedelta = timedelta()
    good: int = 0
    bad: int = 0
    people: set[str] = field(default_factory=set)

    @property
    def hours(self) -> float:
        return round(self.time / _HOUR, 1)

    def add(self, row: Any, saves: timedelta) -> None:
        self.time += row.good * saves
        self.good += row.good
        self.bad += row.bad
        self.people.add(row.asker)


def estimates(commands: Mapping[str, Command]) -> dict[str, timedelta]:
    """How much one run saves, of the commands that say so."""
    return {name: one.saves for name, one in commands.items() if one.saves}


def by_command(rows: Iterable[Any], saves: Mapping[str, timedelta]) -> dict[str, Saving]:
    """What each command saved, the most first."""
    return _sums(((row.command, row) for row in rows), saves)


def by_month(rows: Iterable[Any], saves: Mapping[str, timedelta]) -> dict[str, Saving]:
    """What was saved in each month, the earliest first."""
    return dict(sorted(_sums(((row.month, row) for row in rows), saves).items()))


def by_group(rows: Iterable[Any], saves: Mapping[str, timedelta], groups: Mapping[str, Sequence[str]]) -> dict[str, Saving]:
    """What was saved for the people of each group; `groups` are those of each person, and who is in several is counted in each."""
    return _sums(((group, row) for row in rows for group in groups.get(row.asker) or (NOBODYS,)), saves)


def total(rows: Iterable[Any], saves: Mapping[str, timedelta]) -> Saving:
    """Everything together."""
    found = Saving()
    for row in rows:
        found.add(row, saves[row.command])
    return found


def _sums(pairs: Iterable[tuple[str, Any]], saves: Mapping[str, timedelta]) -> dict[str, Saving]:
    found: dict[str, Saving] = {}
    for name, row in pairs:
        found.setdefault(name, Saving()).add(row, saves[row.command])
    return dict(sorted(found.items(), key=lambda one: (-one[1].time, one[0])))
