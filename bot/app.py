"""The web process: every HTTP door in one application. Run it with `uvicorn bot.app:create_app --factory`."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from bot import console, health, scim
from bot.api import (
    artifacts,
    audits,
    commands,
    conversations,
    decisions,
    inboxes,
    logins,
    logs,
    passkeys,
    problems,
    rooms,
    runs,
    schedules,
    tasks,
)
from bot.api.callers import bearer
from bot.api.problems import Problem
from commands.policies import PolicyError
from countersign.errors import CountersignError
from countersign.invocations import Door
from store import traces
from store.settings import Settings

from .hooks import PREFIX, open_hooks
from .hubs import open_hub
from .logs import configure_logs
from .middlewares import Edge
from .refusals import Refusals
from .rooms import Changes, Room
from .slack import PATH, open_slack
from .workloads import Remembered
from .writers import stop

API = "/api/v1"


class Application(FastAPI):
    """FastAPI, but for the paths where programs deliver, Slack's and triggers': its seven layers cost more there than our own work.

    Measured on one core: 260 of 1,270 µs a slash command. These doors have their own limits, deadlines and refusals, and say nothing to
    strangers, so none of the layers is missed.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        straight = self._straight(scope["path"]) if scope["type"] == "http" else None
        await (straight or super().__call__)(scope, receive, send)

    def _straight(self, path: str) -> ASGIApp | None:
        name = "slack" if path == PATH else "hooks" if path.startswith(PREFIX) else ""
        return getattr(self.state, name, None) if name else None


def create_app() -> FastAPI:
    """The application, configured from the environment; raises WrongSetting naming the variable that is wrong."""
    settings = Settings.read()
    configure_logs(settings.log_format)
    app = Application(
        title="Countersign",
        version="1",
        description="Ask for operations, decide on them and read what happened. Bearer tokens; problem details (RFC 9457) for every error.",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        routes=_routes(),
        redirect_slashes=False,
        lifespan=_lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ours begin in the middleware, and go on in the workers
    )
    app.state.settings = settings
    app.add_middleware(Edge, broken=_broken, https=settings.url.startswith("https://"))
    for error in (Problem, HTTPException, RequestValidationError, CountersignError, PolicyError):
        app.add_exception_handler(error, _handled)
    scim.mount(app)
    console.mount(app)
    return app


@cache
def _routes() -> list[BaseRoute]:
    """Made once: what FastAPI works out for each at the first request, 50 ms for all, is good for every application of this process."""
    doors = APIRouter()
    for one in (runs, logs, artifacts, conversations, decisions, inboxes, tasks, audits, commands, schedules, rooms, passkeys, logins):
        doors.include_router(one.router, prefix=API, dependencies=[Depends(bearer)])
    for router in (health.router, scim.router, *console.ROUTERS):
        doors.include_router(router)
    return doors.routes


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        traces.begin(app.state.settings, role="web")
        stack.push_async_callback(asyncio.to_thread, traces.end)
        hub = await stack.enter_async_context(open_hub(app.state.settings))
        app.state.hub, app.state.room, app.state.refusals = hub, Room(hub), Refusals(hub)
        stack.push_async_callback(app.state.pulse.close)
        app.state.logs = Changes(hub, "countersign_log")
        app.state.workloads = Remembered(hub)
        counting = asyncio.create_task(app.state.refusals.run())
        stack.push_async_callback(stop, counting)
        app.state.issuer = await stack.enter_async_context(console.open_issuer(hub.settings))
        app.state.hooks = await stack.enter_async_context(open_hooks(hub, app.state.refusals))
        if hub.settings.has_slack:
            slack = await stack.enter_async_context(open_slack(hub))
            app.state.slack = slack.events
        _spare_the_collector()
        yield


def _spare_the_collector() -> None:
    """What is loaded by now stays; looking through it again and again took a tenth of the time of a busy process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def _handled(request: Request, error: Exception) -> Response:
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        name = str(first["loc"][-1])
        error = Problem(422, "wrong_parameter", f"{name}: {first['msg'].replace('Input should', 'should')}.", {"field": name})
    problem = problems.problem_of(error)
    if console.is_page(request) and problem.reason in console.NOISE:
        request.app.state.refusals.count(door=Door.browser, reason=problem.reason)
    return _answered(request, problem)


def _broken(request: Request, status: int, reason: str, sentence: str) -> Response:
    return _answered(request, Problem(status, reason, sentence))


def _answered(request: Request, problem: Problem) -> Response:
    if console.is_page(request):
        page = console.problem_page(request, problem.status, problem.detail)
        page.headers.update(problem.headers)
        return page
    return problems.response_of(request, problem)
