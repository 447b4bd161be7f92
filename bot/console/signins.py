"""Signing in: a page of its own, where a one-time link can be pasted, and the way back to the page that one came from."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from bot.hubs import Hub
from countersign.invocations import Door
from integrations.oidc import Issuer

from .attempts import Attempts
from .forms import check_origin, page_of, read_form
from .pages import sign_in_page
from .sessions import enter, set_cookie

router = APIRouter(include_in_schema=False)
_DEAD: Final = "This link does not work any more. It was used already, or it is too old."
Next = Annotated[str, Query(alias="next", max_length=110)]


@router.get("/sign-in")
async def show(request: Request, then: Next = "", left: bool = False) -> Response:
    hub: Hub = request.app.state.hub
    issuer: Issuer | None = request.app.state.issuer
    goodbye = await issuer.goodbye(back=f"{hub.settings.url}/sign-in") if issuer and left else ""
    return sign_in_page(then=page_of(then), sso=issuer is not None, goodbye=goodbye)


@router.post("/sign-in")
async def come_in(request: Request) -> Response:
    """Spends a link that was pasted, and goes on to the page that asked for it."""
    hub: Hub = request.app.state.hub
    check_origin(request, own=hub.settings.url)
    fields = await read_form(request)
    then = page_of(fields.get("next", ""))
    session = await try_link(request, fields.get("link", "").strip().rpartition("/")[2])
    if session is None:
        return sign_in_page(then=then, sso=request.app.state.issuer is not None, problem=_DEAD, status=410)
    response = RedirectResponse(then, 303)
    set_cookie(response, hub.settings, session)
    return response


async def try_link(request: Request, value: str) -> str | None:
    """The new session for a one-time link, None for one that does not work; raises Problem 429 after many of those."""
    attempts: Attempts = request.app.state.attempts
    address = request.client.host if request.client else ""
    attempts.check(address)
    session = await enter(request, value)
    if session is None:
        attempts.fail(address)
        request.app.state.refusals.count(door=Door.browser, reason="wrong_link")
    return session
