"""inbox: what waits for whoever asks."""

from datetime import tzinfo

from commands.controls import ControlContext
from commands.inboxes import Review, Waiting, reviews_for, waiting_for, with_words
from commands.stories import asked
from commands.tasks import Task, tasks_for
from countersign.commands import control
from countersign.replies import Reply

SHOWN = 20


@control("inbox")
async def inbox(ctx: ControlContext, words: str = "") -> Reply:
    """List what waits for your decision, the most urgent first; with WORDS only what has them all."""
    found = await waiting_for(ctx.session, ctx.rulebook, ctx.person, limit=SHOWN, words=words)
    lines = [_line(one, ctx.person.zone) for one in found.waiting]
    reviews = await with_words(ctx.session, await reviews_for(ctx.session, ctx.rulebook, ctx.person), words, number=_number)
    lines += [f"#{one.run.number:<6}to be reviewed  {asked(one.run)[:60]}" for one in reviews]
    tasks = await with_words(ctx.session, await tasks_for(ctx.session, ctx.rulebook, ctx.person, limit=SHOWN), words, number=_number)
    lines += [f"#{one.run.number:<6}{_due(one, ctx.person.zone):<23}{one.run.asker:<12}{one.asked.title[:80]}" for one in tasks]
    if not lines:
        return Reply(text="Nothing with these words waits for you." if words else "Nothing waits for you.")
    how = ["For one of them: run NUMBER", *(["approve NUMBER or deny NUMBER"] if found.waiting else [])]
    how += ['review NUMBER "what you found"'] if reviews else []
    how += ["task answer NUMBER …"] if tasks else []
    more = f" These are the first {SHOWN}." if found.more else ""
    return Reply(text=f"This waits for you, the most urgent first.{more} {'; '.join(how)}", code="\n".join(lines))


def _number(one: Task | Review) -> int:
    return one.run.number


def _due(one: Task, zone: tzinfo) -> str:
    return f"due {one.row.due_at.astimezone(zone):%a %d %b %H:%M}" if one.row.due_at else "to be done"


def _line(one: Waiting, zone: tzinfo) -> str:
    until = f"until {one.request.expires_at.astimezone(zone):%a %d %b %H:%M}"
    whose = f" in the place of {one.on_behalf}" if one.on_behalf else ""
    return f"#{one.run.number:<6}{until:<23}{one.run.asker:<12}{asked(one.run)[:80]}{whose}"
