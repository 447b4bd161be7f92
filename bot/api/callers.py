"""Who calls the API: a live personal token, its person as they are now, and what the token may be used for."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn
from uuid import UUID

from fastapi import Request
from fastapi.security import HTTPBearer

from bot.hubs import Hub
from bot.refusals import Refusals
from commands.parsing import NotUnderstood, find_command, split
from commands.policies import ADMIN
from countersign.commands import Command
from countersign.invocations import Door
from store.audits import AuditEvent
from store.databases import ReadSession
from store.people import Person, find_person
from store.tokens import Token, find_token

from .problems import Problem

READ: Final = "read"
SUBMIT: Final = "submit"
DECIDE: Final = "decide"
ALL: Final = "admin"
# What decides, or lets somebody else decide, could otherwise be typed with a token that may only ask; whoever links an account gives it
# all that they may.
_WANTED: Final = {**dict.fromkeys(("approve", "ask", "break-glass", "delegate", "deny", "review", "takeback"), DECIDE), "link code": ALL}
bearer = HTTPBearer(auto_error=False, description="A personal token: countersign token issue")


@dataclass(frozen=True)
class Caller:
    """The person behind a token, the token's scopes, and this request's trace; `fresh` when they have just logged in with it."""

    hub: Hub
    person: Person
    scopes: frozenset[str]
    trace: str
    token: UUID
    fresh: bool = False

    def may(self, *scopes: str) -> bool:
        """Whether the token has one of these scopes."""
        return bool(self.scopes & {*scopes, ALL})

    async def check_reach(self, *, command: str = "", text: str = "") -> None:
        """Raises Problem 403 when the token may not submit this command: deciding and administering need scopes of their own."""
        found = _named(command, text, (await self.hub.rulebook()).registry.commands)
        wanted = "" if found is None else ALL if found.permission == ADMIN else _WANTED.get(found.name, "")
        if wanted and not self.may(wanted):
            await self.refuse(wanted)

    async def refuse(self, scope: str) -> NoReturn:
        """Records that the token lacks a scope, and raises Problem 403."""
        detail = {"reason": "missing_scope", "door": Door.api.value, "scope": scope, "trace": self.trace}
        await self.hub.record([AuditEvent("request:refused", self.person.name, None, detail)])
        raise Problem(403, "missing_scope", f"This token lacks the scope '{scope}'; issue one that has it: countersign token issue.")


def caller_with(*scopes: str) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: the caller, if their token has one of these scopes; raises Problem 401 or 403."""

    async def read(request: Request) -> Caller:
        caller = await find_caller(request)
        if not caller.may(*scopes):
            await caller.refuse(scopes[0])
        return caller

    return read


async def find_caller(request: Request) -> Caller:
    """The caller as the database knows them now; raises Problem 401."""
    hub: Hub = request.app.state.hub
    refusals: Refusals = request.app.state.refusals
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not value.isascii() or not value.strip():
        refusals.count(door=Door.api, reason="no_token")
        raise _unauthorized("Send a personal token: Authorization: Bearer cs_api_…")

    async def look(session: ReadSession) -> tuple[Token | None, Person | None]:
        token = await find_token(session, value.strip(), kind="api")
        return token, await find_person(session, token.person) if token and token.person else None

    token, person = await hub.read(look)
    if token is None or person is None:
        refusals.count(door=Door.api, reason="unknown_token")
        raise _unauthorized("This token is not known, has expired or was ended; issue a new one: countersign token issue.")
    if not person.active:
        refusals.count(door=Door.api, reason="actor_inactive")
        raise _unauthorized("Your account is not active any more.")
    return Caller(hub, person, token.scopes, request.state.trace, token.id, token.fresh)


def _unauthorized(sentence: str) -> Problem:
    return Problem(401, "unauthorized", sentence, headers={"www-authenticate": 'Bearer realm="countersign"'})


def _named(command: str, text: str, commands: Mapping[str, Command]) -> Command | None:
    try:
        return find_command(split(text), commands)[0] if text else commands.get(command)
    except NotUnderstood:
        return None
