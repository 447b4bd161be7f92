"""Where somebody is signed in: their sessions and personal tokens, to see and to end; admins see and end everybody's."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from bot.api.problems import Problem
from bot.hubs import Hub
from commands.authorizing import is_admin
from countersign.invocations import Door
from store.audits import AuditEvent, record
from store.databases import ReadSession, WriteSession
from store.sessions import Listed, end_live, find_live

from .frames import Here, framed, here_of
from .pages import framed_page
from .sessions import Visitor, idle_of, posted

router = APIRouter(include_in_schema=False)
EVERYBODY = "everybody"
OTHERS = "others"


@router.get("/sessions")
async def show(request: Request, of: Annotated[str, Query(max_length=10)] = "") -> Response:
    """One's own, or as an admin everybody's."""
    here = await here_of(request, "/sessions", of=of)
    hub: Hub = request.app.state.hub
    frame = await framed(request, here, "/sessions")
    admin = is_admin(frame.rulebook.policy, here.visitor.person)
    everybody = admin and of == EVERYBODY

    async def find(session: ReadSession) -> list[Listed]:
        return await find_live(session, person=None if everybody else here.visitor.person.name, idle=idle_of(hub.settings))

    return framed_page(request, "sessions.html", frame, items=await hub.read(find), admin=admin, everybody=everybody)


@router.post("/sessions/end")
async def end(request: Request) -> Response:
    """Ends one session or token at once, or all of one's own but the one that asks."""
    visitor, fields = await posted(request)
    hub: Hub = request.app.state.hub
    admin = is_admin((await hub.rulebook()).policy, visitor.person)
    which, person = fields.get("which", ""), visitor.person.name

    async def work(session: WriteSession) -> Sequence[Listed]:
        if which == OTHERS:
            ended = await end_live(session, person=person, but=visitor.token)
        else:
            ended = await end_live(session, person=None if admin else person, only=_id(which))
        await record(session, [_event(visitor, one) for one in ended] or [_refusal(visitor)])
        return ended

    if not await hub.committed(work) and which != OTHERS:
        raise Problem(404, "not_found_or_foreign", "There is no such session of yours; it may have ended already.")
    of = EVERYBODY if admin and fields.get("of") == EVERYBODY else ""
    return RedirectResponse(Here(visitor).link("/sessions", of=of), 303)


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Problem(400, "bad_input", "The form is not whole; reload the page and try again.") from None


def _event(visitor: Visitor, one: Listed) -> AuditEvent:
    detail = {"for": one.person, "token": one.kind, "label": one.label, "id": str(one.id), "door": Door.browser.value}
    return AuditEvent("token:ended", visitor.person.name, None, detail | {"trace": visitor.trace})


def _refusal(visitor: Visitor) -> AuditEvent:
    detail = {"reason": "not_found_or_foreign", "door": Door.browser.value, "intent": "end a session", "trace": visitor.trace}
    return AuditEvent("request:refused", visitor.person.name, None, detail)
