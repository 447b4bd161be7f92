"""The catalogue: the commands that one may ask for, with their owners, what they need, and how they did lately."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from bot.hubs import Hub
from commands.authorizing import Request as Wanted
from commands.catalogues import is_shipped, marks_of
from countersign.commands import Command
from countersign.invocations import Door, Place
from store.databases import ReadSession
from store.figures import LATEST, USED_DAYS, find_reviewed, find_used

from .frames import Frame, framed, here_of
from .panes import Cell, Pane, panes_page

router = APIRouter(include_in_schema=False)
REVIEW: Final = "catalogue review"
REVIEWS: Final = 50


@router.get("/catalogue")
async def show(request: Request) -> Response:
    here = await here_of(request, "/catalogue")
    frame = await framed(request, here, "/ask")
    hub: Hub = request.app.state.hub
    wanted = Wanted(permission="countersign:use", door=Door.browser, place=Place("console"))
    commands = [one for one in frame.rulebook.listed_for(here.visitor.person, wanted) if one.kind == "command"]

    async def read(session: ReadSession) -> tuple[Mapping[str, Any], Mapping[str, tuple[datetime, bool]]]:
        return await find_used(session, [one.name for one in commands]), await find_reviewed(session, REVIEW, latest=REVIEWS)

    used, reviewed = await hub.read(read)
    head = ("Command", "Owner", "Arguments", "Risk", "Approved by", "Last asked", "Last reviewed", "To look at")
    own, shipped = (
        [_row(frame, one, used[one.name], reviewed.get(one.name)) for one in commands if is_shipped(one) is so] for so in (False, True)
    )
    aside = f"Of the latest {LATEST} runs of the last {USED_DAYS} days, no dry runs. Approval is what the author asks; policy may ask more."
    panes = [Pane("Commands", head, own, "You may ask for none.", aside), Pane("Countersign's own", head, shipped, "You may ask for none.")]
    return panes_page(request, frame, "Catalogue", panes)


def _row(frame: Frame, one: Command, used: Any, reviewed: tuple[datetime, bool] | None) -> tuple[Any, ...]:
    name = Cell(one.name, frame.here.link("/ask", command=one.name))
    ended = used.good + used.bad
    share = f"{round(100 * used.good / ended)} % of {ended}" if ended else ""
    approval = f"{one.approval.count} of {one.approval.by}" if one.approval and one.approval.by else "in stages" if one.approval else ""
    return (
        name,
        one.owner,
        Cell(one.schema.usage, code=True),
        one.risk.name,
        approval,
        (Cell(at=used.last_at), *((Cell(f"well {share}"),) if share else ())) if used.last_at else None,
        (Cell(at=reviewed[0]), Cell("to be given up", tone="bad") if reviewed[1] else Cell("it stays")) if reviewed else None,
        tuple(Cell(words, tone="bad") for words in marks_of(one, used)),
    )
