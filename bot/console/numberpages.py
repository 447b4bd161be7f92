"""Numbers, for admins and auditors: what runs, how it ends, who decides and how soon. Each chart has its table, and its data as CSV."""

import csv
import io
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from bot.api.problems import Problem
from bot.hubs import Hub
from commands.rulebooks import Rulebook
from commands.savings import Saving, by_command, by_group, by_month, estimates
from countersign.replies import Bar, Chart, Part, Tone
from store.databases import ReadSession
from store.figures import find_commands, find_days, find_deciders, find_savings
from store.levels import DECISION, find_levels
from store.people import find_people

from .frames import Frame, framed, here_of
from .pages import framed_page
from .panes import reads_all, refuse

router = APIRouter(include_in_schema=False)
MOST_DAYS: Final = 90
BARS: Final = 20
MINUTE: Final = 60
# What a spreadsheet would take for a formula.
FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")
Days = Annotated[int, Query(ge=1, le=MOST_DAYS)]


@dataclass(frozen=True)
class Table:
    """A table whose second column, a number, is drawn as bars.

    Where there is `bad`, the column of the part that went wrong, the third column is the part that went well.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | int | float]]
    bad: int = 0
    aside: str = ""
    tone: Tone = Tone.busy

    @property
    def chart(self) -> Chart:
        bars = tuple(Bar(label=str(row[0]), values=self._values(row), told=self._told(row)) for row in self.rows)
        if not self.bad:
            return Chart(title=self.title, parts=(Part(tone=self.tone),), bars=bars)
        good, bad = (self.head[one].lower() for one in (2, self.bad))
        parts = (Part(name=good, tone=Tone.good), Part(name=bad, tone=Tone.bad), Part(name="other", tone=Tone.neutral))
        return Chart(title=self.title, parts=parts, bars=bars)

    def _values(self, row: Sequence[str | int | float]) -> tuple[float, ...]:
        whole = float(row[1])
        if not self.bad:
            return (whole,)
        good, bad = float(row[2]), float(row[self.bad])
        return good, bad, max(0.0, whole - good - bad)

    def _told(self, row: Sequence[str | int | float]) -> str:
        """The figures with the words they count: `1 vote`, `3 asked, 1 failed`."""
        cells = [1, *([self.bad] if self.bad and row[self.bad] else [])]
        return ", ".join(
            f"{row[one]} {_ONE.get(words, words) if row[one] == 1 else words}" for one in cells for words in [self.head[one].lower()]
        )


@dataclass(frozen=True)
class Span:
    """From when on runs are counted, and where the reader's days begin."""

    session: ReadSession
    since: datetime
    zone: str
    rulebook: Rulebook
    kept: dict[str, Any] = field(default_factory=dict)

    async def commands(self) -> list[Any]:
        """The figures of each command, read once for all charts."""
        if "commands" not in self.kept:
            self.kept["commands"] = await find_commands(self.session, self.since)
        found: list[Any] = self.kept["commands"]
        return found


_ONE: Final = {"votes": "vote", "hours saved": "hour saved", "minutes on average": "minute on average"}
Read = Callable[[Span], Awaitable[Table]]


@router.get("/numbers")
async def show(request: Request, days: Days = 14) -> Response:
    frame = await _allowed(request, days)
    hub: Hub = request.app.state.hub
    since = frame.rulebook.now() - timedelta(days=days)

    async def read(session: ReadSession) -> dict[str, Table]:
        span = Span(session, since, frame.here.zone.key, frame.rulebook)
        return {name: await chart(span) for name, chart in _charts(frame.rulebook).items()}

    return framed_page(request, "numbers.html", frame, tables=await hub.read(read), days=days, spans=(7, 14, 30, MOST_DAYS), bars=BARS)


@router.get("/numbers/{name}.csv")
async def export(request: Request, name: str, days: Days = 14) -> Response:
    frame = await _allowed(request, days)
    chart = CHARTS.get(name)
    if chart is None:
        raise Problem(404, "not_found", "There is no chart of this name.")
    hub: Hub = request.app.state.hub
    since = frame.rulebook.now() - timedelta(days=days)
    found = await hub.read(lambda session: chart(Span(session, since, frame.here.zone.key, frame.rulebook)))
    disposition = f'attachment; filename="{name}.csv"'
    return Response(as_csv(found), media_type="text/csv; charset=utf-8", headers={"content-disposition": disposition})


