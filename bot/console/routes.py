"""The room's addresses. A POST does its work and shows the page again, or only the answer when our script asks."""

from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, FastAPI, Query, Request
from starlette.responses import RedirectResponse, Response

from bot.api.problems import Problem
from bot.api.rooms import event, last_event, part_event, room_of, stream
from bot.hubs import Answer, Hub
from bot.presses import Press
from bot.rooms import Message
from commands.authorizing import Request as Wanted
from commands.submit import form_for
from commands.switches import sentences
from countersign.invocations import Door, Place
from countersign.replies import Form, Reply

from . import (
    accesspages,
    asks,
    asofs,
    audits,
    bulks,
    catalogues,
    inboxes,
    issuers,
    keypages,
    numberpages,
    operationpages,
    pages,
    peoplepages,
    policypages,
    runlists,
    runpages,
    sessionpages,
    signins,
)
from .attempts import Attempts
from .follows import Follows
from .forms import back_of, check_origin, json_of
from .frames import Here, framed
from .pages import PART_HEADER, Said, View
from .pulses import Pulse
from .sessions import find_visitor, is_alive, leave, posted, set_cookie
from .signins import try_link
from .trays import Trays
from .vigils import Vigil, may_go_on

router = APIRouter(include_in_schema=False)
ANSWER: Final = "a."
_WORK: Final = (inboxes, bulks, runlists, runpages, asks, asofs, audits, keypages, sessionpages, signins, issuers)
_STEERING: Final = (peoplepages, accesspages, policypages, operationpages, numberpages, catalogues)
ROUTERS: Final = (router, *(one.router for one in (*_WORK, *_STEERING)))
Channel = Annotated[str, Query(max_length=40)]
As = Annotated[str, Query(alias="as", max_length=64)]
FormOf = Annotated[str, Query(max_length=100, description="A command whose form is open.")]


def mount(app: FastAPI) -> None:
    """Adds what the console's pages share to the application."""

    def hub() -> Hub:
        made: Hub = app.state.hub
        return made

    app.state.pulse, app.state.vigil, app.state.follows, app.state.trays = Pulse(hub), Vigil(hub), Follows(hub), Trays(hub)
    app.state.attempts = Attempts()


@router.get("/")
async def show(request: Request, channel: Channel = "ops", acting_as: As = "", form: FormOf = "") -> Response:
    here = Here(await find_visitor(request, acting_as=acting_as), await _known(request, channel))
    return await _room(request, here, form=await _form(request, here, form) if form else None)


@router.post("/room/say")
async def say(request: Request) -> Response:
    here, fields = await _posted(request)
    text = fields.get("text", "").strip()
    request.state.typed = text
    if not text:
        return await _answered(request, here, Said(Reply(text="Type a command first, for instance /help."), bad=True))
    answer = await room_of(request).say(
        here.visitor.person, channel=here.channel, text=text, key=_key(fields), door=Door.browser, trace=here.visitor.trace
    )
    shown = "" if answer.refused == "secret_in_chat" else text
    nothing = bool(answer.refused) and answer.run_id is None
    return await _answered(request, here, Said(answer.reply, answer.form, echo=shown, typed=shown if nothing else "", bad=nothing))


@router.post("/room/form")
async def fill(request: Request) -> Response:
    here, fields = await _posted(request)
    command = fields.get("command", "")
    answers = {name.removeprefix(ANSWER): value for name, value in fields.items() if name.startswith(ANSWER)}
    answer = await room_of(request).fill(
        here.visitor.person,
        channel=here.channel,
        command=command,
        answers=answers,
        key=_key(fields),
        door=Door.browser,
        trace=here.visitor.trace,
    )
    again = await _again(request, answer, command, answers)
    bad = again is not None or bool(answer.refused)
    return await _answered(request, here, Said(answer.reply, again, echo=f"/{command}", bad=bad))


@router.post("/room/press")
async def press(request: Request) -> Response:
    here, fields = await _posted(request)
    answers = {name.removeprefix(ANSWER): value for name, value in fields.items() if name.startswith(ANSWER)}
    one = Press(
        key=_key(fields),
        intent=fields.get("intent", ""),
        target=fields.get("target", ""),
        door=Door.browser,
        digest=fields.get("digest", ""),
        reason=fields.get("reason", "")[:500],
        fresh=here.visitor.fresh,
        answers=answers or None,
        assertion=json_of(fields, "assertion"),
    )
    reply = await room_of(request).press(here.visitor.person, one)
    if PART_HEADER not in request.headers and (back := back_of(fields)):
        return RedirectResponse(here.link(back, said=one.key), 303)
    return await _answered(request, here, Said(reply, reply.form, bad=bool(reply.form and reply.form.problems)))


