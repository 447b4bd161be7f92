"""Is it alive, is it ready and which part is not, and its numbers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from commands.policies import PolicyError
from commands.switches import kinds, sentences
from countersign.errors import CountersignError
from store.databases import reading
from store.directories import find_directories
from store.migrating import is_current
from store.policies import find_policy
from store.promises import find_late, find_promises
from store.switches import KINDS, Switch, find_switches
from store.workers import find_workers

from .hubs import Hub
from .levels import levels_text
from .watchers import check_watcher, is_watcher
from .workloads import Remembered

ROLES: Final = ("planning", "executing", "housekeeping")
SEEN_SECONDS: Final = 30.0
PART_SECONDS: Final = 2.0
POLICY: Final = Gauge("countersign_policy_loaded", "1 when the policy that was applied last is in force, 0 when it cannot be loaded.")
READY: Final = Gauge("countersign_ready", "1 when the part works, 0 when it does not.", ["part"])
STOPPED: Final = Gauge("countersign_switches", "Kill switches that are on.", ["kind"])
WORKERS: Final = Gauge("countersign_workers", "Workers seen in the last 30 s.", ["role"])
router = APIRouter(include_in_schema=False)


@router.get("/live")
async def live() -> Response:
    """200 as long as the process answers at all."""
    return JSONResponse({"status": "live"})


@router.get("/ready")
async def ready(request: Request) -> Response:
    """200 when every part works; otherwise 503 naming each part that does not and what to do about it.

    A policy that cannot be loaded is a warning: the one before it is in force, so this process goes on serving. Who stopped what and why,
    and what a policy says, is for whoever may see the numbers too.
    """
    inside = is_watcher(request)
    parts = await find_parts(request.app.state.hub)
    whole = all(said == "ok" for said in parts.values())
    body: dict[str, Any] = {"status": "ready" if whole else "not ready", "parts": parts}
    if on := await _stopped(request.app.state.hub):
        body["stopped"] = sentences(on) if inside else kinds(on)
    warnings = {}
    if problem := await _policy_problem(request.app.state.hub, parts):
        warnings["policy"] = problem if inside else "the one applied last cannot be loaded; the log says why"
    if silent := await _silent(request.app.state.hub):
        warnings["directories"] = silent if inside else "one does not answer; the log says why"
    if warnings:
        body["warnings"] = warnings
    if inside:
        body["promises"] = await _promises(request.app.state.hub)
    return JSONResponse(body, status_code=200 if whole else 503)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Prometheus text, for this machine or with the token of the settings; the readiness of each part is among it.

    Service levels come from rows: without a database they are left out.
    """
    check_watcher(request)
    parts = await find_parts(request.app.state.hub)
    await _stopped(request.app.state.hub)
    await _policy_problem(request.app.state.hub, parts)
    levels = b""
    workloads: Remembered = request.app.state.workloads

    async def found(hub: Hub) -> str:
        nonlocal levels
        levels = await levels_text(hub) + await workloads.text()
        return "ok"

    await _asked(found, request.app.state.hub)
    return Response(await asyncio.to_thread(generate_latest) + levels, media_type=CONTENT_TYPE_LATEST)


async def find_parts(hub: Hub) -> dict[str, str]:
    """`ok` or a sentence for each part: database, schema, policy, and one worker role each."""
    parts = {"database": await _asked(_database, hub)}
    if parts["database"] == "ok":
        parts["schema"] = await _asked(_schema, hub)
        parts["policy"] = await _asked(_policy, hub) if parts["schema"] == "ok" else "unknown until the schema is current"
        parts |= await _workers(hub) if parts["schema"] == "ok" else {}
    for part, said in parts.items():
        READY.labels(part=part).set(said == "ok")
    return parts


async def _policy_problem(hub: Hub, parts: Mapping[str, str]) -> str:
    """Why the policy in force is not the one that was applied last; empty where it is, or where nobody can tell."""
    if parts.get("policy") != "ok":
        return ""

    async def found(hub: Hub) -> str:
        try:
            return (await hub.rulebook()).problem
        except PolicyError as error:
            return str(error)

    problem = await _asked(found, hub)
    POLICY.set(not problem)
    return problem


async def _stopped(hub: Hub) -> tuple[Switch, ...]:
    """The kill switches that are on, which does not make the hub less ready: it is to be asked, and to refuse."""
    on: tuple[Switch, ...] = ()

    async def found(_: Hub) -> str:
        nonlocal on
        async with reading(hub.engine) as session:
            on = await find_switches(session)
        return "ok"

    await _asked(found, hub)
    for kind in KINDS:
        STOPPED.labels(kind=kind).set(sum(one.kind == kind for one in on))
    return on


async def _silent(hub: Hub) -> str:
    """Which source of people and groups does not answer; what it said last stays in force meanwhile."""
    silent: list[str] = []

    async def found(_: Hub) -> str:
        async with reading(hub.engine) as session:
            rows = await find_directories(session)
        for one in rows:
            if one.error:
                heard = f"{one.read_at:%Y-%m-%d %H:%M} UTC" if one.read_at else "never"
                silent.append(f"{one.source}: {one.error}; heard of last: {heard}")
        return "ok"

    await _asked(found, hub)
    return "; ".join(silent)


async def _promises(hub: Hub) -> dict[str, Any]:
    """What was lost or done twice since the hub was set up, what is late now, and when somebody looked; empty if nobody can tell."""
    body: dict[str, Any] = {}

    async def found(_: Hub) -> str:
        async with reading(hub.engine) as session:
            kept, late = await find_promises(session), await find_late(session)
        for promise in ("lost", "doubled"):
            body[promise] = {one.what: one.count for one in kept if one.promise == promise}
        body["late"] = {one.what: one.count for one in late if one.count}
        body["looked_seconds_ago"] = round(max(one.looked for one in kept), 1)
        return "ok"

    await _asked(found, hub)
    return body


async def _asked(question: Callable[[Hub], Awaitable[str]], hub: Hub) -> str:
    try:
        async with asyncio.timeout(PART_SECONDS):
            return await question(hub)
    except TimeoutError:
        return f"no answer within {PART_SECONDS:g} s"
    except (SQLAlchemyError, OSError) as error:
        return f"not reachable ({type(error).__name__})"
    except CountersignError as error:
        return str(error)


async def _database(hub: Hub) -> str:
    async with hub.engine.connect():
        return "ok"


async def _schema(hub: Hub) -> str:
    return "ok" if await is_current(hub.engine) else "not the version this code needs; run: countersign migrate"


async def _policy(hub: Hub) -> str:
    async with reading(hub.engine) as session:
        return "ok" if await find_policy(session) else "none in force yet; run: countersign migrate"


async def _workers(hub: Hub) -> dict[str, str]:
    rows: list[Any] = []

    async def seen(_: Hub) -> str:
        async with reading(hub.engine) as session:
            rows.extend(await find_workers(session, within=SEEN_SECONDS))
        return "ok"

    said = await _asked(seen, hub)
    counts = {role: sum(1 for row in rows if row.role == role) for role in ROLES}
    for role, count in counts.items():
        WORKERS.labels(role=role).set(count)
    missing = f"none seen in the last {SEEN_SECONDS:g} s; run: countersign worker"
    return {f"{role} worker": said if said != "ok" else "ok" if count else missing for role, count in counts.items()}
