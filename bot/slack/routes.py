"""The Slack door: `POST /slack/events` for commands, interactivity and events, and Socket Mode where a token for it is set."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from pydantic_core import to_json
from slack_bolt.app.async_app import AsyncApp
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from bot.hubs import Hub
from bot.logs import new_trace
from bot.middlewares import FOR_PROGRAMS, REQUESTS, SECONDS
from bot.refusals import Refusals
from bot.writers import stop
from integrations.slack.clients import SlackClient
from store import traces
from store.settings import Settings

from .accounts import Accounts
from .apps import build_app, dispatch
from .connections import Connection
from .identities import Identities
from .requests import Guard, Received, Rejected
from .slashes import handle_slash
from .sockets import socket_mode
from .tasks import Tasks
from .workspaces import Workspace

_log = logging.getLogger(__name__)
PATH: Final = "/slack/events"
CALL_SECONDS: Final = 2.0
# The numbers that the middleware around every other path keeps; found once, because looking one up costs more than counting.
_ANSWERED: Final = {
    status: REQUESTS.labels(method="POST", route=PATH, status=str(status)) for status in (200, 400, 401, 405, 408, 413, 415, 500, 503)
}
_SECONDS: Final = SECONDS.labels(route=PATH)


@dataclass(frozen=True)
class SlackDoor:
    """What the web application mounts. There is no route without a signing secret: Socket Mode needs none."""

    connection: Connection
    app: AsyncApp
    refusals: Refusals
    events: "Events | None" = None

    @property
    def routes(self) -> list[BaseRoute]:
        """For an application of its own; the web process hands the path to `events` itself."""
        return [Route(PATH, self.events, name="slack")] if self.events else []


@asynccontextmanager
async def open_slack(hub: Hub) -> AsyncIterator[SlackDoor]:
    """The door to the workspace of the settings' bot token. Raises WrongSetting when Slack does not accept it."""
    async with AsyncExitStack() as stack:
        connection = await _connection(hub, stack)
        app = build_app(connection)
        refusals = Refusals(hub)
        stack.push_async_callback(stop, asyncio.create_task(refusals.run()))
        secret = hub.settings.slack_signing_secret.get_secret_value()
        events = Events(connection, app, Guard(secret), refusals) if secret else None
        if hub.settings.slack_app_token.get_secret_value():
            await stack.enter_async_context(socket_mode(app, hub.settings))
        yield SlackDoor(connection, app, refusals, events)


async def _connection(hub: Hub, stack: AsyncExitStack) -> Connection:
    settings: Settings = hub.settings
    token = settings.slack_bot_token.get_secret_value()
    client = await stack.enter_async_context(SlackClient(token, base_url=settings.slack_api_url, timeout=CALL_SECONDS))
    workspace, accounts, tasks = Workspace(client), Accounts(client), Tasks()
    stack.push_async_callback(accounts.close)
    stack.push_async_callback(tasks.close)
    if not await workspace.ask():
        stack.push_async_callback(stop, asyncio.create_task(workspace.keep_asking()))
    return Connection(hub, client, workspace, Identities(hub, accounts, workspace), tasks)


class Events:
    """The ASGI application behind the route. What is not Slack's gets a status and nothing else."""

    def __init__(self, connection: Connection, app: AsyncApp, guard: Guard, refusals: Refusals) -> None:
        self._connection, self._app = connection, app
        self._guard, self._refusals = guard, refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, trace = time.perf_counter(), new_trace()
        bind_contextvars(trace=trace)
        try:
            with traces.request(trace, f"POST {PATH}"):
                status, body = await self._handled(scope, receive, trace)
                traces.tell(status=status)
        except Exception:
            _log.exception("a request from Slack broke")
            status, body = 500, b""
        await _respond(send, status, body)
        _ANSWERED[status].inc()
        _SECONDS.observe(time.perf_counter() - began)

    async def _handled(self, scope: Scope, receive: Receive, trace: str) -> tuple[int, bytes]:
        if scope["method"] != "POST":
            return 405, b""
        try:
            received = await self._guard.admit(scope, receive)
        except Rejected as rejected:
            self._refusals.count(door="slack", reason=rejected.reason)
            return rejected.status, b""
        return await self._answer(received, trace)

    async def _answer(self, received: Received, trace: str) -> tuple[int, bytes]:
        if received.kind == "slash_commands":
            return 200, to_json(await handle_slash(self._connection, received.payload, trace=trace))
        if received.kind == "ssl_check":
            return 200, b""
        if received.kind == "url_verification":
            return 200, to_json({"challenge": received.payload["challenge"]})
        answer = await dispatch(self._app, received.payload, trace=trace)
        # 404 is Bolt's word for a payload that nobody listens to: Slack would only send it again.
        return (200 if answer.status == 404 else answer.status), (answer.body.encode() if answer.status == 200 else b"")


async def _respond(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body)), *FOR_PROGRAMS]
    if body:
        headers.append((b"content-type", b"application/json"))
    if status == 413:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
