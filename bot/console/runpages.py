"""One run: its card, plan, timeline, log, decisions, messages and record. Looking decides nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from bot.api.downloads import download
from bot.api.rooms import stream
from bot.api.stories import read_visible, without_secrets
from bot.hubs import Hub
from commands.authorizing import Allowed, held
from commands.pictures import picture_of
from commands.policies import AUDIT
from commands.rulebooks import Rulebook
from commands.stories import card_of, read_facts
from commands.storyfacts import Facts
from commands.storywords import asked
from commands.waits import Told, told_waits
from countersign.invocations import Door
from countersign.replies import Reply
from countersign.runs import FINISHED, RunStatus
from store.audits import AuditRow, find_trail
from store.breaks import BreakRow, ReviewRow, find_break, find_review
from store.conversations import Line, find_lines
from store.databases import ReadSession
from store.journals import StepRow, find_steps
from store.logs import find_lines as find_log
from store.messages import find_shown
from store.people import Person
from store.runs import RunRow
from store.tasks import TaskRow, find_run_tasks
from store.waits import is_parked

from .frames import framed, here_of
from .pages import framed_page
from .panes import Asking
from .runactions import actions
from .runlists import followed_of
from .saids import said_of
from .streams import changes, inboxed, listed
from .trays import FOLLOWED as TABS

router = APIRouter(include_in_schema=False)
LOG_LINES: Final = 500


@dataclass(frozen=True)
class Story:
    """Everything that the page tells about one run; its record only to those who may read the record."""

    run: RunRow
    facts: Facts
    trail: Sequence[AuditRow]
    said: Sequence[Line]
    log: Sequence[Any]
    messages: Sequence[Any]
    waits: Sequence[Told]
    tasks: Sequence[TaskRow]
    broken: BreakRow | None
    review: ReviewRow | None

    @property
    def plan(self) -> dict[str, Any]:
        return without_secrets(self.run.plan or {})  # type: ignore[no-any-return]

    @property
    def answer(self) -> Reply | None:
        """What the command answered, all of it."""
        return Reply.stored(self.run.result) if self.run.status == RunStatus.answered and self.run.result else None

    @property
    def bars(self) -> list["Bar"]:
        return _bars(self.facts.steps)


@dataclass(frozen=True)
class Bar:
    """One call on the timeline: where it begins and how long it is, in parts of a thousand of the whole."""

    step: StepRow
    start: int
    width: int
    seconds: float

    @property
    def lasted(self) -> str:
        return f"{self.seconds:.1f} s" if self.seconds >= 1 else f"{1000 * self.seconds:.0f} ms"


@router.get("/runs/{reference}")
async def show(request: Request, reference: str) -> Response:
    here = await here_of(request, f"/runs/{reference[:40]}")
    frame = await framed(request, here, "/runs")
    hub: Hub = request.app.state.hub

    async def read(session: ReadSession, run: RunRow) -> Story:
        return await _story(session, frame.rulebook, here.visitor.person, run)

    visitor = here.visitor
    story = await read_visible(hub, visitor.person, reference, read, door=Door.browser, trace=visitor.trace)
    return framed_page(
        request,
        "run.html",
        frame,
        story=story,
        run=story.run,
        asked=asked(story.run),
        card=card_of(story.facts, details=True),
        live=story.run.status not in FINISHED,
        again=story.facts.step_up == "login" and not visitor.fresh,
        said=await said_of(request, here),
        actions=list(actions(Asking(frame), story.run)),
    )


@router.get("/runs/{reference}/artifacts/{name}")
async def fetch(request: Request, reference: str, name: str) -> Response:
    """A file of the run, to save."""
    visitor = (await here_of(request, f"/runs/{reference[:40]}")).visitor
    return await download(request.app.state.hub, visitor.person, reference, name, door=Door.browser, trace=visitor.trace)


@router.get("/runs/{reference}/plan.svg")
async def picture(request: Request, reference: str) -> Response:
    """The plan drawn as a picture, with how far each step is."""
    here = await here_of(request, "/runs")
    hub: Hub = request.app.state.hub

    async def read(session: ReadSession, run: RunRow) -> str:
        return picture_of(run.plan or {}, await find_steps(session, run.id, revision=run.revision))

    drawn = await read_visible(hub, here.visitor.person, reference, read, door=Door.browser, trace=here.visitor.trace)
    return Response(drawn, media_type="image/svg+xml")


@router.get("/console/events")
async def events(
    request: Request, run: Annotated[UUID | None, Query()] = None, after: Annotated[int, Query(ge=0, lt=2**53)] = 2**53 - 1
) -> Response:
    """Says when a page has to be read again: when anything changed, or this run. Only whoever may see the run is told.

    For most lists of runs it tells the list itself.
    """
    here = await here_of(request, "/console/events")
    hub: Hub = request.app.state.hub
    if run is not None:
        await read_visible(hub, here.visitor.person, str(run), _nothing, door=Door.browser, trace=here.visitor.trace)
    elif here.visitor.cast:  # a demo's links say who acts, so nothing is made for all
        pass
    elif request.query_params.get("list") == "inbox" and (tab := request.query_params.get("tab", "")) in TABS:
        return stream(inboxed(request, here, tab, after=after))
    elif (followed := followed_of(request)) is not None:
        return stream(listed(request, here, *followed, after=after))
    return stream(changes(request, here, run, after=after))


async def _nothing(_session: ReadSession, _run: RunRow) -> None:
    return None


async def _story(session: ReadSession, rulebook: Rulebook, person: Person, run: RunRow) -> Story:
    return Story(
        run,
        await read_facts(session, run, lines=0, rulebook=rulebook, files=True),
        await find_trail(session, run.id) if isinstance(held(rulebook.policy, person, AUDIT), Allowed) else [],
        await find_lines(session, run.id),
        await find_log(session, run.id, last=LOG_LINES),
        await find_shown(session, run.id),
        (await told_waits(session, [run]))[run.id] if is_parked(run) else [],
        await find_run_tasks(session, run.id, revision=run.revision),
        await find_break(session, run.id, run.revision) if run.badge else None,
        await find_review(session, run.id) if run.badge else None,
    )


def _bars(steps: Sequence[StepRow]) -> list[Bar]:
    if not steps:
        return []
    now = datetime.now(UTC)
    first = min(one.started_at for one in steps)
    whole = max((max(one.ended_at or now for one in steps) - first).total_seconds(), 0.001)
    found = []
    for one in steps:
        seconds = ((one.ended_at or now) - one.started_at).total_seconds()
        start = round(1000 * (one.started_at - first).total_seconds() / whole)
        found.append(Bar(one, min(start, 995), max(5, min(round(1000 * seconds / whole), 1000 - min(start, 995))), seconds))
    return found
