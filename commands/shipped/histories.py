"""runs, run and audit: what happened, for those who may see it."""

from commands.authorizing import Refused, Request, authorize
from commands.controls import ControlContext
from commands.stories import tell
from commands.voting import readable_by
from commands.waits import briefly
from countersign.commands import control
from countersign.errors import CountersignError
from countersign.replies import Reply
from store.audits import find_trail, search
from store.runs import RunRow, find_by_reference, search_runs


@control("runs")
async def runs(ctx: ControlContext, command: str = "", mine: bool = False) -> Reply:
    """List the latest runs, of one command or only your own."""
    found = await search_runs(ctx.session, command=command or None, asker=ctx.person.name if mine else None, limit=40)
    seen = (await readable_by(ctx.session, ctx.rulebook, ctx.person, found))[:15]
    if not seen:
        return Reply(text="There are no runs yet." if not command else f"There are no runs of {command[:40]} yet.")
    waits = await briefly(ctx.session, seen)
    lines = [f"#{one.number:<6}{one.status.replace('_', ' '):<19}{one.asker:<12}{_asked(one)}{_waiting(waits.get(one.id))}" for one in seen]
    return Reply(text="The latest runs. For one of them: run NUMBER", code="\n".join(lines))


@control("run")
async def run(ctx: ControlContext, number: str) -> Reply:
    """Show one run: its plan, its decisions, its steps and the end of its log."""
    row = await find_visible(ctx, number)
    return Reply(card=await tell(ctx.session, row, rulebook=ctx.rulebook, details=True))


@control("audit", permission="countersign:audit")
async def audit(ctx: ControlContext, number: str = "") -> Reply:
    """Show the audit trail of one run, or the latest events of all."""
    if number:
        row = await find_visible(ctx, number)
        events = await find_trail(ctx.session, row.id)
    else:
        _must_hold(ctx, "countersign:audit")
        events = (await search(ctx.session, limit=20))[::-1]
    lines = [f"{one.at:%Y-%m-%d %H:%M:%S}  {one.kind:<24}{one.actor:<12}{_noted(one.detail)}" for one in events]
    return Reply(text=f"{len(lines)} events, oldest first (UTC).", code="\n".join(lines)[-2_800:])


async def find_visible(ctx: ControlContext, reference: str) -> RunRow:
    """The run meant, if this person may see it; raises CountersignError with the same sentence for unknown and hidden ones."""
    row = await find_by_reference(ctx.session, reference)
    if row is None or not await readable_by(ctx.session, ctx.rulebook, ctx.person, [row]):
        raise CountersignError("There is no such run.")
    return row


def _must_hold(ctx: ControlContext, permission: str) -> None:
    request = Request(permission=permission, door=ctx.invocation.door, place=ctx.invocation.place)
    answer = authorize(ctx.rulebook.policy, ctx.person, request)
    if isinstance(answer, Refused):
        raise CountersignError(answer.sentence)


def _asked(row: RunRow) -> str:
    shown = " ".join(
        f"{name}={value}" for name, value in row.arguments.items() if row.visibility == "staff" and not isinstance(value, dict)
    )
    return f"{row.command} {shown}"[:60]


def _waiting(said: str | None) -> str:
    return f"  (waits: {said[:120]})" if said else ""


def _noted(detail: dict[str, object]) -> str:
    for name in ("because", "refused", "reason", "error", "step", "choice", "command"):
        if detail.get(name):
            return str(detail[name])[:50]
    return ""
