"""edit, withdraw, takeback and handover: what those concerned do with a request before it is carried out."""

from commands.controls import ControlContext
from commands.edit import Change, edit, edit_form
from commands.handover import hand
from commands.parsing import NotUnderstood, Words, read_changes
from commands.withdraw import take_approval_back, withdraw
from countersign.arguments import Person
from countersign.commands import control
from countersign.errors import CountersignError
from countersign.invocations import Door
from countersign.replies import Form, Reply
from store.runs import RunRow

from .histories import find_visible

_NOTHING = Words()


@control("edit", quiet=True)
async def edit_run(ctx: ControlContext, number: str, changes: Words = _NOTHING) -> Reply:
    """Change what a run asks for before it is carried out, for instance: edit 12 env=prod

    It is planned again and approved anew. Without changes a form asks for them; secrets are changed only there.
    """
    run = await find_visible(ctx, number)
    if changes.all:
        return Reply(text=(await edit(ctx.session, ctx.rulebook, ctx.person, _change(ctx, run, changes))).sentence)
    form = await edit_form(ctx.session, ctx.rulebook, ctx.person, run.id, door=ctx.invocation.door)
    return Reply(text="What is it to be instead?", form=form) if isinstance(form, Form) else Reply(text=form.sentence)


@control("withdraw", quiet=True)
async def withdraw_run(ctx: ControlContext, number: str, reason: str = "") -> Reply:
    """Take your own request back, as long as nothing is carried out."""
    run, why = await find_visible(ctx, number), reason or ctx.invocation.reason
    return Reply(text=(await withdraw(ctx.session, ctx.rulebook, ctx.person, run.id, door=ctx.invocation.door, reason=why)).sentence)


@control("takeback", quiet=True)
async def take_back(ctx: ControlContext, number: str, reason: str = "") -> Reply:
    """Take your own approval of a run back, as long as nothing is carried out."""
    run, why = await find_visible(ctx, number), reason or ctx.invocation.reason
    answer = await take_approval_back(ctx.session, ctx.rulebook, ctx.person, run.id, door=ctx.invocation.door, reason=why)
    return Reply(text=answer.sentence)


@control("handover", quiet=True)
async def hand_over(ctx: ControlContext, number: str, person: Person) -> Reply:
    """Hand your request over to PERSON, who may then change, answer and cancel it; neither of you votes on it."""
    run = await find_visible(ctx, number)
    return Reply(text=(await hand(ctx.session, ctx.rulebook, ctx.person, run.id, to=person, door=ctx.invocation.door)).sentence)


def _change(ctx: ControlContext, run: RunRow, changes: Words) -> Change:
    command = ctx.rulebook.registry.find(run.command)
    if command is None:
        raise CountersignError(f"There is no command {run.command} any more.")
    try:
        given = read_changes(command, changes.all)
    except NotUnderstood as error:
        raise CountersignError(str(error)) from None
    return Change(run.id, given, ctx.invocation.door, in_chat=ctx.invocation.door is not Door.api)
