"""Lists of runs as people look for them: by what was asked, by whom, where, when, how it ended, and by any of its words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text

from countersign.runs import RunStatus

from .databases import ReadSession
from .runs import RunRow, find_runs
from .searches import Words, find_numbers, lexemes


@dataclass(frozen=True)
class Wanted:
    """What a run in the list is like; what is empty does not matter. `arguments` are values as they are written, all of them.

    `askers` are names, any of which will do; `since` and `until` bound when it was asked; every one of `words` begins one of its words.
    """

    command: str = ""
    askers: Sequence[str] | None = None
    door: str = ""
    statuses: Sequence[RunStatus] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None
    badge: str = ""
    words: str = ""

    @property
    def searched(self) -> Words:
        """As words, if no index of the runs' own table tells it; none else."""
        by_both = self.command and self.askers is not None
        if not (self.door or self.statuses or self.arguments or self.badge or self.words or by_both):
            return Words()
        return Words(self.words, tuple(self._exact()))

    def _exact(self) -> Iterator[Sequence[str]]:
        yield from (
            lexemes(name, [value]) for name, value in (("command", self.command), ("door", self.door), ("badge", self.badge)) if value
        )
        if self.statuses:
            yield lexemes("status", self.statuses)
        if self.askers is not None:
            yield lexemes("asker", self.askers) or ["=asker:"]
        yield from ([f"{name}={value}".lower()[:200]] for name, value in self.arguments.items())


def exactly(column: str, value: str) -> str:
    """A condition on the first column of an index whose second is the number, for the newest runs that have this value.

    A plan for any value takes it for a common one, and common ones are soonest found by going through all runs; what is rare or was
    never there would take them all. Said twice it is taken for a rare one.
    """
    return f"{column} = {value} AND {column} BETWEEN {value} AND {value}"


_CONDITIONS: Final = {
    "command": exactly("command", ":command"),
    "askers": exactly("asker", "a.name"),
    "since": "number >= countersign_number_at(:since - interval '1 minute') AND created_at >= :since",
    "until": "number < countersign_number_at(:until + interval '1 minute') AND created_at < :until",
}


async def find_listed(session: ReadSession, wanted: Wanted, *, before: int | None = None, limit: int = 50) -> list[RunRow]:
    """Runs like this, newest first, at most `limit`; `before` is the number of the last one seen."""
    if words := wanted.searched:
        numbers = await find_numbers(session, words, before=before, since=wanted.since, until=wanted.until, limit=limit)
        rows = await session.execute(text("SELECT id FROM runs WHERE number = ANY(:numbers) ORDER BY number DESC"), {"numbers": numbers})
    else:
        rows = await session.execute(*_listing(wanted, before, limit))
    ids = [row.id for row in rows]
    found = await find_runs(session, ids) if ids else {}
    return [found[one] for one in ids if one in found]


def _listing(wanted: Wanted, before: int | None, limit: int) -> tuple[Any, dict[str, Any]]:
    given: dict[str, Any] = {name: getattr(wanted, name) for name in _CONDITIONS if getattr(wanted, name) not in ("", None)}
    conditions = [_CONDITIONS[name] for name in given] + (["number < :before"] if before is not None else [])
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    newest = f"SELECT id, number FROM runs {where} ORDER BY number DESC LIMIT :limit"  # noqa: S608  built from constants
    if wanted.askers is not None:  # each by the index of their own; of several together all runs would be read
        each = f"unnest(cast(:askers AS text[])) a (name) CROSS JOIN LATERAL ({newest}) n"
        newest = f"SELECT n.* FROM {each} ORDER BY number DESC LIMIT :limit"  # noqa: S608  built from constants
    return text(newest), given | ({"before": before} if before is not None else {}) | {"limit": limit}
