"""Whether the sessions behind open streams are alive: asked of the database before anything is told, for all of them at once."""

from collections.abc import Callable, Mapping

from starlette.requests import Request

from bot.api.problems import Problem
from bot.hubs import Hub
from bot.together import Together
from countersign.errors import CountersignError
from store.sessions import find_alive
from store.tokens import hash_of

from .frames import Here
from .sessions import cookie_name, find_visitor, idle_of


class Vigil:
    """One per web process."""

    def __init__(self, hub: Callable[[], Hub]) -> None:
        self._hub = hub
        self._together: Together[bytes, bool] = Together(hub, self._read)

    async def is_alive(self, value: str) -> bool:
        """Whether a session of a person has this value, who is active."""
        return await self._together.get(hash_of(value))

    async def _read(self, hashes: frozenset[bytes]) -> Mapping[bytes, bool]:
        hub = self._hub()
        alive = await hub.read(lambda session: find_alive(session, hashes, idle=idle_of(hub.settings)))
        return {one: one in alive for one in hashes}


async def may_go_on(request: Request, here: Here) -> bool:
    """Whether the session that opened a stream is still good, for one more message."""
    visitor = here.visitor
    try:
        if visitor.cast:  # a demo's session is nobody's own
            await find_visitor(request, acting_as=visitor.person.name)
            return True
        vigil: Vigil = request.app.state.vigil
        return await vigil.is_alive(request.cookies.get(cookie_name(request.app.state.hub.settings), ""))
    except (Problem, CountersignError):
        return False