@router.get("/room/events")
async def events(request: Request, channel: Channel = "", acting_as: As = "", after: Annotated[int, Query(ge=0, lt=2**53)] = 0) -> Response:
    here = Here(await find_visitor(request, acting_as=acting_as), await _known(request, channel))
    changes = room_of(request).watch(here.visitor.person, here.channel, after=last_event(request, after))
    return stream(_told(request, here, changes))


@router.get("/enter/{token}")
async def look(request: Request, token: str) -> Response:
    return pages.enter_page(alive=await is_alive(_hub(request), token))


@router.post("/enter/{token}")
async def come_in(request: Request, token: str) -> Response:
    check_origin(request, own=_hub(request).settings.url)
    session = await try_link(request, token)
    if session is None:
        return pages.enter_page(alive=False)
    response = RedirectResponse("/", 303)
    set_cookie(response, _hub(request).settings, session)
    return response


@router.post("/leave")
async def go(request: Request) -> Response:
    await _posted(request)
    await leave(request)
    response = RedirectResponse("/sign-in?left=true", 303)
    set_cookie(response, _hub(request).settings, "")
    return response


@router.get("/static/{name}")
async def static(name: str) -> Response:
    found = pages.static_file(name)
    if found is None:
        raise Problem(404, "not_found", "There is nothing at this address.")
    return found


async def _posted(request: Request) -> tuple[Here, dict[str, str]]:
    visitor, fields = await posted(request)
    return Here(visitor, await _known(request, fields.get("channel", ""))), fields


async def _answered(request: Request, here: Here, said: Said) -> Response:
    if PART_HEADER in request.headers:
        return pages.said_part(here, said)
    return await _room(request, here, said=said)


async def _room(request: Request, here: Here, *, said: Said | None = None, form: Form | None = None) -> Response:
    room, person = room_of(request), here.visitor.person
    rulebook = await _hub(request).rulebook()
    view = View(
        here=here,
        channels=(*await room.channels(), ""),
        messages=await room.messages(person, here.channel),
        commands=rulebook.listed_for(person, _wanted(here)),
        said=said,
        form=form,
    )
    return pages.room_page(view, await framed(request, here, "/"), status=422 if said and said.bad else 200)


async def _form(request: Request, here: Here, name: str) -> Form:
    rulebook = await _hub(request).rulebook()
    command = next((one for one in rulebook.commands_for(here.visitor.person, _wanted(here)) if one.name == name), None)
    if command is None:
        raise Problem(404, "unknown_command", f"You have no command '{name[:40]}'. Type /help in the room to see what you may run.")
    return form_for(rulebook, command, {})


def _wanted(here: Here) -> Wanted:
    return Wanted(permission="countersign:use", door=Door.browser, place=Place("room", channel=here.channel))


async def _again(request: Request, answer: Answer, command: str, answers: dict[str, str]) -> Form | None:
    """The form once more with what was filled in, when a required or a wrong value stood in the way; secrets are asked for again."""
    found = (await _hub(request).rulebook()).registry.find(command)
    if found is None or (answer.form is None and answer.refused != "wrong_argument"):
        return None
    given = {name: value for name, value in answers.items() if name not in found.schema.secrets}
    return form_for(await _hub(request).rulebook(), found, given)


async def _known(request: Request, channel: str) -> str:
    """The channel, if there is one of that name; raises Problem 404. Empty means direct messages."""
    names = await room_of(request).channels()
    if channel and channel not in names:
        known = ", ".join(f"#{one}" for one in names)
        raise Problem(404, "unknown_channel", f"There is no channel #{channel[:40]} here; there are {known}.")
    return channel


async def _told(request: Request, here: Here, changes: AsyncIterator[Message | None]) -> AsyncIterator[str]:
    yield "retry: 2000\n\n"
    if shown := await _stopped(request):
        yield part_event("stopped", pages.stopped_part(shown))
    async for one in changes:
        if not await may_go_on(request, here):
            return
        if (stopped := await _stopped(request)) != shown:
            yield part_event("stopped", pages.stopped_part(stopped))
            shown = stopped
        yield ": still here\n\n" if one is None else event("message", pages.live_part(here, one), number=one.cursor)


async def _stopped(request: Request) -> list[str]:
    return sentences((await _hub(request).rulebook()).switches)


def _key(fields: dict[str, str]) -> str:
    key = fields.get("key", "")
    if not 8 <= len(key) <= 100:
        raise Problem(400, "bad_input", "The form is not whole; reload the page and try again.")
    return key


def _hub(request: Request) -> Hub:
    hub: Hub = request.app.state.hub
    return hub
