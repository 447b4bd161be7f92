"""Lists of runs that somebody has open: kept current from the runs that changed, and made once for all who see the same."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from markupsafe import Markup

from bot.hubs import Hub
from bot.together import Together
from countersign.runs import RunStatus
from store.databases import ReadSession
from store.listings import Wanted, find_listed
from store.runs import RunRow, find_runs

from .frames import Here
from .pages import region_part, row_part

SHOWN: Final = 50
MOST_PARTS: Final = 2_000
# Whether a run is in the list its own row says; what depends on words, days and groups is read again by each page.
FOLLOWED: Final = frozenset({"command", "asker", "door", "status"})
Filters = tuple[tuple[str, str], ...]


@dataclass
class _List:
    """The newest rows of a list, newest first, and what has changed since they were read."""

    wanted: Wanted
    rows: Sequence[RunRow] | None = None
    changed: set[UUID] = field(default_factory=set)
    watchers: int = 0

    def takes(self, changed: Mapping[UUID, RunRow]) -> bool:
        """Puts in what changed; False when one has left the list, and which comes after its last one has to be read.

        What is not among them has changed since they were read, and comes next time.
        """
        rows = {one.number: one for one in self.rows or ()}
        before = len(rows)
        for id_ in self.changed & changed.keys():
            run = changed[id_]
            if fits(self.wanted, run):
                rows[run.number] = run
            else:
                rows.pop(run.number, None)
        self.changed -= changed.keys()
        self.rows = sorted(rows.values(), key=lambda one: -one.number)[: SHOWN + 1]
        return len(self.rows) >= min(before, SHOWN + 1)


def fits(wanted: Wanted, run: RunRow) -> bool:
    """Whether a run is like this, as far as the FOLLOWED say."""
    return (
        wanted.command in ("", run.command)
        and (wanted.askers is None or run.asker in wanted.askers)
        and wanted.door in ("", run.door)
        and (not wanted.statuses or RunStatus(run.status) in wanted.statuses)
    )


class Follows:
    """One per web process."""

    def __init__(self, hub: Callable[[], Hub]) -> None:
        self._hub = hub
        self._lists: dict[Filters, _List] = {}
        self._together: Together[Filters, Sequence[RunRow]] = Together(hub, self._read)
        self._parts: dict[tuple[UUID, datetime, str], Markup] = {}
        self._regions: dict[tuple[Filters, str], tuple[tuple[object, ...], str]] = {}

    @contextmanager
    def following(self, filters: Filters, wanted: Wanted) -> Iterator[None]:
        """Somebody has this list open."""
        one = self._lists.setdefault(filters, _List(wanted))
        one.watchers += 1
        try:
            yield
        finally:
            one.watchers -= 1
            if not one.watchers:
                self._lists.pop(filters, None)
                self._regions = {key: region for key, region in self._regions.items() if key[0] != filters}

    async def part(self, here: Here, filters: Filters, changed: Collection[UUID]) -> str | None:
        """The list with these runs as they are now, for everybody in the reader's time zone; None if not everybody sees all of it."""
        self._lists[filters].changed.update(changed)
        rows = await self._together.get(filters)
        if any(one.visibility != "staff" for one in rows):
            return None
        zone = f"{here.zone.key} {datetime.now(here.zone):%Y-%m-%d}"  # today is told without its date
        state = tuple((one.number, one.moved_at) for one in rows)
        known = self._regions.get((filters, zone))
        if known is None or known[0] != state:
            known = self._regions[filters, zone] = (state, self._made(here.for_all, zone, rows))
        return known[1]

    async def _read(self, asked: frozenset[Filters]) -> Mapping[Filters, Sequence[RunRow]]:
        async def read(session: ReadSession) -> Mapping[Filters, Sequence[RunRow]]:
            lists = {one: self._lists[one] for one in asked if one in self._lists}
            ids = {id_ for one in lists.values() if one.rows is not None for id_ in one.changed}
            changed = await find_runs(session, list(ids)) if ids else {}
            for one in lists.values():
                if one.rows is None or not one.takes(changed):
                    one.changed.clear()
                    one.rows = await find_listed(session, one.wanted, limit=SHOWN + 1)
            return {name: one.rows or () for name, one in lists.items()}

        found = await self._hub().read(read)
        return {one: found.get(one, ()) for one in asked}

    def _made(self, here: Here, zone: str, rows: Sequence[RunRow]) -> str:
        shown = rows[:SHOWN]
        parts = [self._row(here, zone, one) for one in shown]
        more = shown[-1].number if len(rows) > SHOWN else None
        return region_part("runs.html", here=here, rows=parts, more=more, lag=0, before=None)

    def _row(self, here: Here, zone: str, run: RunRow) -> Markup:
        key = (run.id, run.moved_at, zone)
        if key not in self._parts:
            self._parts[key] = row_part(here, run)
            while len(self._parts) > MOST_PARTS:
                self._parts.pop(next(iter(self._parts)))
        return self._parts[key]
