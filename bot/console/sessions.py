"""Who looks at the page: a one-time link becomes a session, and a session acts as its person, or in the demo as any of the cast."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from bot.api.problems import Problem
from bot.hubs import Hub
from bot.rooms import Room
from commands.authorizing import INACTIVE
from store.audits import AuditEvent, record
from store.databases import ReadSession, WriteSession
from store.people import Person, find_person
from store.settings import Settings
from store.tokens import Token, end_token, find_token, issue_token, spend_token

from .forms import check_origin, read_form

SESSION_SECONDS: Final = 12 * 3600
DEMO: Final = "demo"
NOISE: Final = frozenset({"no_session", "csrf", "foreign_origin", INACTIVE.reason})
"""Why a request is refused before anybody may act; such refusals are counted."""
NO_SESSION: Final = "You are not signed in here. Open the link that `countersign up` or `countersign login` printed; it works once."


@dataclass(frozen=True)
class Visitor:
    """The person a request acts as, whom else it may act as, and the token that its forms must carry; `fresh` just after the login."""

    person: Person
    cast: tuple[str, ...]
    csrf: str
    trace: str
    fresh: bool = False

    def check(self, fields: dict[str, str]) -> None:
        """Raises Problem 403 when a form was not made by this session's page."""
        if not hmac.compare_digest(fields.get("csrf", "").encode(), self.csrf.encode()):
            raise Problem(403, "csrf", "This page is from an earlier session, so nothing was done. Reload it and try again.")


async def find_visitor(request: Request, *, acting_as: str) -> Visitor:
    """The visitor behind the session cookie; `acting_as` counts in a demo session only. Raises Problem 401."""
    hub: Hub = request.app.state.hub
    value = request.cookies.get(cookie_name(hub.settings), "")

    async def look(session: ReadSession) -> tuple[Token | None, Person | None]:
        token = await find_token(session, value, kind="session")
        return token, await find_person(session, token.person) if token and token.person else None

    token, person = await hub.read(look) if value.isascii() and value else (None, None)
    if token is None:
        raise Problem(401, "no_session", NO_SESSION)
    cast: list[Person] = []
    if person is None and DEMO in token.scopes and hub.settings.demo:
        cast = await _cast(hub, request.app.state.room)
        person = next((one for one in cast if one.name == acting_as), cast[0] if cast else None)
    if person is None:
        raise Problem(401, "no_session", NO_SESSION)
    if not person.active:
        raise Problem(401, INACTIVE.reason, INACTIVE.sentence)
    return Visitor(person, tuple(one.name for one in cast), _csrf(value), request.state.trace, token.fresh)


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


async def enter(hub: Hub, value: str) -> str | None:
    """Spends a one-time link; returns the value of the new session, or None when the link does not work any more."""

    async def spend(session: WriteSession) -> str | None:
        link = await spend_token(session, value, kind="link")
        if link is None:
            return None
        await record(session, [AuditEvent("session:opened", link.person or DEMO, None, {"link": str(link.id), "door": "browser"})])
        return await issue_token(
            session, kind="session", person=link.person, label="browser", scopes=tuple(sorted(link.scopes)), lifetime=SESSION_SECONDS
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
        max_age=SESSION_SECONDS if value else 0,
        path="/",
        secure=_https(settings),
        httponly=True,
        samesite="strict",
    )


def cookie_name(settings: Settings) -> str:
    """`__Host-` where the browser allows it; otherwise the port keeps hubs on one machine apart, because cookies ignore it."""
    return "__Host-countersign" if _https(settings) else f"countersign_{urlsplit(settings.url).port or 80}"


async def _cast(hub: Hub, room: Room) -> list[Person]:
    """In the order in which policy introduces them."""
    order = list((await hub.rulebook()).policy.file.people)
    return sorted(await room.cast(), key=lambda one: (order.index(one.name) if one.name in order else len(order), one.name))


def _csrf(session: str) -> str:
    return hmac.new(session.encode(), b"csrf", hashlib.sha256).hexdigest()


def _https(settings: Settings) -> bool:
    return settings.url.startswith("https://")
