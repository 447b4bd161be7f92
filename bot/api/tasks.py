"""Tasks: what steps ask of the caller, answered or passed on. Those that wait for the caller are in the inbox."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import Field

from commands.authorizing import Refused
from commands.rulebooks import Rulebook
from commands.tasks import Misfit, Task, answer, assign, read_one
from countersign.invocations import Door
from store.databases import ReadSession, WriteSession

from .bodies import Body, body_of, documented
from .callers import DECIDE, READ, SUBMIT, Caller, caller_with
from .problems import Problem, refused
from .stories import HIDDEN, hidden

router = APIRouter(prefix="/tasks", tags=["tasks"])
Reader = Annotated[Caller, Depends(caller_with(READ))]
Concerned = Annotated[Caller, Depends(caller_with(SUBMIT, DECIDE))]


class NewTaskAnswer(Body):
    """Each answer by the name of its question, as `questions` of the task lists them."""

    answers: dict[str, Any]


class NewAssignment(Body):
    """People and `@groups` who are to be asked instead."""

    to: list[str] = Field(min_length=1, max_length=20)


@router.get("/{reference}")
async def look(caller: Reader, reference: UUID) -> dict[str, Any]:
    """What is asked, of whom, and the questions to answer."""
    rulebook = await caller.hub.rulebook()

    async def find(session: ReadSession) -> Task | None:
        return await read_one(session, rulebook, caller.person, reference)

    found = await caller.hub.read(find)
    if found is None or not (found.theirs or found.seen):
        await caller.hub.record([hidden(caller.person, str(reference), door=Door.api, trace=caller.trace)])
        raise Problem(404, HIDDEN, "There is no such run.")
    return task_as_json(found)


@router.post("/{reference}/answer", openapi_extra=documented(NewTaskAnswer))
async def answer_it(
    caller: Concerned, reference: UUID, wanted: Annotated[NewTaskAnswer, Depends(body_of(NewTaskAnswer))]
) -> dict[str, Any]:
    """Answer what is asked of you; the run goes on with it."""

    async def act(session: WriteSession, rulebook: Rulebook) -> Any:
        return await answer(session, rulebook, caller.person, reference, answers=wanted.answers, door=Door.api)

    return await _acted(caller, act)


@router.post("/{reference}/assign", openapi_extra=documented(NewAssignment))
async def assign_it(
    caller: Concerned, reference: UUID, wanted: Annotated[NewAssignment, Depends(body_of(NewAssignment))]
) -> dict[str, Any]:
    """Have others asked instead, if it is asked of you, the run is yours, or you are an admin."""

    async def act(session: WriteSession, rulebook: Rulebook) -> Any:
        return await assign(session, rulebook, caller.person, reference, to=wanted.to, door=Door.api)

    return await _acted(caller, act)


def task_as_json(one: Task) -> dict[str, Any]:
    """A task for a program: its kind, its questions, and until when."""
    asked, row = one.asked, one.row
    return {
        "id": str(row.id),
        "run": str(one.run.id),
        "number": one.run.number,
        "command": one.run.command,
        "asker": one.run.asker,
        "kind": asked.kind,
        "title": asked.title,
        "text": asked.text,
        "rows": list(asked.rows),
        "questions": [question.model_dump(mode="json") for question in asked.questions],
        "assignees": list(row.assignees),
        "state": row.state if row.state != "open" or one.open else "closed",
        "since": row.opened_at.isoformat(),
        "due_at": row.due_at.isoformat() if row.due_at else None,
        "answered_by": row.answered_by,
    }


async def _acted(caller: Caller, act: Any) -> dict[str, Any]:
    rulebook = await caller.hub.rulebook()

    async def work(session: WriteSession) -> Any:
        return await act(session, rulebook)

    said = await caller.hub.committed(work, what="Look at the task to see whether it counted.")
    if isinstance(said, Refused):
        raise refused(said.reason, said.sentence)
    if isinstance(said, Misfit):
        raise Problem(422, "wrong_answer", said.sentence, {"field": said.about})
    return {"sentence": said.sentence}
