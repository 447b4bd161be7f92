"""Who looks at the page: a one-time link becomes a session, and a session acts as its person, or in the demo as any of the cast."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from bot.api.problems import Problem
from bot.hubs import Hub
from bot.rooms import Room
from commands.authorizing import INACTIVE
from store.audits import AuditEvent, record
from store.databases import ReadSession, WriteSession
from store.people import Person, find_person
from store.sessions import Session, find_session, note_visit
from store.settings import Settings
from store.tokens import Token, end_token, find_token, issue_token, spend_token

from .forms import check_origin, read_form

DEMO: Final = "demo"
_BROWSERS: Final = (("Edge", "Edg/"), ("Firefox", "Firefox/"), ("Chrome", "Chrome/"), ("Safari", "Safari/"))
_SYSTEMS: Final = ("Android", "iPhone", "iPad", "Windows", "Mac OS", "Linux")
NOISE: Final = frozenset({"no_session", "csrf", "foreign_origin", INACTIVE.reason})
"""Why a request is refused before anybody may act; such refusals are counted."""
NO_SESSION: Final = "You are not signed in here. Open the link that countersign up or countersign login printed; it works once."


@dataclass(frozen=True)
class Visitor:
    """The person a request acts as, whom else it may act as, and the token that its forms must carry; `fresh` just after the login."""

    person: Person
    cast: tuple[str, ...]
    csrf: str
    trace: str
    token: UUID
    fresh: bool = False

    def check(self, fields: dict[str, str]) -> None:
        """Raises Problem 403 when a form was not made by this session's page."""
        if not hmac.compare_digest(fields.get("csrf", "").encode(), self.csrf.encode()):
            raise Problem(403, "csrf", "This page is from an earlier session, so nothing was done. Reload it and try again.")


async def find_visitor(request: Request, *, acting_as: str) -> Visitor:
    """The visitor behind the session cookie; `acting_as` counts in a demo session only. Raises Problem 401."""
    hub: Hub = request.app.state.hub
    value = request.cookies.get(cookie_name(hub.settings), "")

    async def look(session: ReadSession) -> tuple[Session | None, Person | None]:
        found = await find_session(session, value, idle=idle_of(hub.settings))
        return found, await find_person(session, found.token.person) if found and found.token.person else None

    found, person = await hub.read(look) if value.isascii() and value else (None, None)
    if found is None:
        raise Problem(401, "no_session", NO_SESSION)
    token = found.token
    cast: list[Person] = []
    if person is None and DEMO in token.scopes and hub.settings.demo:
        cast = await _cast(hub, request.app.state.room)
        person = next((one for one in cast if one.name == acting_as), cast[0] if cast else None)
    if person is None:
        raise Problem(401, "no_session", NO_SESSION)
    if not person.active:
        raise Problem(401, INACTIVE.reason, INACTIVE.sentence)
    if found.due and _is_use(request):
        await hub.committed(lambda session: note_visit(session, token.id))
    return Visitor(person, tuple(one.name for one in cast), _csrf(value), request.state.trace, token.id, token.fresh)


def _is_use(request: Request) -> bool:
    """Whether somebody does something: what our script reads by itself, from a page that was left open, keeps no session alive."""
    return request.method == "POST" or "text/html" in request.headers.get("accept", "")


async def posted(request: Request) -> tuple[Visitor, dict[str, str]]:
    """Who sent a form of our own page, and its fields; raises Problem for anything else."""
    hub: Hub = request.app.state.hub
    check_origin(request, own=hub.settings.url)
    fields = await read_form(request)
    request.state.typed = fields.get("text", "")
    visitor = await find_visitor(request, acting_as=fields.get("as", ""))
    visitor.check(fields)
    return visitor, fields


async def is_alive(hub: Hub, value: str) -> bool:
    """Whether this link can still be used; asking does not use it."""

    async def look(session: ReadSession) -> Token | None:
        return await find_token(session, value, kind="link")

    return value.isascii() and await hub.read(look) is not None


async def enter(request: Request, value: str) -> str | None:
    """Spends a one-time link; returns the value of the new session, or None when the link does not work any more.

    The session is always a new one, and the one that the browser had ends with it.
    """
    hub: Hub = request.app.state.hub
    label, before = browser_of(request.headers.get("user-agent", "")), request.cookies.get(cookie_name(hub.settings), "")

    async def spend(session: WriteSession) -> str | None:
        link = await spend_token(session, value, kind="link")
        if link is None:
            return None
        await record(session, [AuditEvent("session:opened", link.person or DEMO, None, {"link": str(link.id), "door": "browser"})])
        await end_token(session, before)
        scopes = tuple(sorted(link.scopes))
        return await issue_token(
            session, kind="session", person=link.person, label=label, scopes=scopes, lifetime=lifetime_of(hub.settings)
        )

    return await hub.committed(spend) if value.isascii() else None


async def leave(request: Request) -> None:
    """Ends the session at once, for every tab."""
    hub: Hub = request.app.state.hub
    value = request.cookies.get(cookie_name(hub.settings), "")

    async def end(session: WriteSession) -> None:
        await end_token(session, value)

    await hub.committed(end)


def set_cookie(response: Response, settings: Settings, value: str) -> None:
    """Gives the browser its session; an empty value takes it away."""
    response.set_cookie(
        cookie_name(settings),
        value,
        max_age=lifetime_of(settings) if value else 0,
        path="/",
        secure=_https(settings),
        httponly=True,
        samesite="strict",
    )


def cookie_name(settings: Settings) -> str:
    """`__Host-` where the browser allows it; otherwise the port keeps hubs on one machine apart, because cookies ignore it."""
    return "__Host-countersign" if _https(settings) else f"countersign_{urlsplit(settings.url).port or 80}"


def lifetime_of(settings: Settings) -> int:
    """Seconds after which a session ends, however much it is used."""
    return settings.session_hours * 3600


def idle_of(settings: Settings) -> int:
    """Seconds after which a session ends that is not used."""
    return settings.session_idle_minutes * 60


def browser_of(agent: str) -> str:
    """What the list of sessions calls a browser, for instance `Firefox on Linux`; only words of ours, whatever it says of itself."""
    name = next((ours for ours, theirs in _BROWSERS if theirs in agent), "browser")
    system = next((one for one in _SYSTEMS if one in agent), "")
    return f"{name} on {system}" if system else name


def flow_cookie(settings: Settings) -> str:
    """The cookie of a sign-in that is under way; unlike the session's it is sent when the issuer leads back."""
    return f"{cookie_name(settings)}_flow"


async def _cast(hub: Hub, room: Room) -> list[Person]:
    """In the order in which policy introduces them."""
    order = list((await hub.rulebook()).policy.file.people)
    return sorted(await room.cast(), key=lambda one: (order.index(one.name) if one.name in order else len(order), one.name))


def _csrf(session: str) -> str:
    return hmac.new(session.encode(), b"csrf", hashlib.sha256).hexdigest()


def _https(settings: Settings) -> bool:
    return settings.url.startswith("https://")