def as_csv(table: Table) -> str:
    """The table; a text that a spreadsheet would run begins with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(table.head)
    writer.writerows([[_plain(one) for one in row] for row in table.rows])
    return out.getvalue()


def _plain(value: str | int | float) -> str | int | float:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


async def _allowed(request: Request, days: int) -> Frame:
    here = await here_of(request, "/numbers", days=str(days))
    frame = await framed(request, here, "/numbers")
    if not reads_all(frame):
        raise await refuse(request, frame, "Numbers are for admins and auditors: they count runs that not everybody may see.")
    return frame


async def _days(span: Span) -> Table:
    rows = await find_days(span.session, span.since, zone=span.zone)
    told = [(f"{one.day:%Y-%m-%d}", one.asked, one.good, one.bad) for one in rows]
    return Table("Runs by day", ("Day", "Asked", "Succeeded", "Failed"), told, bad=3, aside="Days where you live; without dry runs.")


async def _commands(span: Span) -> Table:
    told = [(one.command, one.asked, one.good, one.bad) for one in await span.commands()]
    return Table("Runs by command", ("Command", "Asked", "Succeeded", "Failed"), told, bad=3)


async def _failures(span: Span) -> Table:
    found = [one for one in await span.commands() if one.bad]
    told = [(one.command, one.bad, round(100 * one.bad / one.asked)) for one in sorted(found, key=lambda one: -one.bad)]
    return Table("Where it fails", ("Command", "Failed", "Share in %"), told, tone=Tone.bad)


async def _deciders(span: Span) -> Table:
    told = [(one.person, one.approved + one.denied, one.approved, one.denied) for one in await find_deciders(span.session, span.since)]
    return Table("Who decides", ("Person", "Votes", "Approved", "Denied"), told, bad=3)


async def _waits(span: Span) -> Table:
    counts: dict[str, tuple[int, float]] = {}
    for one in await find_levels(span.session):
        if one.figure == DECISION:
            count, seconds = counts.get(one.command, (0, 0.0))
            counts[one.command] = (count + one.count, seconds + one.seconds)
    told = [(command, round(seconds / count / MINUTE, 1), count) for command, (count, seconds) in counts.items() if count]
    told.sort(key=lambda one: -one[1])
    return Table(
        "Time to a decision", ("Command", "Minutes on average", "Decided"), told, aside="Since the hub was set up, whatever the days."
    )


async def _saved(span: Span) -> Table:
    rows, saves = await _savings(span)
    return _savings_chart("Time saved by command", "Command", by_command(rows, saves))


async def _saved_months(span: Span) -> Table:
    rows, saves = await _savings(span)
    return _savings_chart("Time saved by month", "Month", by_month(rows, saves))


async def _saved_groups(span: Span) -> Table:
    rows, saves = await _savings(span)
    people = await find_people(span.session, sorted({row.asker for row in rows}))
    groups = {name: sorted(span.rulebook.policy.groups_of(one)) for name, one in people.items()}
    aside = "Who is in several groups is counted in each. Groups are those of now."
    return _savings_chart("Time saved by group", "Group", by_group(rows, saves, groups), aside=aside)


async def _savings(span: Span) -> tuple[list[Any], dict[str, timedelta]]:
    """Read once for the three charts of a page."""
    saves = estimates(span.rulebook.registry.commands)
    if "savings" not in span.kept:
        span.kept["savings"] = await find_savings(span.session, span.since, zone=span.zone, commands=list(saves))
    return span.kept["savings"], saves


def _savings_chart(title: str, what: str, found: Mapping[str, Saving], *, aside: str = "") -> Table:
    told = [(name, one.hours, one.good, one.bad, len(one.people)) for name, one in found.items()]
    honest = "Runs that succeeded, times what the command's author says one saves; what failed saves nothing."
    return Table(title, (what, "Hours saved", "Succeeded", "Failed", "People"), told, aside=f"{honest} {aside}".strip())


def _charts(rulebook: Rulebook) -> Mapping[str, Read]:
    """Those that say something here: of time saved only where a command says what it saves."""
    return _CHARTS | (dict(_SAVED) if estimates(rulebook.registry.commands) else {})


_SAVED: Final[Mapping[str, Read]] = {"saved": _saved, "saved-months": _saved_months, "saved-groups": _saved_groups}
_CHARTS: Final[dict[str, Read]] = {
    "days": _days,
    "commands": _commands,
    "failures": _failures,
    "decisions": _waits,
    "deciders": _deciders,
}
CHARTS: Final = _CHARTS | dict(_SAVED)
"""All of them by name."""
