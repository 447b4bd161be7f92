"""A run as it was at each decision, for those who may read the record."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from bot.api.problems import Problem
from bot.api.stories import HIDDEN, NO_SUCH_RUN, without_secrets
from bot.hubs import Hub
from commands.asofs import AsOf, read_as_of
from commands.storywords import asked
from store.databases import ReadSession
from store.runs import RunRow, find_by_reference

from .audits import reading_of
from .frames import here_of
from .pages import framed_page

router = APIRouter(include_in_schema=False)


@router.get("/audit/runs/{reference}")
async def show(request: Request, reference: str) -> Response:
    here = await here_of(request, f"/audit/runs/{reference[:40]}")
    frame = await reading_of(request, here, run=reference[:40])
    hub: Hub = request.app.state.hub

    async def read(session: ReadSession) -> tuple[RunRow, AsOf | None] | None:
        run = await find_by_reference(session, reference)
        return (run, await read_as_of(session, run)) if run else None

    found = await hub.read(read)
    if found is None or found[1] is None:
        raise Problem(404, HIDDEN, NO_SUCH_RUN)
    return framed_page(request, "asof.html", frame, run=found[0], asof=found[1], asked=asked(found[0]), shown=without_secrets)
