"""Saved views on a page: links to those that the reader has, a link that saves this one, and the one that is seen first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse

from bot.hubs import Hub
from commands.views import ViewPage
from store.views import ViewRow, find_views

from .frames import Frame, Here

ALL = {"all": "1"}


@dataclass(frozen=True)
class Link:
    """One view: its address, whose it is if not the reader's, and whether the page shows it now."""

    name: str
    href: str
    whose: str
    current: bool


@dataclass(frozen=True)
class Saved:
    """`everything` is the page without filters, `save` and `remove` are addresses of forms, empty where there is nothing to do."""

    links: Sequence[Link]
    everything: str
    save: str
    remove: str


async def find_saved(request: Request, frame: Frame, page: ViewPage) -> tuple[list[ViewRow], RedirectResponse | None]:
    """The views that this page offers, and where to go instead if it was opened without filters and one of them comes first."""
    hub: Hub = request.app.state.hub
    person = frame.here.visitor.person
    groups = sorted(frame.rulebook.policy.groups_of(person))
    rows = await hub.read(lambda session: find_views(session, person.name, groups, page=page))
    first = next((one for one in rows if one.first and one.owner == person.name), None)
    bare = not set(request.query_params) - {"as"}
    return rows, RedirectResponse(frame.here.link(frame.here.path, **first.query), 303) if bare and first else None


def saved_of(here: Here, page: ViewPage, rows: Sequence[ViewRow], given: Mapping[str, str]) -> Saved:
    """What the page shows of them, while it is filtered by `given`."""
    filters = {name: value for name, value in given.items() if value}
    mine = here.visitor.person.name
    links = [_link(here, one, current=one.query == filters) for one in rows]
    own = next((one.name for one in rows if one.owner == mine and one.query == filters), "")
    known = any(one.current for one in links)
    save = here.link("/ask", command="view save", **{"a.page": page.value, "a.query": urlencode(filters)}) if filters and not known else ""
    remove = here.link("/ask", command="view remove", **{"a.page": page.value, "a.name": own}) if own else ""
    first = any(one.first and one.owner == mine for one in rows)
    return Saved(links, here.link(here.path, **(ALL if first else {})), save, remove)


def _link(here: Here, one: ViewRow, *, current: bool) -> Link:
    whose = "" if one.owner == here.visitor.person.name else one.owner
    return Link(one.name, here.link(here.path, **(one.query or ALL)), whose, current)
