"""task answer and task assign: what a step asks people to do, as one types it."""

import json
from typing import Any

from commands import tasks
from commands.authorizing import Refused
from commands.controls import ControlContext
from commands.taskcards import card_of_task, direct_answer
from commands.tasks import Task, read_task
from countersign.commands import control
from countersign.errors import BadArgument, CountersignError
from countersign.replies import Reply
from store.runs import find_by_reference
from store.tasks import find_run_tasks

from .histories import find_visible


@control("task answer", quiet=True)
async def task_answer(ctx: ControlContext, number: str, answer: str = "") -> Reply:
    """Answer what a run asks you: a choice, a note when something is done, or a form's answers as JSON; without one it is shown."""
    task = await _task(ctx, number)
    given = _given(task, answer)
    if given is None:
        return Reply(card=card_of_task(task.row, task.run))
    said = await tasks.answer(ctx.session, ctx.rulebook, ctx.person, task.row.id, answers=given, door=ctx.invocation.door)
    return Reply(text=said.sentence)


@control("task assign", quiet=True)
async def task_assign(ctx: ControlContext, number: str, to: list[str]) -> Reply:
    """Have somebody else asked instead: a person, a @group, or several with commas between them."""
    task = await _task(ctx, number)
    return Reply(text=(await tasks.assign(ctx.session, ctx.rulebook, ctx.person, task.row.id, to=to, door=ctx.invocation.door)).sentence)


async def _task(ctx: ControlContext, reference: str) -> Task:
    """The first open task of a run that is asked of this person, else the first that they may know of."""
    run = await find_by_reference(ctx.session, reference)
    rows = await find_run_tasks(ctx.session, run.id, revision=run.revision) if run else []
    found = [await read_task(ctx.session, ctx.rulebook, ctx.person, row, run) for row in rows] if run else []
    known = [one for one in found if not isinstance(one.refused(), Refused)] or [one for one in found if one.open and one.seen]
    if not known:
        seen = await find_visible(ctx, reference)  # in the same words where there is none and where it may not be seen
        raise CountersignError(f"Run #{seen.number} asks nothing.")
    return known[0]


def _given(task: Task, text: str) -> dict[str, Any] | None:
    """The answers that the words stand for; None when there is only a form to be shown."""
    asked = task.asked
    if asked.kind == "done":
        return {"note": text} if text else direct_answer(asked, "done")
    if not text:
        return None
    if asked.kind == "choice":
        return {"choice": text}
    try:
        answers = json.loads(text)
    except ValueError:
        answers = None
    if not isinstance(answers, dict):
        names = ", ".join(one.name for one in asked.questions)[:300]
        raise BadArgument("answer", f"should be a JSON object with {names}")
    return answers
