"""A task as it is shown to those who are asked."""

from collections.abc import Sequence
from typing import Any, Final

from countersign.replies import Button, Card, Field, Reply, Tone
from countersign.tasks import Asked
from countersign.values import written
from store.runs import RunRow
from store.tasks import TaskRow

ANSWER: Final = "task"
ASSIGN: Final = "task_assign"
MOST_DIRECT: Final = 4
MOST_ROWS: Final = 6
DONE: Final = "done"


def card_of_task(row: TaskRow, run: RunRow, *, because: str = "") -> Card:
    """What is asked, of whom, until when, with the buttons that answer it or pass it on."""
    asked = Asked.of_json(row.asked)
    fields = [
        Field(label="Asked of", value=names_of(row.assignees)),
        Field(label="For", value=f"run #{run.number} of {run.asker}: {run.command}"),
    ]
    if row.due_at:
        fields.append(Field(label="Due", value=f"{row.due_at:%Y-%m-%d %H:%M} UTC"))
    lines = [*([f"{because}."] if because else []), *([asked.text] if asked.text else [])]
    return Card(
        title=f"#{run.number}: {asked.title}"[:150],
        fallback=f"You are asked ({run.command} #{run.number}): {asked.title}"[:120],
        tone=Tone.waiting,
        text="\n".join(lines),
        fields=tuple(fields),
        code=_table(asked),
        buttons=(*_answering(asked, str(row.id)), Button(label="Ask somebody else", intent=ASSIGN, target=str(row.id))),
    )


def reply_of_task(row: TaskRow, run: RunRow, *, because: str = "") -> Reply:
    """The card as a message to one person alone."""
    return Reply(card=card_of_task(row, run, because=because))


def names_of(names: Sequence[str]) -> str:
    """`lin`, or `lin or @leads`."""
    return " or ".join(names)


def _answering(asked: Asked, target: str) -> list[Button]:
    """A button for each of a few choices, and for saying done; else one that opens the form."""
    if asked.kind == "done":
        return [Button(label="Done", intent=ANSWER, target=target, digest=DONE, style="primary")]
    if asked.kind == "choice" and len(asked.choices) <= MOST_DIRECT:
        return [Button(label=one, intent=ANSWER, target=target, digest=one) for one in asked.choices]
    label = "Review" if asked.kind == "review" else "Answer"
    return [Button(label=label, intent=ANSWER, target=target, style="primary")]


def _table(asked: Asked) -> str:
    rows: list[Any] = [", ".join(f"{name}: {written(value)}" for name, value in one.items())[:150] for one in asked.rows[:MOST_ROWS]]
    more = [f"… and {len(asked.rows) - MOST_ROWS} more"] if len(asked.rows) > MOST_ROWS else []
    return "\n".join([*rows, *more])


def direct_answer(asked: Asked, pressed: str) -> dict[str, str] | None:
    """The answers that a button itself stands for; None when it opens the form."""
    if asked.kind == "choice" and pressed in asked.choices:
        return {"choice": pressed}
    return {} if asked.kind == "done" and pressed == DONE else None
