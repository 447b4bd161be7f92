"""The chat room for programs: the terminal room is one. Events are server-sent; each is one message as it is now."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field, JsonValue
from starlette.responses import StreamingResponse

from bot.hubs import Answer
from bot.presses import Press
from bot.rooms import Message, Room
from countersign.errors import CountersignError
from countersign.invocations import Door

from .bodies import Body, body_of, documented
from .callers import DECIDE, READ, SUBMIT, Caller, caller_with, find_caller
from .problems import Problem

router = APIRouter(prefix="/room", tags=["room"])
Reader = Annotated[Caller, Depends(caller_with(READ))]
Asker = Annotated[Caller, Depends(caller_with(SUBMIT))]
Presser = Annotated[Caller, Depends(caller_with(DECIDE))]
ChannelName = Annotated[str, Query(max_length=40, description="A channel's name without #; empty for your direct messages.")]
Moment = Annotated[int | None, Query(ge=0, lt=2**53, description="`next` of an earlier answer; what changed around then may be repeated.")]
Key = Annotated[str, Field(max_length=200, description="Sending the same key again is the same request.")]


class Said(Body):
    text: Annotated[str, Field(min_length=1, max_length=8_000)]
    channel: Annotated[str, Field(max_length=40)] = ""
    key: Key = ""


class Pressed(Body):
    intent: Annotated[str, Field(max_length=40)]
    target: Annotated[str, Field(max_length=100)]
    digest: Annotated[str, Field(max_length=100)] = ""
    reason: Annotated[str, Field(max_length=500)] = ""
    answers: dict[str, JsonValue] | None = None
    key: Key = ""


class Filled(Body):
    command: Annotated[str, Field(max_length=100)]
    answers: dict[str, JsonValue] = Field(default_factory=dict)
    channel: Annotated[str, Field(max_length=40)] = ""
    key: Key = ""


@router.get("/channels")
async def channels(request: Request, caller: Reader) -> dict[str, Any]:
    """The room's channels; direct messages have the empty name."""
    names = await room_of(request).channels()
    items = [{"name": name, "title": f"#{name}"} for name in names] + [{"name": "", "title": f"@{caller.person.name}"}]
    return {"items": items, "person": caller.person.name}


@router.get("/messages")
async def messages(request: Request, caller: Reader, channel: ChannelName = "", after: Moment = None) -> dict[str, Any]:
    """What you see in a channel, oldest first: the latest 100, or those of them that changed since `after`."""
    room = await _checked(request, channel)
    found = await room.messages(caller.person, channel)
    new = [one for one in found if after is None or one.cursor > after]
    return {"items": [one.as_json() for one in new], "next": max([one.cursor for one in found] + [after or 0])}


@router.get("/events")
async def events(request: Request, caller: Reader, channel: ChannelName = "", after: Moment = None) -> StreamingResponse:
    """Server-sent events: `event: message` with the message as JSON each time one changes, and a comment every 15 s."""
    room = await _checked(request, channel)
    start = last_event(request, after)
    return stream(_told(request, room.watch(caller.person, channel, after=start)))


@router.post("/say", openapi_extra=documented(Said))
async def say(request: Request, caller: Asker, said: Annotated[Said, Depends(body_of(Said))]) -> dict[str, Any]:
    """Type a command into a channel; the answer is for you alone."""
    room = await _checked(request, said.channel)
    await caller.check_reach(text=said.text)
    key = said.key or str(uuid4())
    return answered(await room.say(caller.person, channel=said.channel, text=said.text, key=key, door=Door.terminal, trace=caller.trace))


@router.post("/form", openapi_extra=documented(Filled))
async def fill(request: Request, caller: Asker, filled: Annotated[Filled, Depends(body_of(Filled))]) -> dict[str, Any]:
    """Send the answers of a form whose intent is `submit`; secrets are accepted here and nowhere shown."""
    room = await _checked(request, filled.channel)
    await caller.check_reach(command=filled.command)
    answer = await room.fill(
        caller.person,
        channel=filled.channel,
        command=filled.command,
        answers=filled.answers,
        key=filled.key or str(uuid4()),
        door=Door.terminal,
        trace=caller.trace,
    )
    return answered(answer)


@router.post("/press", openapi_extra=documented(Pressed))
async def press(request: Request, caller: Presser, pressed: Annotated[Pressed, Depends(body_of(Pressed))]) -> dict[str, Any]:
    """Press a button of a card: send its intent, target and digest as they are.

    Where the reply has a form whose intent is not `submit`, its answers go the same way, with what the form carries.
    """
    key = pressed.key or str(uuid4())
    one = Press(key, pressed.intent, pressed.target, Door.terminal, pressed.digest, pressed.reason, answers=pressed.answers)
    reply = await room_of(request).press(caller.person, one)
    return {"reply": reply.model_dump(mode="json")}


def room_of(request: Request) -> Room:
    """The process's one room."""
    room: Room = request.app.state.room
    return room


def answered(answer: Answer) -> dict[str, Any]:
    """An answer as JSON: the reply, a form if arguments are missing, the run if one was born, the reason if it was refused."""
    return {
        "reply": answer.reply.model_dump(mode="json"),
        "form": answer.form.model_dump(mode="json") if answer.form else None,
        "run": str(answer.run_id) if answer.run_id else None,
        "number": answer.number or None,
        "status": answer.status,
        "refused": answer.refused or None,
    }


def last_event(request: Request, after: int | None) -> int | None:
    """Where a stream begins: a browser that connects again says which event it saw last."""
    seen = request.headers.get("last-event-id", "")
    return int(seen) if seen.isdecimal() and len(seen) < 17 else after


def stream(events: AsyncIterator[str]) -> StreamingResponse:
    """A response of server-sent events that no proxy holds back."""
    return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-store", "x-accel-buffering": "no"})


def event(name: str, data: str, *, number: int) -> str:
    """One server-sent event; line ends of any kind inside the data cannot begin another one."""
    return f"event: {name}\nid: {number}\n{_data(data)}\n"


def part_event(name: str, data: str) -> str:
    """The same for what has no place in the order of messages, so that a browser that comes back does not ask for what followed it."""
    return f"event: {name}\n{_data(data)}\n"


def _data(data: str) -> str:
    return "".join(f"data: {line}\n" for line in data.splitlines() or [""])


async def _told(request: Request, changes: AsyncIterator[Message | None]) -> AsyncIterator[str]:
    yield ": here\n\n"
    async for one in changes:
        try:  # a stream must not outlive the token that opened it, not by one message
            await find_caller(request)
        except (Problem, CountersignError):
            return
        yield ": still here\n\n" if one is None else event("message", json.dumps(one.as_json()), number=one.cursor)


async def _checked(request: Request, channel: str) -> Room:
    room = room_of(request)
    names = await room.channels()
    if channel and channel not in names:
        raise Problem(404, "unknown_channel", f"There is no channel '{channel}'; there are {', '.join(names)}.")
    return room
