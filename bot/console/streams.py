"""Server-sent events that keep a page current: its list, or that it has to read itself again; none outlives the session that opened it."""

import time
from collections.abc import AsyncIterator
from uuid import UUID

from starlette.requests import Request

from bot.api.rooms import part_event
from store.listings import Wanted

from .follows import Filters, Follows
from .frames import Here
from .pulses import Pulse
from .trays import Trays
from .vigils import may_go_on

BEGIN = "retry: 2000\n\n"
CHANGED = "event: changed\ndata: 1\n\n"
SAME = "event: same\ndata: 1\n\n"


async def changes(request: Request, here: Here, run: UUID | None, *, after: int) -> AsyncIterator[str]:
    """The stream of one page that reads itself again."""
    pulse: Pulse = request.app.state.pulse
    yield BEGIN
    async for changed in pulse.watch(run, after=after):
        if not await may_go_on(request, here):
            return
        yield CHANGED if changed else SAME


async def inboxed(request: Request, here: Here, tab: str, *, after: int) -> AsyncIterator[str]:
    """The stream of one inbox: which items have come, changed or gone; at first, if anything did before it, that all has to be read."""
    pulse: Pulse = request.app.state.pulse
    trays: Trays = request.app.state.trays
    first, rights, read = True, False, time.monotonic()
    yield BEGIN
    with trays.reading(here.visitor.person, tab):
        async for changed in pulse.watch(None, after=after, shared=True):
            if not await may_go_on(request, here):
                return
            rights |= None in changed
            items = None if first else await trays.items(here, tab, [one for one in changed if one])
            if changed and (items is None or (rights and time.monotonic() - read > trays.pause)):
                rights, read = False, time.monotonic()
                yield CHANGED
            else:
                yield part_event("items", items) if items else SAME
            first = False


async def listed(request: Request, here: Here, filters: Filters, wanted: Wanted, *, after: int) -> AsyncIterator[str]:
    """The stream of one page with a list of runs, which is told anew; who may not see all of it reads the page again."""
    pulse: Pulse = request.app.state.pulse
    follows: Follows = request.app.state.follows
    here, told = Here(here.visitor, path="/runs", query=dict(filters)), ""
    yield BEGIN
    with follows.following(filters, wanted):
        async for changed in pulse.watch(None, after=after, shared=True):
            if not await may_go_on(request, here):
                return
            part = await follows.part(here, filters, [one for one in changed if one]) if changed else told
            if part is None:
                yield CHANGED
            elif part == told:
                yield SAME
            else:
                told = part
                yield part_event("region", part)
