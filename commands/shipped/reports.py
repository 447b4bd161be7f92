"""usage report and catalogue: how the last days went, and which commands their owners should look at; a schedule makes them regular."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from commands.catalogues import marks_of
from commands.policies import AUDIT
from commands.savings import Saving, by_command, estimates, total
from countersign import Duration, PlanningContext, Reply, command
from countersign.errors import BadArgument
from countersign.runs import RunStatus
from store.figures import USED_DAYS, find_approvals, find_ends, find_savings, find_used

LONGEST = 90
BAD = (RunStatus.failed, RunStatus.rolled_back, RunStatus.rollback_failed)
MOST = 5


@command("usage report", permission=AUDIT, risk="read", visibility="private", quiet=True)
async def report(ctx: PlanningContext, days: int = 7) -> Reply:
    """Tell how the last DAYS days went: runs, approvals, what expired or was interrupted, and the time that was saved.

    To have it in a channel every week: schedule add weekly "0 9 * * 1" "usage report" ACCOUNT channel=#ops
    """
    if not 1 <= days <= LONGEST:
        raise BadArgument("days", f"should be from 1 to {LONGEST}")
    saves, since = estimates(ctx.services.rulebook.registry.commands), ctx.now - timedelta(days=days)
    async with ctx.services.reading() as session:
        ends = await find_ends(session, since)
        approvals = await find_approvals(session, since)
        savings = await find_savings(session, since, zone=ctx.asker.timezone, commands=list(saves))
    saved, commands = total(savings, saves), by_command(savings, saves)
    lines = [*_runs(ends), *_approvals(approvals), *(_savings(saved, commands) if saves else ())]
    data: dict[str, Any] = {"days": days, "runs": ends, "decided": approvals.decided, "expired": approvals.expired}
    return Reply(text=f"The last {days} days:", code="\n".join(lines), data=data | {"hours_saved": saved.hours})


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


def _runs(ends: Mapping[str, int]) -> Iterator[str]:
    asked = sum(ends.values())
    bad = sum(ends.get(one.value, 0) for one in BAD)
    good = ends.get(RunStatus.succeeded, 0) + ends.get(RunStatus.answered, 0)
    yield f"runs         {asked} asked, {good} succeeded or answered, {bad} failed, {ends.get(RunStatus.refused, 0)} refused"
    if stuck := ends.get(RunStatus.interrupted, 0):
        yield f"interrupted  {stuck} wait for somebody to say what happened: /runs?status=interrupted"


def _approvals(found: Any) -> Iterator[str]:
    if not found.decided and not found.expired:
        return
    took = f", half of them within {_length(found.median)}, nine of ten within {_length(found.nine_of_ten)}" if found.decided else ""
    yield f"approvals    {found.decided} decided{took}; {found.denied} denied, {found.expired} expired"


def _savings(saved: Saving, commands: Mapping[str, Saving]) -> Iterator[str]:
    failed = f"; {saved.bad} that failed saved nothing" if saved.bad else ""
    yield f"time saved   {saved.hours} hours by {saved.good} runs for {len(saved.people)} people, as authors estimate{failed}"
    yield from (f"             {one.hours:>6} h  {name}" for name, one in list(commands.items())[:MOST] if one.good)


def _length(seconds: float) -> str:
    return str(Duration(seconds=max(1, round(seconds))))
