"""The inbox: what waits for this person, what they asked for, and what was decided lately."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from bot.hubs import Hub
from commands.inboxes import card_of_waiting, reviews_for, waiting_for, with_words
from commands.rulebooks import Rulebook
from commands.stories import tell_all
from commands.storyfacts import earlier_of
from commands.taskcards import card_of_task
from commands.tasks import tasks_for
from commands.views import ViewPage
from countersign.runs import FINISHED, RunStatus
from store.approvals import find_decided_by
from store.databases import ReadSession
from store.listings import Wanted, find_listed
from store.people import Person
from store.runs import RunRow, find_runs

from .bulks import pick_of
from .frames import framed, here_of
from .pages import framed_page
from .saids import said_of
from .savedviews import find_saved, saved_of

router = APIRouter(include_in_schema=False)
SHOWN: Final = 20
SEARCHED: Final = 300
TABS: Final = {"": "Waiting for me", "asked": "Asked by me", "done": "Done lately"}
_OPEN: Final = tuple(status for status in RunStatus if status not in FINISHED)


@router.get("/inbox")
async def show(request: Request, tab: Annotated[str, Query(max_length=10)] = "", q: Annotated[str, Query(max_length=200)] = "") -> Response:
    given = {"tab": tab if tab in TABS else "", "q": q.strip()}
    here = await here_of(request, "/inbox", **given)
    frame = await framed(request, here, "/inbox")
    views, instead = await find_saved(request, frame, ViewPage.inbox)
    if instead is not None:
        return instead
    hub: Hub = request.app.state.hub
    cards = await hub.read(lambda session: _READERS[given["tab"]](session, frame.rulebook, here.visitor.person, given["q"]))
    saved, said = saved_of(here, ViewPage.inbox, views, given), await said_of(request, here)
    values: dict[str, Any] = {**given, "tabs": TABS, "items": cards, "full": len(cards) >= SHOWN, "saved": saved, "said": said}
    return framed_page(request, "inbox.html", frame, **values)


async def _waiting(session: ReadSession, rulebook: Rulebook, person: Person, words: str) -> list[dict[str, Any]]:
    inbox = await waiting_for(session, rulebook, person, limit=SHOWN, words=words)
    earlier = await earlier_of(session, rulebook, [one.run for one in inbox.waiting])
    found = []
    for one in inbox.waiting:
        card = card_of_waiting(one, rulebook, earlier=earlier.get(one.run.id))
        told: dict[str, Any] = {"run": one.run, "card": card, "until": one.request.expires_at, "on_behalf": one.on_behalf}
        found.append(told | {"pick": pick_of(one)})
    tasks = await with_words(session, await tasks_for(session, rulebook, person, limit=SHOWN), words, number=lambda one: one.run.number)
    found += [{"run": one.run, "card": card_of_task(one.row, one.run)} for one in tasks]
    reviews = await with_words(session, await reviews_for(session, rulebook, person), words, number=lambda one: one.run.number)
    return found + [one | {"review": True} for one in await _told(session, rulebook, [one.run for one in reviews])]


async def _asked(session: ReadSession, rulebook: Rulebook, person: Person, words: str) -> list[dict[str, Any]]:
    runs = await find_listed(session, Wanted(askers=[person.name], statuses=_OPEN, words=words), limit=SHOWN)
    return await _told(session, rulebook, runs)


async def _done(session: ReadSession, rulebook: Rulebook, person: Person, words: str) -> list[dict[str, Any]]:
    """What this person decided, and what of theirs has ended, newest first."""
    ids = await find_decided_by(session, person.name, limit=SEARCHED if words else SHOWN)
    decided = await with_words(session, list((await find_runs(session, ids)).values()), words, number=lambda one: one.number)
    ended = await find_listed(session, Wanted(askers=[person.name], statuses=tuple(FINISHED), words=words), limit=SHOWN)
    runs = {one.id: one for one in (*decided, *ended)}
    newest = sorted(runs.values(), key=lambda one: one.moved_at, reverse=True)[:SHOWN]
    return await _told(session, rulebook, newest)


async def _told(session: ReadSession, rulebook: Rulebook, runs: Sequence[RunRow]) -> list[dict[str, Any]]:
    cards = await tell_all(session, runs, rulebook=rulebook)
    return [{"run": run, "card": card} for run, card in zip(runs, cards, strict=True)]


_READERS: Final = {"": _waiting, "asked": _asked, "done": _done}
