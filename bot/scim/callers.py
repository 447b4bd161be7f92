"""Who calls: a directory with a live token of its own, while the policy says that there is one."""

from dataclasses import dataclass
from typing import NoReturn

from starlette.requests import Request

from bot.hubs import Hub
from bot.refusals import Refusals
from store.databases import ReadSession
from store.tokens import Token, find_token

from .problems import ScimProblem

KIND = "scim"


@dataclass(frozen=True)
class Directory:
    """The caller. `proof` is its token, sealed for the workers: they check it again before they believe what it said."""

    hub: Hub
    proof: bytes
    trace: str

    @property
    def base(self) -> str:
        return f"{self.hub.settings.url}/scim/v2"


async def find_directory(request: Request) -> Directory:
    """The caller as the database knows it now; raises ScimProblem 401 or 403."""
    hub: Hub = request.app.state.hub
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    value = value.strip()
    if scheme.lower() != "bearer" or not value.isascii() or not value:
        _refuse(request, "no_token")

    async def look(session: ReadSession) -> Token | None:
        return await find_token(session, value, kind=KIND)

    if await hub.read(look) is None:
        _refuse(request, "unknown_token")
    rulebook = await hub.rulebook()
    if "scim" not in rulebook.policy.file.directories:
        _count(request, "not_in_policy")
        raise ScimProblem(403, "The policy in force has no directories.scim, so nothing is taken from a directory.")
    return Directory(hub, rulebook.sealer.seal(value), request.state.trace)


def _refuse(request: Request, reason: str) -> NoReturn:
    _count(request, reason)
    sentence = "Send the token of this directory: Authorization: Bearer cs_scim_…; make one with: countersign directory token"
    raise ScimProblem(401, sentence, headers={"www-authenticate": 'Bearer realm="countersign"'})


def _count(request: Request, reason: str) -> None:
    refusals: Refusals = request.app.state.refusals
    refusals.count(door="scim", reason=reason)
