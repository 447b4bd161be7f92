"""approve, deny, cancel and pause, as one types them."""

from commands.authorizing import Refused
from commands.cancel import cancel
from commands.controls import ControlContext
from commands.decide import Vote, decide
from commands.pause import pause, unpause
from countersign.commands import control
from countersign.replies import Reply
from countersign.tallies import Verdict

from .histories import find_visible


@control("approve")
async def approve(ctx: ControlContext, number: str, reason: str = "", at: str = "") -> Reply:
    """Approve the plan of a run as it is now; `at` lets it start at a later time than was asked for."""
    return await _say(ctx, number, Verdict.approve, reason, at=at)


@control("deny")
async def deny(ctx: ControlContext, number: str, reason: str = "") -> Reply:
    """Deny the plan of a run; say why, so that the asker can act on it."""
    return await _say(ctx, number, Verdict.deny, reason)


@control("cancel")
async def cancel_run(ctx: ControlContext, number: str) -> Reply:
    """Cancel a run: before it starts nothing happens; while it runs it stops and what was done is offered to be undone."""
    row = await find_visible(ctx, number)
    answer = await cancel(ctx.session, ctx.rulebook, ctx.person, row.id, door=ctx.invocation.door)
    return Reply(text=answer.sentence)


@control("pause")
async def pause_run(ctx: ControlContext, number: str) -> Reply:
    """Have a run stop before its next step, until somebody lets it go on with unpause."""
    row = await find_visible(ctx, number)
    return Reply(text=(await pause(ctx.session, ctx.rulebook, ctx.person, row.id, door=ctx.invocation.door)).sentence)


@control("unpause")
async def unpause_run(ctx: ControlContext, number: str) -> Reply:
    """Let a paused run go on."""
    row = await find_visible(ctx, number)
    return Reply(text=(await unpause(ctx.session, ctx.rulebook, ctx.person, row.id, door=ctx.invocation.door)).sentence)


async def _say(ctx: ControlContext, number: str, verdict: Verdict, reason: str, *, at: str = "") -> Reply:
    row = await find_visible(ctx, number)
    vote = Vote(row.id, verdict, ctx.invocation.door, reason=reason or ctx.invocation.reason, start_at=at)
    answer = await decide(ctx.session, ctx.rulebook, ctx.person, vote)
    return Reply(text=answer.sentence if isinstance(answer, Refused) else f"#{row.number}: {answer.sentence}")
