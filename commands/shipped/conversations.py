"""comment, ask and answer: what people say about a request stands under its card."""

from commands.controls import ControlContext
from commands.converse import answer_question, ask, comment
from countersign.commands import control
from countersign.replies import Reply

from .histories import find_visible


@control("comment", quiet=True)
async def comment_on(ctx: ControlContext, number: str, text: str) -> Reply:
    """Say something about a run; it stands under every card of it."""
    run = await find_visible(ctx, number)
    return Reply(text=(await comment(ctx.session, ctx.rulebook, ctx.person, run.id, words=text, door=ctx.invocation.door)).sentence)


@control("ask", quiet=True)
async def ask_about(ctx: ControlContext, number: str, question: str) -> Reply:
    """Ask whoever asked for a run something before you decide; the answer comes to you and stands under the card."""
    run = await find_visible(ctx, number)
    return Reply(text=(await ask(ctx.session, ctx.rulebook, ctx.person, run.id, words=question, door=ctx.invocation.door)).sentence)


@control("answer", quiet=True)
async def answer_about(ctx: ControlContext, number: str, text: str) -> Reply:
    """Answer the first question about your run that nobody has answered."""
    run = await find_visible(ctx, number)
    answer = await answer_question(ctx.session, ctx.rulebook, ctx.person, run.id, words=text, door=ctx.invocation.door)
    return Reply(text=answer.sentence)
