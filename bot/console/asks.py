"""Ask: the commands one may run, and a form for each, with what policy says about it before it is sent."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final
from uuid import uuid4

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from bot.api.problems import Problem
from bot.hubs import Hub
from commands.authorizing import Request as Wanted
from commands.explaining import Explainer, Explanation
from commands.submit import form_for
from countersign.commands import Command
from countersign.errors import BadArgument
from countersign.invocations import Door, Invocation, Place
from store.databases import ReadSession
from store.people import Person, find_all_people

from .frames import Frame, Here, framed, here_of
from .pages import Said, framed_page
from .sessions import posted

router = APIRouter(include_in_schema=False)
ANSWER: Final = "a."
SHIPPED: Final = "commands.shipped"
PLACE: Final = Place("console")
Name = Annotated[str, Query(alias="command", max_length=100)]


@router.get("/ask")
async def show(request: Request, name: Name = "") -> Response:
    here = await here_of(request, "/ask", command=name)
    frame = await framed(request, here, "/ask")
    if not name:
        commands = frame.rulebook.listed_for(here.visitor.person, _wanted())
        return framed_page(request, "commands.html", frame, commands=commands, shelves=_shelves(commands))
    given = {one.removeprefix(ANSWER): value[:500] for one, value in request.query_params.items() if one.startswith(ANSWER)}
    command = _command(frame, here.visitor.person, name)
    told = await _explained(request, frame, command, given)
    return _form_page(request, frame, command, given, explanation=told)


@router.post("/ask")
async def send(request: Request) -> Response:
    """Asks for the run, tries it as a dry run, or only says what policy would; the form keeps what was typed."""
    hub: Hub = request.app.state.hub
    visitor, fields = await posted(request)
    here = Here(visitor, path="/ask", query={"command": fields.get("command", "")})
    frame = await framed(request, here, "/ask")
    command = _command(frame, visitor.person, fields.get("command", ""))
    given = {one.removeprefix(ANSWER): value for one, value in fields.items() if one.startswith(ANSWER)}
    go = fields.get("go", "ask")
    if go == "explain":
        return _form_page(request, frame, command, given, explanation=await _explained(request, frame, command, given))
    answer = await hub.submit(visitor.person, _invocation(here, command, given, fields, dry_run=go == "dry"))
    if answer.run_id is not None:
        return RedirectResponse(here.link(f"/runs/{answer.number}"), 303)
    bad = bool(answer.refused) or answer.form is not None
    return _form_page(request, frame, command, given, said=Said(answer.reply, bad=bad), status=422 if bad else 200)


def _invocation(here: Here, command: Command, given: Mapping[str, str], fields: Mapping[str, str], *, dry_run: bool) -> Invocation:
    key = fields.get("key", "") or uuid4().hex
    return Invocation(
        key=f"room:{here.visitor.person.name}:{key[:100]}",
        door=Door.browser,
        place=PLACE,
        command=command.name,
        arguments={name: value for name, value in given.items() if value != ""},
        reason=fields.get("reason", "").strip()[:500],
        dry_run=dry_run,
        trace=here.visitor.trace,
    )


def _form_page(
    request: Request,
    frame: Frame,
    command: Command,
    given: Mapping[str, str],
    *,
    explanation: Explanation | str = "",
    said: Said | None = None,
    status: int = 200,
) -> Response:
    safe = {name: value for name, value in given.items() if name not in command.schema.secrets}
    return framed_page(
        request,
        "ask.html",
        frame,
        status=status,
        command=command,
        form=form_for(frame.rulebook, command, safe),
        explanation=explanation,
        said=said,
    )


def _command(frame: Frame, person: Person, name: str) -> Command:
    """Raises Problem 404 in the same words for what there is not and for what this person may not run."""
    found = next((one for one in frame.rulebook.commands_for(person, _wanted()) if one.name == name), None)
    if found is None:
        raise Problem(404, "unknown_command", f"You have no command '{name[:40]}'. The list under Ask has those that you may run.")
    return found


async def _explained(request: Request, frame: Frame, command: Command, given: Mapping[str, str]) -> Explanation | str:
    """What policy says to these arguments; while some are missing or wrong, which."""
    hub: Hub = request.app.state.hub
    schema, person, now = command.schema, frame.here.visitor.person, frame.rulebook.now()
    try:
        values = schema.validate({name: value for name, value in given.items() if value != ""})
    except BadArgument as error:
        return f"{error}" if given else ""
    written = {name: value for name, value in schema.written(values).items() if name not in schema.secrets}
    wanted = Wanted(command.permission, Door.browser, PLACE, command, written, now=now)

    async def explain(session: ReadSession) -> Explanation:
        explainer = Explainer(frame.rulebook.policy, await find_all_people(session), now, alone=frame.rulebook.alone)
        return explainer.explain(person, wanted)

    return await hub.read(explain)


def _shelves(commands: Sequence[Command]) -> dict[str, list[Command]]:
    """What this hub was set up for stands first, and then what every hub can do."""
    own, shipped = [[one for one in commands if one.origin.startswith(SHIPPED) == ours] for ours in (False, True)]
    return {"What you run here": own, "Runs, people and policy": shipped}


def _wanted() -> Wanted:
    return Wanted(permission="countersign:use", door=Door.browser, place=PLACE)
