"""Operations, for admins: is every part well, what waits, and what is scheduled, triggered, stopped and set; changed by commands only."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from bot.health import find_parts
from bot.hubs import Hub
from commands.authorizing import is_admin
from commands.schedules import coming, told
from commands.switches import name_of, sentence_of
from countersign.integrations import integration_names
from store.alerts import list_groups
from store.databases import ReadSession
from store.hookdeliveries import REFUSED, DeliveryRow, find_deliveries
from store.integrations import IntegrationRow, find_integrations
from store.locks import find_lines
from store.messages import find_backlog
from store.promises import find_late, find_promises
from store.schedules import ScheduleRow, find_schedules
from store.switches import find_held, find_past_switches, find_switches
from store.triggers import find_triggers
from store.undeliverables import find_undeliverable
from store.waits import find_all_waits
from store.workers import find_workers
from store.workloads import find_workload

from .frames import Frame, framed, here_of
from .panes import Asking, Cell, Pane, panes_page, plainly, refuse
from .settingpanes import settings_pane

router = APIRouter(include_in_schema=False)
SHOWN: Final = 50
VERSIONS: Final = 3
WORKERS_SECONDS: Final = 86_400.0
QUIET_SECONDS: Final = 30
LATE_SECONDS: Final = 60
UNCHECKED_SECONDS: Final = 300
TABS: Final = {
    "": "Health",
    "messages": "Messages",
    "waiting": "Locks and waits",
    "schedules": "Schedules",
    "triggers": "Triggers",
    "alerts": "Alerts",
    "integrations": "Integrations",
    "switches": "Switches",
    "settings": "Settings",
}
_PROMISED: Final = {"request": "requests", "delivery": "deliveries", "end": "ends of runs", "step": "steps"}
_LATE: Final = {
    "planning": "runs that should have been planned",
    "executing": "runs that should be at work",
    "adrift": "runs that no worker will find",
    "wake": "runs that should have been woken",
    "expiry": "requests that should have expired",
    "schedule": "schedules that should have run",
    "delivery": "deliveries that should have been taken up",
}
Read = Callable[[ReadSession, Asking], Awaitable[list[Pane]]]


@router.get("/operations")
async def show(request: Request, tab: Annotated[str, Query(max_length=20)] = "") -> Response:
    tab = tab if tab in TABS else ""
    here = await here_of(request, "/operations", tab=tab)
    frame = await framed(request, here, "/operations")
    if not is_admin(frame.rulebook.policy, here.visitor.person):
        raise await refuse(request, frame, "Operations are for admins. What runs and what waits for you is under Runs and Inbox.")
    hub: Hub = request.app.state.hub
    first = [settings_pane(hub.settings)] if tab == "settings" else [_parts(await find_parts(hub))] if not tab else []
    asking = Asking(frame)
    read = _READERS.get(tab)
    panes = await hub.read(lambda session: read(session, asking)) if read else []
    return panes_page(request, frame, "Operations", [*first, *panes], tabs=TABS, tab=tab)


def _parts(parts: Mapping[str, str]) -> Pane:
    rows = [(name, Cell("well", tone="good") if said == "ok" else Cell(said, tone="bad")) for name, said in parts.items()]
    return Pane("Health of every part", ("Part", "State"), rows)


async def _health(session: ReadSession, asking: Asking) -> list[Pane]:
    load = await find_workload(session)
    queues: list[tuple[str, int | str, str]] = [(one.name, one.waiting, _late(one.oldest)) for one in load.queues]
    queues.append(("schedules that are due", load.schedules_late, _late(load.schedule_oldest)))
    queues.append(("events not sealed yet", "", _late(load.unsealed)))
    workers = await find_workers(session, within=WORKERS_SECONDS)
    now = asking.frame.rulebook.now()
    seen = [
        (
            Cell(one.name, code=True),
            one.role,
            Cell("here", tone="good") if (now - one.seen_at).total_seconds() < QUIET_SECONDS else Cell("silent", tone="bad"),
            one.seen_at,
            one.started_at,
            _versions(one.versions),
        )
        for one in workers
    ]
    promises = [
        (f"{_PROMISED[one.what]} {one.promise}", _counted(one.count), one.broken_at, one.example) for one in await find_promises(session)
    ]
    late = [(_LATE[one.what], _counted(one.count), None, one.example) for one in await find_late(session)]
    return [
        Pane("Queues", ("Queue", "Waiting", "Oldest is late by"), queues),
        Pane("Workers", ("Name", "Does", "State", "Seen", "Started", "Code versions"), seen, "No worker was seen for a day."),
        Pane("Promises", ("What", "How many", "Last at", "Example"), [*promises, *late]),
    ]


async def _messages(session: ReadSession, asking: Asking) -> list[Pane]:
    waiting = [(one.platform, one.waiting, _late(one.oldest)) for one in await find_backlog(session)]
    rows = [
        (
            one.dead_at,
            f"{one.platform} {(one.channel and f'#{one.channel}') or f'to {one.person}'}",
            Cell(f"#{one.number} {one.command}", asking.frame.here.link(f"/runs/{one.number}")) if one.number else one.kind,
            f"{one.error}{' (may have been posted)' if one.unclear else ''}",
            asking.link("Send again", "messages resend", which=str(one.id)),
        )
        for one in await find_undeliverable(session, limit=SHOWN)
    ]
    again = asking.link("Send all again", "messages resend", which="all") if rows else ()
    return [
        Pane("Waiting to be shown", ("Platform", "Messages", "Oldest waits"), waiting, "Nothing waits."),
        Pane("Undeliverable", ("Since", "Where", "About", "Why", ""), rows, "Every message was delivered or waits its turn.", links=again),
    ]


async def _waiting(session: ReadSession, asking: Asking) -> list[Pane]:
    def run(number: int, command: str) -> Cell:
        return Cell(f"#{number} {command}", asking.frame.here.link(f"/runs/{number}"))

    locks = [
        (Cell(one.name, code=True), run(one.number, one.command), Cell("holds it", tone="busy") if one.holds else "in line", one.since)
        for one in await find_lines(session, limit=SHOWN)
    ]
    waits = [
        (run(one.number, one.command), one.kind, one.detail, one.since, one.due_at) for one in await find_all_waits(session, limit=SHOWN)
    ]
    return [
        Pane("Locks", ("Lock", "Run", "State", "Since"), locks, "Nobody holds or wants a lock."),
        Pane("Runs that wait", ("Run", "For", "In words", "Since", "At the latest"), waits, "No run waits."),
    ]


async def _schedules(session: ReadSession, asking: Asking) -> list[Pane]:
    rows = await find_schedules(session)
    person, rulebook = asking.frame.here.visitor.person, asking.frame.rulebook
    slots = [(at, row.name, told(rulebook, person, row)) for at, row in coming(rows, limit=10)]
    known = [
        (
            one.name,
            Cell(told(rulebook, person, one), code=True),
            one.cadence,
            one.account,
            Cell(f"paused by {one.paused_by}: {one.paused_because}", tone="waiting") if one.paused_at else one.next_at,
            str(one.failures),
            _to_do(asking, one),
        )
        for one in rows
    ]
    head = ("Name", "Asks for", "When", "As", "Next", "Failures in a row", "")
    return [
        Pane("Schedules", head, known, "There are none.", links=asking.link("Add one", "schedule add")),
        Pane("Coming", ("At", "Schedule", "Asks for"), slots, "Nothing is due."),
    ]


def _to_do(asking: Asking, one: ScheduleRow) -> tuple[Cell, ...]:
    turn = (
        asking.link("Resume", "schedule resume", name=one.name) if one.paused_at else asking.link("Pause", "schedule pause", name=one.name)
    )
    return (*turn, *asking.link("Run now", "schedule run", name=one.name))


async def _triggers(session: ReadSession, asking: Asking) -> list[Pane]:
    rows = await find_triggers(session)
    names = {one.id: one.name for one in rows}
    known = [
        (
            one.name,
            one.sender,
            f"runs {one.body['run']}" if one.kind == "command" else f"alerts in #{one.body['channel']}",
            one.account,
            (
                *asking.link("Show", "trigger show", name=one.name),
                *(asking.link("Replay", "trigger replay", name=one.name) if one.kind == "command" else ()),
                *asking.link("Change", "trigger change", name=one.name),
            ),
        )
        for one in rows
    ]
    refused = await find_deliveries(session, states=REFUSED, limit=SHOWN)
    head = ("Name", "Proved by", "Does", "As", "")
    return [
        Pane("Triggers", head, known, "There are none.", links=asking.link("Add one", "trigger add")),
        Pane(
            "Deliveries that were refused or failed",
            ("When", "Trigger", "State", "Times", "Why", "Run"),
            [_delivery(asking.frame, names.get(one.trigger_id, "one that has ended"), one) for one in refused],
            "There are none.",
        ),
    ]


def _delivery(frame: Frame, trigger: str, one: DeliveryRow) -> tuple[Any, ...]:
    run = Cell("its run", frame.here.link(f"/runs/{one.run_id}")) if one.run_id else None
    return one.received_at, trigger, Cell(one.state, tone="bad"), one.count, one.said or plainly(one.reason), run


async def _alerts(session: ReadSession, asking: Asking) -> list[Pane]:
    rows = [
        (
            f"A{one.number}",
            Cell(one.status, tone="waiting" if one.acknowledged_by else "bad"),
            one.title,
            one.firing,
            one.opened_at,
            (
                *asking.link("Show", "alert show", alert=f"A{one.number}"),
                *asking.link("Take it up", "alert acknowledge", alert=f"A{one.number}"),
            ),
        )
        for one in await list_groups(session, limit=SHOWN)
    ]
    return [Pane("Open alerts", ("Alert", "State", "Title", "Firing", "Since", ""), rows, "No alert is open.")]


async def _integrations(session: ReadSession, asking: Asking) -> list[Pane]:
    now = asking.frame.rulebook.now()
    rows = [
        (
            one.name,
            _found(one, now),
            one.well_since,
            (Cell(at=one.failed_at), Cell(one.error)) if one.failed_at else "none",
            one.used_at,
            tuple(Cell(f"{each['name']} {'is set' if each['set'] else 'is not set'}", code=True) for each in one.variables),
            asking.link("Stop", "stop integration", name=one.name),
        )
        for one in await find_integrations(session)
    ]
    head = ("Name", "State", "Answers since", "Last error", "Last used", "Settings", "")
    aside = "As workers find them, once a minute. Their credentials are in the workers' environment; no page and no row has their values."
    return [Pane("Integrations", head, rows, "No worker has looked yet, or no command uses any.", aside)]


def _found(one: IntegrationRow, now: datetime) -> Cell:
    if one.checked_at is None or (now - one.checked_at).total_seconds() > UNCHECKED_SECONDS:
        return Cell("nobody looks", tone="waiting")
    if not one.configured:
        return Cell(f"not set up: {one.problem}")
    return Cell(one.problem, tone="bad") if one.problem else Cell("answers", tone="good")


async def _switches(session: ReadSession, asking: Asking) -> list[Pane]:
    on = await find_switches(session)
    stopped = {one.target: sentence_of(one) for one in on if one.kind == "integration"}
    rows = [(name_of(one), sentence_of(one), one.at, asking.link("Switch off", "switch off", what=name_of(one))) for one in on]
    past = [
        (f"{one.kind} {one.target}", one.on_at, one.on_by, one.off_at, one.off_by) for one in await find_past_switches(session, limit=20)
    ]
    held = [(str(one.command), plainly(one.status), said) for one, said in (await find_held(session))[:SHOWN]]
    links = (
        *asking.link("Stop everything", "stop everything"),
        *asking.link("Stop changes", "stop changes"),
        *asking.link("Stop a command", "stop command"),
    )
    integrations = [
        (
            name,
            Cell(stopped[name], tone="bad") if name in stopped else Cell("not stopped", tone="good"),
            asking.link("Stop", "stop integration", name=name),
        )
        for name in integration_names()
        if name
    ]
    return [
        Pane("Stopped now", ("What", "Why", "Since", ""), rows, "Nothing is stopped.", links=links),
        Pane("Runs held back", ("Command", "State", "By"), held),
        Pane(
            "Integrations",
            ("Name", "State", ""),
            integrations,
            "This process knows of none.",
            "Those that this process has loaded. Workers hold their credentials, which no page shows.",
        ),
        Pane("Stopped before", ("What", "From", "By", "To", "Switched off by"), past, "Nothing was."),
    ]


def _versions(versions: Sequence[str]) -> tuple[Cell, ...]:
    """Each code version once, as far as they fit."""
    known = sorted(set(versions))
    more = (Cell(f"and {len(known) - VERSIONS} more"),) if len(known) > VERSIONS else ()
    return (*(Cell(one, code=True) for one in known[:VERSIONS]), *more)


def _late(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < LATE_SECONDS else f"{seconds / LATE_SECONDS:.0f} min"


def _counted(count: int) -> Cell:
    return Cell(str(count), tone="bad") if count else Cell("none", tone="good")


_READERS: Final[Mapping[str, Read]] = {
    "": _health,
    "messages": _messages,
    "waiting": _waiting,
    "schedules": _schedules,
    "triggers": _triggers,
    "alerts": _alerts,
    "integrations": _integrations,
    "switches": _switches,
}
