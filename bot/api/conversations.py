"""What those concerned do with a run before it is carried out, and what people say about it."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import Field, JsonValue

from commands.converse import answer_question, ask, comment
from commands.edit import Change, edit
from commands.handover import hand
from commands.rulebooks import Rulebook
from commands.withdraw import take_approval_back, withdraw
from countersign.invocations import Door
from store.conversations import Line, find_lines
from store.databases import ReadSession, WriteSession
from store.runs import RunRow

from .acting import acted
from .bodies import Body, body_of, documented
from .callers import DECIDE, READ, SUBMIT, Caller, caller_with
from .stories import line_of, read_visible

router = APIRouter(prefix="/runs", tags=["runs"])
Reader = Annotated[Caller, Depends(caller_with(READ))]
Asker = Annotated[Caller, Depends(caller_with(SUBMIT))]
Decider = Annotated[Caller, Depends(caller_with(DECIDE))]
Concerned = Annotated[Caller, Depends(caller_with(SUBMIT, DECIDE))]
Words = Annotated[str, Field(min_length=1, max_length=1_000)]


class NewEdit(Body):
    """Values for those arguments that are to change; null means the default again. `digest` is that of the plan you looked at."""

    arguments: Annotated[dict[str, JsonValue], Field(min_length=1)]
    digest: Annotated[str, Field(max_length=100)] = ""


class NewReason(Body):
    """Why, for the record and for those who read it under the card."""

    reason: Annotated[str, Field(max_length=500)] = ""


class NewHandover(Body):
    """To whom; your own name takes it back into your own hands."""

    person: Annotated[str, Field(min_length=1, max_length=64)]


class NewWords(Body):
    """What you say; it stands under every card of the run."""

    text: Words


class NewAnswer(Body):
    """`question` is the id of what you answer; without it, the first question that nobody has answered."""

    text: Words
    question: UUID | None = Field(default=None, strict=False)


@router.post("/{reference}/edits", openapi_extra=documented(NewEdit))
async def change(caller: Concerned, reference: str, wanted: Annotated[NewEdit, Depends(body_of(NewEdit))]) -> dict[str, Any]:
    """Change what is asked before it is carried out: it is planned again, and earlier votes are void."""

    async def act(session: WriteSession, rulebook: Rulebook, run_id: UUID) -> Any:
        return await edit(session, rulebook, caller.person, Change(run_id, dict(wanted.arguments), Door.api, digest=wanted.digest))

    return {"sentence": (await acted(caller, reference, act)).sentence}


@router.post("/{reference}/withdraw", openapi_extra=documented(NewReason))
async def take_back_request(caller: Asker, reference: str, wanted: Annotated[NewReason, Depends(body_of(NewReason))]) -> dict[str, Any]:
    """Take your own request back, as long as nothing is carried out."""

    async def act(session: WriteSession, rulebook: Rulebook, run_id: UUID) -> Any:
        return await withdraw(session, rulebook, caller.person, run_id, door=Door.api, reason=wanted.reason)

    return {"sentence": (await acted(caller, reference, act)).sentence}


@router.post("/{reference}/takeback", openapi_extra=documented(NewReason))
async def take_back_approval(caller: Decider, reference: str, wanted: Annotated[NewReason, Depends(body_of(NewReason))]) -> dict[str, Any]:
    """Take your own approval back, as long as nothing is carried out."""

    async def act(session: WriteSession, rulebook: Rulebook, run_id: UUID) -> Any:
        return await take_approval_back(session, rulebook, caller.person, run_id, door=Door.api, reason=wanted.reason)

    return {"sentence": (await acted(caller, reference, act)).sentence}


@router.post("/{reference}/handover", openapi_extra=documented(NewHandover))
async def hand_over(caller: Asker, reference: str, wanted: Annotated[NewHandover, Depends(body_of(NewHandover))]) -> dict[str, Any]:
    """Hand your request over to somebody who may then change, answer and cancel it; neither of you votes on it."""

    async def act(session: WriteSession, rulebook: Rulebook, run_id: UUID) -> Any:
        return await hand(session, rulebook, caller.person, run_id, to=wanted.person.removeprefix("@").lower(), door=Door.api)

    return {"sentence": (await acted(caller, reference, act)).sentence}


@router.get("/{reference}/conversation")
async def read(caller: Reader, reference: str) -> dict[str, Any]:
    """What people said about a run, first to last; `said` goes on after the person's name."""

    async def find(session: ReadSession, run: RunRow) -> list[Line]:
        return await find_lines(session, run.id)

    found = await read_visible(caller.hub, caller.person, reference, find, door=Door.api, trace=caller.trace)
    return {"items": [line_of(one) for one in found], "next": None}


@router.post("/{reference}/comments", openapi_extra=documented(NewWords))
async def say(caller: Concerned, reference: str, wanted: Annotated[NewWords, Depends(body_of(NewWords))]) -> dict[str, Any]:
    """Say something about a run."""

    async def act(session: WriteSession, rulebook: Rulebook, run_id: UUID) -> Any:
        return await comment(session, rulebook, caller.person, run_id, words=wanted.text, door=Door.api)

    return {"sentence": (await acted(caller, reference, act)).sentence}


@router.post("/{reference}/questions", openapi_extra=documented(NewWords))
async def question(caller: Decider, reference: str, wanted: Annotated[NewWords, Depends(body_of(NewWords))]) -> dict[str, Any]:
    """Ask whoever asked for the run something before you decide."""

    async def act(session: WriteSession, rulebook: Rulebook, run_id: UUID) -> Any:
        return await ask(session, rulebook, caller.person, run_id, words=wanted.text, door=Door.api)

    return {"sentence": (await acted(caller, reference, act)).sentence}


@router.post("/{reference}/answers", openapi_extra=documented(NewAnswer))
async def answer(caller: Asker, reference: str, wanted: Annotated[NewAnswer, Depends(body_of(NewAnswer))]) -> dict[str, Any]:
    """Answer a question about your run."""

    async def act(session: WriteSession, rulebook: Rulebook, run_id: UUID) -> Any:
        return await answer_question(session, rulebook, caller.person, run_id, words=wanted.text, door=Door.api, question=wanted.question)

    return {"sentence": (await acted(caller, reference, act)).sentence}
