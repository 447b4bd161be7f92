"""Single sign-on in the browser: away to the issuer and back. What the browser has to remember meanwhile is in a cookie of ten minutes."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Final
from uuid import NAMESPACE_URL, uuid5

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from bot.hubs import Hub
from countersign.invocations import Door
from integrations.oidc import Client, Flow, Issuer, IssuerSilent, Login, WrongLogin
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.directories import LOGIN, add_word, lock_feed, next_version
from store.people import Account, Person, find_by_account, find_name_by_email, link_account
from store.settings import Settings
from store.tokens import end_token, issue_token

from .attempts import Attempts
from .forms import page_of
from .pages import moving_page, sign_in_page
from .sessions import browser_of, cookie_name, flow_cookie, lifetime_of, set_cookie

router = APIRouter(include_in_schema=False)
PLATFORM: Final = "oidc"
FLOW_SECONDS: Final = 600
WAIT_SECONDS: Final = 12.0
_UNKNOWN: Final = "You are signed in there, but nobody here is you. Ask an admin to add you to the policy with your e-mail address."
_Text = Annotated[str, Query(max_length=4_000)]


@asynccontextmanager
async def open_issuer(settings: Settings) -> AsyncIterator[Issuer | None]:
    """The issuer that people sign in with, if the settings name one."""
    issuer = Issuer(Client(**settings.oidc)) if settings.oidc else None
    try:
        yield issuer
    finally:
        if issuer is not None:
            await issuer.close()


@router.get("/sign-in/oidc")
async def go(request: Request, then: Annotated[str, Query(alias="next", max_length=110)] = "", again: bool = False) -> Response:
    """Sends the browser to the issuer; `again` has people prove anew that it is them."""
    issuer, settings = _issuer(request), _settings(request)
    if issuer is None:
        return RedirectResponse("/sign-in", 303)
    flow = Flow.begun()
    try:
        address = await issuer.address(flow, back=_back(settings), max_age=0 if again else lifetime_of(settings))
    except IssuerSilent as error:
        return sign_in_page(then=page_of(then), problem=str(error), sso=True, status=503)
    response = RedirectResponse(address, 303)
    _keep(response, settings, base64.urlsafe_b64encode(json.dumps(asdict(flow) | {"then": page_of(then)}).encode()).decode())
    return response


@router.get("/sign-in/back")
async def come_back(request: Request, code: _Text = "", state: _Text = "", error: _Text = "") -> Response:
    """Where the issuer sends the browser back to."""
    issuer, settings = _issuer(request), _settings(request)
    if issuer is None:
        return RedirectResponse("/sign-in", 303)
    attempts: Attempts = request.app.state.attempts
    address = request.client.host if request.client else ""
    attempts.check(address)
    flow, then = _kept(request)
    try:
        if flow is None or error or not code:
            raise WrongLogin("Signing in was not finished; begin again.")
        async with asyncio.timeout(WAIT_SECONDS):
            login = await issuer.finish(flow, code=code, state=state, back=_back(settings))
    except (WrongLogin, IssuerSilent, TimeoutError) as problem:
        attempts.fail(address)
        request.app.state.refusals.count(door=Door.browser, reason="wrong_login")
        sentence = str(problem) or "The sign-in service does not answer in time. Please try again in a minute."
        return _forgetting(sign_in_page(then=then, problem=sentence, sso=True, status=400), settings)
    session = await _enter(request, login)
    if session is None:
        return _forgetting(sign_in_page(then=then, problem=_UNKNOWN, sso=True, status=403), settings)
    # A page of ours has to lead on: with a redirect the browser would not send the new session, which is for our own pages only.
    response = _forgetting(moving_page(then), settings)
    set_cookie(response, settings, session)
    return response


async def _enter(request: Request, login: Login) -> str | None:
    """A new session for whoever the login is; None when that is nobody, which is recorded."""
    hub: Hub = request.app.state.hub
    rulebook = await hub.rulebook()
    linking = rulebook.policy.identity(PLATFORM).link_by_email
    proof = rulebook.sealer.seal(login.token)
    before, label = request.cookies.get(cookie_name(hub.settings), ""), browser_of(request.headers.get("user-agent", ""))

    async def work(session: WriteSession) -> str | None:
        person = await _person(session, login, linking=linking)
        if person is None or not person.active or person.service:
            actor = f"oidc:{hashlib.sha256(login.subject.encode()).hexdigest()[:16]}"
            detail = {"reason": "unknown_account", "door": Door.browser.value, "trace": request.state.trace}
            await record(session, [AuditEvent("request:refused", person.name if person else actor, None, detail)])
            return None
        if login.groups is not None:
            await _feed(session, login, proof)
        await end_token(session, before)
        await record(session, [AuditEvent("session:opened", person.name, None, {"issuer": login.issuer, "door": Door.browser.value})])
        return await issue_token(
            session, kind="session", person=person.name, label=label, scopes=(), lifetime=lifetime_of(hub.settings), age=login.age
        )

    return await hub.committed(work)


async def _person(session: WriteSession, login: Login, *, linking: bool) -> Person | None:
    """Whose account it is; one that is nobody's yet is linked by e-mail, once, where policy says so."""
    account = Account(PLATFORM, login.issuer, login.subject)
    person = await find_by_account(session, account)
    if person is not None or not linking or not login.email:
        return person
    name = await find_name_by_email(session, login.email)
    if name is not None and await link_account(session, account, name, by="e-mail"):
        detail = {"platform": PLATFORM, "team": login.issuer, "account": login.subject, "by": "e-mail"}
        await record(session, [AuditEvent("account:linked", name, None, detail)])
    return await find_by_account(session, account)


async def _feed(session: WriteSession, login: Login, proof: bytes) -> None:
    """Workers read the groups in the token itself, after they have checked it: this process is not believed."""
    resource = uuid5(NAMESPACE_URL, f"{login.issuer} {login.subject}")
    await lock_feed(session)
    await add_word(session, LOGIN, resource, {}, version=await next_version(session, resource), token=proof)


def _keep(response: Response, settings: Settings, value: str) -> None:
    https = settings.url.startswith("https://")
    response.set_cookie(
        flow_cookie(settings), value, max_age=FLOW_SECONDS if value else 0, path="/", secure=https, httponly=True, samesite="lax"
    )


def _forgetting(response: Response, settings: Settings) -> Response:
    """A sign-in can be finished once."""
    _keep(response, settings, "")
    return response


def _kept(request: Request) -> tuple[Flow | None, str]:
    try:
        found = json.loads(base64.urlsafe_b64decode(request.cookies.get(flow_cookie(_settings(request)), "")))
        flow = Flow(*(str(found[name]) for name in ("state", "nonce", "verifier")))
        return (flow if all(len(one) >= 32 for one in (flow.state, flow.nonce, flow.verifier)) else None), page_of(str(found["then"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, "/"


def _back(settings: Settings) -> str:
    return f"{settings.url}/sign-in/back"


def _issuer(request: Request) -> Issuer | None:
    found: Issuer | None = request.app.state.issuer
    return found


def _settings(request: Request) -> Settings:
    hub: Hub = request.app.state.hub
    return hub.settings
