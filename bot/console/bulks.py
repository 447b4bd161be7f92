"""Several requests decided at once: each is still a decision of its own, about its own digest, checked by itself, with its own answer."""

from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from bot.api.problems import Problem
from bot.api.rooms import room_of
from bot.hubs import Hub
from bot.presses import Press
from commands.inboxes import Waiting
from commands.storywords import asked
from commands.voting import readable_by
from countersign.invocations import Door
from countersign.permissions import Risk
from countersign.tallies import Verdict
from store.databases import ReadSession
from store.runs import RunRow, find_runs

from .frames import Here, framed
from .panes import Cell, Pane, panes_page
from .sessions import posted

router = APIRouter(include_in_schema=False)
PICK: Final = "pick."
MOST: Final = 20
ONE_BY_ONE: Final = "This is of critical risk, so it is decided by itself, with a passkey; nothing was done."


@router.post("/inbox/decide")
async def decide(request: Request) -> Response:
    visitor, fields = await posted(request)
    here = Here(visitor, path="/inbox")
    frame = await framed(request, here, "/inbox")
    verdict, key, reason = fields.get("verdict", ""), fields.get("key", ""), fields.get("reason", "")[:500]
    picks = [one.partition(" ") for name, one in sorted(fields.items()) if name.startswith(PICK)]
    if verdict not in {one.value for one in Verdict} or not 8 <= len(key) <= 60 or len(picks) > MOST:
        raise Problem(400, "bad_input", "The form is not whole; go back, reload the page and try again.")
    ids = [UUID(run) for run, _, _ in picks if _is_id(run)]
    hub: Hub = request.app.state.hub

    async def read(session: ReadSession) -> dict[UUID, RunRow]:
        found = await find_runs(session, ids)
        return {run.id: run for run in await readable_by(session, frame.rulebook, visitor.person, list(found.values()))}

    known, rows = await hub.read(read), []
    for number, (run, _, digest) in enumerate(picks):
        one = known.get(UUID(run)) if _is_id(run) else None
        critical = one is not None and one.risk >= Risk.critical
        click = Press(f"{key}.{number}", verdict, run, Door.browser, digest=digest, reason=reason, fresh=visitor.fresh)
        said = ONE_BY_ONE if critical else (await room_of(request).press(visitor.person, click)).text
        rows.append((_named(here, one), asked(one) if one else "", said))
    empty = "You chose none, so nothing was done."
    back = (Cell("Back to the inbox", here.link("/inbox", all=1)),)
    return panes_page(request, frame, "Decided", [Pane("What became of each", ("Run", "Asked", "Answer"), rows, empty, links=back)])


def pick_of(one: Waiting) -> str:
    """What chooses this request among others; empty for what takes a passkey or a fresh login, which is decided by itself."""
    plain = one.run.risk < Risk.critical and not one.ballot.rule.step_up
    return f"{one.run.id} {one.request.digest}" if plain else ""


def _named(here: Here, run: RunRow | None) -> Cell:
    return Cell(f"#{run.number}", here.link(f"/runs/{run.number}")) if run else Cell("unknown")


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
