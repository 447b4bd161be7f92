"""break-glass and review, as one types them."""

from commands.breaking import BREAK_GLASS, Breaking, break_glass, sign
from commands.controls import ControlContext
from commands.inboxes import reviews_for
from commands.policies import USE
from countersign.commands import control
from countersign.replies import Reply

from .histories import find_visible


@control("break-glass", permission=BREAK_GLASS)
async def break_it(ctx: ControlContext, number: str, target: str, reason: str = "") -> Reply:
    """In an emergency: start a run without its approvers. TARGET is what it is about, typed again; say why with --reason.

    Everybody who was passed over and all admins are told at once, and somebody who was not involved has to review it.
    """
    run = await find_visible(ctx, number)
    one = Breaking(run.id, target, reason or ctx.invocation.reason, ctx.invocation.door)
    answer = await break_glass(ctx.session, ctx.rulebook, ctx.person, one, fallback="room")
    return Reply(text=answer.sentence)


@control("review", permission=USE)
async def review(ctx: ControlContext, number: str, finding: str) -> Reply:
    """Sign the review of a run that went past its approvers: say in a sentence what you found."""
    run = await find_visible(ctx, number)
    answer = await sign(ctx.session, ctx.rulebook, ctx.person, run, finding, door=ctx.invocation.door)
    return Reply(text=answer.sentence)


@control("reviews", permission=USE)
async def reviews(ctx: ControlContext) -> Reply:
    """List the runs that went past their approvers and wait for somebody's review."""
    found = await reviews_for(ctx.session, ctx.rulebook, ctx.person)
    if not found:
        return Reply(text="No review waits for you.")
    lines = [f"#{one.run.number:<6}{one.run.command:<20}since {one.row.opened_at:%Y-%m-%d %H:%M} UTC" for one in found]
    return Reply(text='These wait for a review: review NUMBER "what you found"', code="\n".join(lines))
