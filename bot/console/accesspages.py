"""Access: what everybody has by groups and grants, since when, who gave it and when it was last used; and the reviews of it."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from bot.hubs import Hub
from commands.holdings import UNKNOWN, UNUSED, Holding, read_holdings
from store.databases import ReadSession
from store.listings import Wanted, find_listed
from store.people import find_roster
from store.runs import RunRow

from .frames import Frame, framed, here_of
from .panes import Asking, Cell, Pane, Value, panes_page, plainly, reads_all, refuse

router = APIRouter(include_in_schema=False)
PEOPLE: Final = 25
LOOKED_AT: Final = 200
REVIEWS: Final = 10
REVIEW: Final = "access review"
_HEAD: Final = ("Person", "Has", "Through", "Since", "Given by", "Last used", "")


@router.get("/access")
async def show(
    request: Request, q: Annotated[str, Query(max_length=64)] = "", after: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    here = await here_of(request, "/access", q=q)
    frame = await framed(request, here, "/people")
    if not reads_all(frame):
        raise await refuse(request, frame, "What everybody has is for admins and auditors; what you have is on your own page.")
    hub: Hub = request.app.state.hub

    async def read(session: ReadSession) -> tuple[list[Holding], str, list[RunRow]]:
        people = await find_roster(session, q.strip().lower().replace("\0", ""), after=after.replace("\0", ""), limit=PEOPLE + 1)
        more = people[PEOPLE - 1].name if len(people) > PEOPLE else ""
        active = [one for one in people[:PEOPLE] if one.active]
        reviews = await find_listed(session, Wanted(command=REVIEW), limit=REVIEWS)
        return await read_holdings(session, frame.rulebook, active, most=LOOKED_AT), more, reviews

    holdings, more, reviews = await hub.read(read)
    search = {"method": "get", "action": "/access", "hidden": {}, "inputs": [("q", "Name begins with", q)], "words": "Show"}
    lead = f"Last used: in the latest {LOOKED_AT} requests and votes of each."
    return panes_page(request, frame, "Access", _panes(frame, holdings, more, reviews, q), form=search, lead=lead)


def _panes(frame: Frame, holdings: list[Holding], more: str, reviews: list[RunRow], q: str) -> list[Pane]:
    here, asking = frame.here, Asking(frame)
    further = (Cell("More", here.link("/access", q=q, after=more)),) if more else ()
    rows = [_row(frame, asking, one) for one in holdings]
    held = Pane("What everybody has", _HEAD, rows, "Nobody of them has a role by a group or a grant.", links=further)
    told = [
        (Cell(f"#{one.number}", here.link(f"/runs/{one.number}")), one.created_at, one.asker, plainly(one.status), one.outcome)
        for one in reviews
    ]
    start = asking.link("Start a review", REVIEW)
    return [held, Pane("Reviews", ("Run", "Asked", "By", "State", "Outcome"), told, "There was none yet.", links=start)]


def _row(frame: Frame, asking: Asking, one: Holding) -> tuple[Value, ...]:
    name = one.person.name
    end = asking.link("End it", "access return", grant=one.grant.name) if one.grant else ()
    who = Cell(f"{name} (service account)" if one.person.service else name, frame.here.link(f"/people/{name}"))
    return who, one.has, one.through, one.since or UNKNOWN, one.source, one.used or Cell(UNUSED, tone="bad"), end
