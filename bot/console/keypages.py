"""Passkeys in the browser: one's own keys, making a new one, and what there is to sign. The key itself is used by a script of ours."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from bot.api.decisions import signing_options
from bot.api.passkeys import too_many
from bot.api.problems import Problem
from bot.api.runs import raise_refusal
from bot.enrolments import begin_enrolment, finish_enrolment
from bot.hubs import Hub
from commands.passkeys import fingerprint
from commands.sites import Site
from countersign.invocations import Door
from countersign.tallies import Verdict
from store.databases import ReadSession
from store.passkeys import Passkey, find_passkeys

from .asks import PLACE
from .forms import json_of
from .frames import Here, framed, here_of
from .pages import framed_page
from .sessions import posted

router = APIRouter(include_in_schema=False)
_NOTHING_MADE = "No passkey was made: that needs JavaScript in this browser, and a device that can hold one."


@router.get("/passkeys")
async def show(request: Request) -> Response:
    """One's own keys in use, and the form for another one."""
    here = await here_of(request, "/passkeys")
    hub: Hub = request.app.state.hub

    async def find(session: ReadSession) -> list[Passkey]:
        return await find_passkeys(session, [here.visitor.person.name])

    keys = [(one, fingerprint(one.data)) for one in await hub.read(find)]
    frame = await framed(request, here, "/passkeys")
    return framed_page(request, "passkeys.html", frame, keys=keys, problem=Site.of(hub.settings.url).problem)


@router.post("/passkeys/options")
async def begin(request: Request) -> Response:
    """What the browser makes a key for."""
    visitor, _ = await posted(request)
    made = await begin_enrolment(request.app.state.hub, visitor.person)
    if made is None:
        raise too_many()
    return JSONResponse(made)


@router.post("/passkeys")
async def enrol(request: Request) -> Response:
    """Asks for the enrolment of the key that the browser has made; the run's page says what happens next."""
    visitor, fields = await posted(request)
    credential, label, hub = json_of(fields, "credential"), fields.get("label", "").strip(), request.app.state.hub
    if credential is None:
        raise Problem(422, "wrong_argument", _NOTHING_MADE)
    _, answer = await finish_enrolment(
        hub,
        visitor.person,
        credential,
        label=label,
        key=f"room:{visitor.person.name}:{fields.get('key', '')[:100]}",
        door=Door.browser,
        place=PLACE,
        trace=visitor.trace,
    )
    raise_refusal(answer)
    return RedirectResponse(Here(visitor).link(f"/runs/{answer.number}"), 303)


@router.get("/runs/{reference}/signing")
async def to_sign(
    request: Request,
    reference: str,
    verdict: Annotated[Verdict, Query()] = Verdict.approve,
    digest: Annotated[str, Query(max_length=100)] = "",
) -> dict[str, Any]:
    """What the reader's passkey signs to decide on the plan that they were shown. Looking decides nothing."""
    here = await here_of(request, f"/runs/{reference[:40]}")
    visitor = here.visitor
    return await signing_options(
        request.app.state.hub, visitor.person, reference, verdict, door=Door.browser, trace=visitor.trace, digest=digest
    )
