"""usage report and catalogue: how the last days went, and which commands their owners should look at; a schedule makes them regular."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from commands.catalogues import marks_of
from commands.policies import AUDIT
from commands.savings import Saving, by_command, estimates, total
from countersign import Bar, Chart, Duration, Part, Picture, PlanningContext, Reply, Tone, command
from countersign.calendars import zone_of
from countersign.errors import BadArgument
from countersign.runs import RunStatus
from store.figures import USED_DAYS, find_approvals, find_ends, find_savings, find_used

LONGEST: Final = 90
GOOD: Final = (RunStatus.succeeded, RunStatus.answered)
BAD: Final = (RunStatus.failed, RunStatus.rolled_back, RunStatus.rollback_failed)
MOST: Final = 5
PARTS: Final = (
    Part(name="succeeded or answered", tone=Tone.good),
    Part(name="failed", tone=Tone.bad),
    Part(name="other", tone=Tone.neutral),
)


@dataclass(frozen=True)
class Ends:
    """How the runs of a command ended, or of several."""

    name: str
    by_status: Mapping[str, int]

    @property
    def asked(self) -> int:
        return sum(self.by_status.values())

    @property
    def good(self) -> int:
        return sum(self.by_status.get(one, 0) for one in GOOD)

    @property
    def bad(self) -> int:
        return sum(self.by_status.get(one, 0) for one in BAD)

    @property
    def told(self) -> str:
        return f"{self.asked}, {self.bad} failed" if self.bad else f"{self.asked}"


@command("usage report", permission=AUDIT, risk="read", visibility="private", quiet=True)
async def report(ctx: PlanningContext, days: int = 7) -> Reply:
    """Tell how the last DAYS days went: runs, approvals, what expired or was interrupted, and the time that was saved.

    Chats that show files get a picture of it too. To have it in a channel every week:
    schedule add weekly "0 9 * * 1" "usage report" ACCOUNT channel=#ops
    """
    if not 1 <= days <= LONGEST:
        raise BadArgument("days", f"should be from 1 to {LONGEST}")
    saves, since = estimates(ctx.services.rulebook.registry.commands), ctx.now - timedelta(days=days)
    async with ctx.services.reading() as session:
        found = await find_ends(session, since, ctx.now)  # without this one
        approvals = await find_approvals(session, since)
        savings = await find_savings(session, since, zone=ctx.asker.timezone, commands=list(saves))
    whole, ends = _together("", found.values()), _ends(found)
    saved, commands = total(savings, saves), {name: one for name, one in by_command(savings, saves).items() if one.good}
    lines = [*_runs(whole, ends), *_approvals(approvals), *(_savings(saved, commands) if saves else ())]
    title, zone = f"The last {days} days", zone_of(ctx.asker.timezone)
    charts = (_runs_chart(whole, ends), _approvals_chart(approvals), *([_savings_chart(saved, commands)] if saves else []))
    data: dict[str, Any] = {"days": days, "runs": whole.by_status, "commands": found, "hours_saved": saved.hours}
    return Reply(
        text=f"{title}:",
        code="\n".join(lines),
        picture=Picture(title=title, aside=_span(since.astimezone(zone), ctx.now.astimezone(zone), zone.key), charts=charts),
        data=data | {"decided": approvals.decided, "expired": approvals.expired},
    )


@command("catalogue", permission=AUDIT, risk="read", visibility="private", quiet=True)
async def catalogue(ctx: PlanningContext, owner: str = "") -> Reply:
    """Tell which commands their OWNER, or anybody, should look at: unused, ownerless, mostly failing, deprecated or retired.

    To have it in a channel every month: schedule add catalogue "0 9 1 * *" catalogue ACCOUNT channel=#ops
    """
    commands = sorted(ctx.services.rulebook.registry.commands.values(), key=lambda one: one.name)
    wanted = [one for one in commands if one.kind == "command" and (not owner or one.owner == owner)]
    async with ctx.services.reading() as session:
        used = await find_used(session, [one.name for one in wanted])
    marked = [(one, marks) for one in wanted if (marks := marks_of(one, used[one.name]))]
    if not marked:
        return Reply(text=f"There is nothing to look at{f' for {owner}' if owner else ''}.")
    lines = [f"{one.name:<24}{one.owner or 'nobody':<16}{_last(used[one.name])}  {'; '.join(marks)}" for one, marks in marked]
    data = {"commands": [{"command": one.name, "owner": one.owner, "marks": marks} for one, marks in marked]}
    return Reply(text=f"To look at, by what happened in the last {USED_DAYS} days:", code="\n".join(lines), data=data)


def _last(used: Any) -> str:
    return f"last asked {used.last_at:%Y-%m-%d}" if used.last_at else "not asked for     "


def _span(since: datetime, until: datetime, zone: str) -> str:
    return f"{since:%d %b %H:%M} until {until:%d %b %Y %H:%M}, {zone}"


def _together(name: str, ends: Iterable[Mapping[str, int]]) -> Ends:
    by_status: Counter[str] = Counter()
    for one in ends:
        by_status.update(one)
    return Ends(name, dict(sorted(by_status.items())))


def _ends(found: Mapping[str, Mapping[str, int]]) -> list[Ends]:
    """The commands that were asked for most, and all others together."""
    ends = sorted((Ends(name, one) for name, one in found.items()), key=lambda one: (-one.asked, one.name))
    rest = ends[MOST:]
    return ends if len(rest) < 2 else [*ends[:MOST], _together(f"{len(rest)} others", [one.by_status for one in rest])]


def _runs(whole: Ends, ends: Sequence[Ends]) -> Iterator[str]:
    yield f"runs         {_summary(whole)}"
    yield from (f"             {one.asked:>6}    {one.name}{f', {one.bad} failed' if one.bad else ''}" for one in ends)
    if stuck := whole.by_status.get(RunStatus.interrupted, 0):
        yield f"interrupted  {stuck} wait for somebody to say what happened: /runs?status=interrupted"


def _summary(whole: Ends) -> str:
    refused = whole.by_status.get(RunStatus.refused, 0)
    return f"{whole.asked} asked, {whole.good} succeeded or answered, {whole.bad} failed, {refused} refused"


def _runs_chart(whole: Ends, ends: Sequence[Ends]) -> Chart:
    bars = tuple(Bar(label=one.name, values=(one.good, one.bad, one.asked - one.good - one.bad), told=one.told) for one in ends)
    aside = _summary(whole) if bars else ""
    return Chart(title="Runs by command", aside=aside, parts=PARTS, bars=bars, nothing="Nothing was asked for.")


def _approvals(found: Any) -> Iterator[str]:
    if not found.decided and not found.expired:
        return
    took = f", half of them within {_length(found.median)}, nine of ten within {_length(found.nine_of_ten)}" if found.decided else ""
    yield f"approvals    {found.decided} decided{took}; {found.denied} denied, {found.expired} expired"


def _approvals_chart(found: Any) -> Chart:
    shares = (("half of them", found.median), ("nine of ten", found.nine_of_ten)) if found.decided else ()
    bars = tuple(Bar(label=label, values=(seconds,), told=f"within {_length(seconds)}") for label, seconds in shares)
    aside = f"{found.decided} decided, {found.denied} of them denied; {found.expired} expired" if found.decided or found.expired else ""
    return Chart(title="Time to a decision", aside=aside, bars=bars, nothing="Nothing was decided.")


def _savings(saved: Saving, commands: Mapping[str, Saving]) -> Iterator[str]:
    failed = f"; {saved.bad} that failed saved nothing" if saved.bad else ""
    yield f"time saved   {saved.hours} hours by {saved.good} runs for {len(saved.people)} people, as authors estimate{failed}"
    yield from (f"             {one.hours:>6} h  {name}" for name, one in list(commands.items())[:MOST])


def _savings_chart(saved: Saving, commands: Mapping[str, Saving]) -> Chart:
    bars = tuple(Bar(label=name, values=(one.hours,), told=f"{one.hours} h") for name, one in list(commands.items())[:MOST])
    aside = f"{saved.hours} hours by {saved.good} runs for {len(saved.people)} people, as authors estimate" if bars else ""
    return Chart(title="Time saved", aside=aside, bars=bars, nothing="No run saved any.")


def _length(seconds: float) -> str:
    return str(Duration(seconds=max(1, round(seconds))))
