"""Server-sent events that tell a page to read itself again; none outlives the session that opened it."""

from collections.abc import AsyncIterator
from uuid import UUID

from starlette.requests import Request

from bot.api.problems import Problem
from countersign.errors import CountersignError

from .frames import Here
from .pulses import Pulse
from .sessions import find_visitor


async def changes(request: Request, here: Here, run: UUID | None, *, after: int) -> AsyncIterator[str]:
    """The stream of one page."""
    pulse: Pulse = request.app.state.pulse
    yield "retry: 2000\n\n"
    async for changed in pulse.watch(run, after=after):
        try:
            await find_visitor(request, acting_as=here.visitor.person.name)
        except (Problem, CountersignError):
            return
        yield "event: changed\ndata: 1\n\n" if changed else "event: same\ndata: 1\n\n"
