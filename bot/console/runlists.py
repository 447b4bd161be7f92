"""The list of runs: filters in the address, newest first, a page at a time."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import Response

from bot.api.problems import Problem
from bot.hubs import Hub
from commands.rulebooks import Rulebook
from commands.schedules import coming, told
from commands.storywords import STATES
from commands.views import FILTERS, ViewPage
from commands.voting import readable_by
from countersign.invocations import Door
from countersign.runs import FINISHED, RunStatus
from store.databases import ReadSession
from store.listings import Wanted, find_listed
from store.people import Person, find_all_people
from store.runs import RunRow
from store.schedules import find_schedules
from store.searches import find_lag

from .follows import FOLLOWED, SHOWN, Filters
from .frames import Frame, Here, day_of, framed, here_of
from .pages import framed_page, row_part
from .savedviews import find_saved, saved_of

router = APIRouter(include_in_schema=False)
COMING: Final = 20
# A page of hidden runs is gone on from, but not for ever: then the page is short and says where to go on.
SCANNED: Final = 10
# The index is a second or two behind, which nobody has to know: what is newer is looked at as it is.
LATE_SECONDS: Final = 30.0
STATUSES: Final[Mapping[str, tuple[RunStatus, ...]]] = {
    "open": tuple(one for one in RunStatus if one not in FINISHED),
    "bad": (RunStatus.failed, RunStatus.rolled_back, RunStatus.rollback_failed, RunStatus.interrupted),
    **{one.value: (one,) for one in RunStatus},
}


@router.get("/runs")
async def show(request: Request) -> Response:
    given = {name: request.query_params.get(name, "").strip()[:200] for name in FILTERS[ViewPage.runs]}
    here = await here_of(request, "/runs", **given)
    frame = await framed(request, here, "/runs")
    views, instead = await find_saved(request, frame, ViewPage.runs)
    if instead is not None:
        return instead
    hub: Hub = request.app.state.hub
    before = _number(request.query_params.get("before", ""))

    async def find(session: ReadSession) -> tuple[list[RunRow], int | None, float]:
        wanted = await _wanted(session, frame.rulebook, here, given)
        found, more = await _page(session, frame.rulebook, here.visitor.person, wanted, before)
        return found, more, await find_lag(session) if wanted.searched else 0.0

    runs, more, lag = await hub.read(find)
    return framed_page(
        request,
        "runs.html",
        frame,
        rows=[row_part(here, one) for one in runs],
        followed=_followed(given),
        more=more,
        before=before,
        lag=round(lag) if lag > LATE_SECONDS else 0,
        given=given,
        narrowed=any(value for name, value in given.items() if name != "q"),
        given_only={name: value for name, value in given.items() if value},
        saved=saved_of(here, ViewPage.runs, views, given),
        choices=_choices(frame.rulebook),
        coming=await _coming(hub, frame) if request.query_params.get("coming") == "1" else None,
    )


def _followed(given: Mapping[str, str]) -> str | None:
    """How the page's stream is asked for the list itself; None where it can only tell that something changed."""
    filters = [(name, value) for name, value in given.items() if value]
    return urlencode([("list", "runs"), *filters]) if FOLLOWED.issuperset(name for name, _ in filters) else None


def followed_of(request: Request) -> tuple[Filters, Wanted] | None:
    """The list that a stream is asked for, if any; raises Problem 422."""
    if request.query_params.get("list") != "runs":
        return None
    given = {name: request.query_params.get(name, "").strip()[:200] for name in FOLLOWED}
    askers = [given["asker"]] if given["asker"] else None
    wanted = Wanted(command=given["command"], askers=askers, door=given["door"], statuses=_statuses(given["status"]))
    return tuple(sorted((name, value) for name, value in given.items() if value)), wanted


async def _coming(hub: Hub, frame: Frame) -> list[tuple[datetime, str, str]]:
    """The slots that will be due next: when, of which schedule, and what they ask for, as far as the reader may read it."""
    rows = await hub.read(find_schedules)
    return [(at, row.name, told(frame.rulebook, frame.here.visitor.person, row)) for at, row in coming(rows, limit=COMING)]


async def _page(
    session: ReadSession, rulebook: Rulebook, person: Person, wanted: Wanted, before: int | None
) -> tuple[list[RunRow], int | None]:
    """What this person may see of them, and where to go on."""
    found: list[RunRow] = []
    for _ in range(SCANNED):
        rows = await find_listed(session, wanted, before=before, limit=SHOWN + 1)
        seen = {one.id for one in await readable_by(session, rulebook, person, rows[:SHOWN])}
        for row in rows[:SHOWN]:
            if len(found) == SHOWN:
                return found, before
            before = row.number
            if row.id in seen:
                found.append(row)
        if len(rows) <= SHOWN:
            return found, None
    return found, before


async def _wanted(session: ReadSession, rulebook: Rulebook, here: Here, given: Mapping[str, str]) -> Wanted:
    askers = [given["asker"]] if given["asker"] else None
    if given["group"]:
        members = {one.name for one in await find_all_people(session) if given["group"] in rulebook.policy.groups_of(one)}
        askers = sorted(members & set(askers) if askers else members)
    return Wanted(
        command=given["command"],
        askers=askers,
        door=given["door"],
        statuses=_statuses(given["status"]),
        arguments=_arguments(given["argument"]),
        since=day_of(here, "since", given["since"]),
        until=day_of(here, "until", given["until"], after=1),
        words=given["q"],
    )


def _statuses(value: str) -> tuple[RunStatus, ...]:
    if value and value not in STATUSES:
        raise Problem(422, "wrong_parameter", f"There is no state '{value[:40]}'; choose one from the list.")
    return STATUSES.get(value, ())


def _arguments(value: str) -> dict[str, str]:
    """`env=prod service=api`; raises Problem 422."""
    words = [one.partition("=") for one in value.split()]
    if any(not name or not sign for name, sign, _ in words):
        raise Problem(422, "wrong_parameter", "argument: should be name=value, for instance env=prod; several are set apart by spaces.")
    return {name: given for name, _, given in words}


def _number(value: str) -> int | None:
    return int(value) if value.isdecimal() and len(value) < 18 else None


def _choices(rulebook: Rulebook) -> dict[str, Any]:
    return {
        "commands": sorted(rulebook.registry.commands),
        "doors": [one.value for one in Door],
        "statuses": {"open": "not finished", "bad": "failed or interrupted", **{one.value: STATES[one][0] for one in RunStatus}},
    }
