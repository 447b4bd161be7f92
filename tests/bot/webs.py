"""The web process for tests: in the test's own loop, or as a real server on a port; and people with tokens and sessions."""

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch
from uuid import UUID

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import text

from bot.app import create_app
from bot.hubs import Hub
from bot.rooms import Room
from store.databases import WriteSession, transaction
from store.deliveries import Delivered, mark_delivered
from store.messages import NewMessage, add_messages
from store.tokens import issue_token
from tests.hubs import World, disposing, until

ALL = ("read", "submit", "decide", "admin")
ORIGIN = "http://127.0.0.1:8000"
_NOTIFY = text("SELECT pg_notify('countersign_room', :place)")


@dataclass
class Web:
    """A running application and how to reach it."""

    app: FastAPI
    address: str
    world: World
    transport: httpx.AsyncBaseTransport | None = None
    browsers: list[httpx.AsyncClient] = field(default_factory=list)

    @property
    def hub(self) -> Hub:
        hub: Hub = self.app.state.hub
        return hub

    @property
    def room(self) -> Room:
        room: Room = self.app.state.room
        return room

    def client(self, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.address, transport=self.transport, headers=headers, timeout=60)

    async def token(self, kind: str, person: str | None, *, scopes: tuple[str, ...] = ALL, lifetime: float = 600) -> str:
        async def issue(session: WriteSession) -> str:
            return await issue_token(session, kind=kind, person=person, label="test", scopes=scopes, lifetime=lifetime)

        return await self.hub.committed(issue)

    async def caller(self, person: str, *, scopes: tuple[str, ...] = ALL) -> httpx.AsyncClient:
        """A program that calls the API with a token of this person."""
        return self.client({"authorization": f"Bearer {await self.token('api', person, scopes=scopes)}"})

    async def browser(self, person: str | None, *, scopes: tuple[str, ...] = ()) -> "Browser":
        """A browser that came in by a one-time link; without a person it is the demo's."""
        client = self.client({"origin": self.address, "sec-fetch-site": "same-origin"})
        self.browsers.append(client)
        link = await self.token("link", person, scopes=scopes or (() if person else ("demo",)))
        answer = await client.post(f"/enter/{link}")
        assert answer.status_code == 303, answer.text
        return Browser(client)

    async def close(self) -> None:
        for one in self.browsers:
            await one.aclose()

    async def show(self, run: str, card: Mapping[str, Any], *, kind: str = "card", channel: str = "ops", person: str = "") -> str:
        """A message in the room, as the sender of messages leaves it; returns its id."""
        message = NewMessage(UUID(run), kind, "room", "", channel, person=person, card=dict(card))

        async def add(session: WriteSession) -> None:
            await add_messages(session, [message])
            await self._deliver(session, str(message.id), card, version=1, place=f"@{person}" if person else channel)

        await self._as_worker(add)
        return str(message.id)

    async def edit(self, message: str, card: Mapping[str, Any], *, version: int, channel: str = "ops") -> None:
        """A later version of a message."""
        await self._as_worker(lambda session: self._deliver(session, message, card, version=version, place=channel))

    async def _as_worker(self, work: Callable[[WriteSession], Awaitable[None]]) -> None:
        async with disposing(self.world.engine()) as engine, transaction(engine) as session:
            await work(session)

    async def _deliver(self, session: WriteSession, message: str, card: Mapping[str, Any], *, version: int, place: str) -> None:
        await mark_delivered(session, [Delivered(UUID(message), version, dict(card))])
        await session.execute(_NOTIFY, {"place": place})


@dataclass
class Browser:
    """A browser without JavaScript: it loads the page and sends its forms, hidden fields and all."""

    client: httpx.AsyncClient

    async def page(self, **query: str) -> httpx.Response:
        return await self.client.get("/", params=query)

    async def send(
        self,
        path: str,
        *,
        acting_as: str = "",
        channel: str = "ops",
        part: bool = False,
        more: Mapping[str, str] | None = None,
        **fields: str,
    ) -> httpx.Response:
        page = await self.page(channel=channel, **({"as": acting_as} if acting_as else {}))
        own = {"csrf": hidden(page.text, "csrf"), "key": hidden(page.text, "key"), "channel": channel, "as": acting_as}
        return await self.client.post(path, data=own | fields | dict(more or {}), headers={"countersign-part": "1"} if part else {})

    async def say(self, line: str, **more: Any) -> httpx.Response:
        return await self.send("/room/say", text=line, **more)


def hidden(page: str, name: str) -> str:
    """The value of a hidden field, the first on the page."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, page
    return found[1]


@asynccontextmanager
async def web_of(world: World, **settings: str) -> AsyncIterator[Web]:
    """The application in this loop, without a port."""
    with _logs_restored():
        async with _web_of(_app(world, settings), world) as web:
            yield web


@asynccontextmanager
async def _web_of(app: FastAPI, world: World) -> AsyncIterator[Web]:
    async with app.router.lifespan_context(app):
        web = Web(app, ORIGIN, world, httpx.ASGITransport(app, raise_app_exceptions=False))
        yield web
        await web.close()


@asynccontextmanager
async def served(world: World, *, port: int = 0, **settings: str) -> AsyncIterator[Web]:
    """The application behind a real server, for streams and browsers; on a free port unless one is given."""
    port = port or free_port()
    with _logs_restored():
        async with _served(_app(world, {"PORT": str(port), **settings}), port, world) as web:
            yield web


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@asynccontextmanager
async def _served(app: FastAPI, port: int, world: World) -> AsyncIterator[Web]:
    config = uvicorn.Config(app, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: _value(server.started or serving.done()), what="the server starts")
        web = Web(app, f"http://127.0.0.1:{port}", world)
        yield web
        await web.close()
    finally:
        server.should_exit = True
        await serving


def _app(world: World, settings: Mapping[str, str]) -> FastAPI:
    environment = world.environment(role="web") | {f"COUNTERSIGN_{name}": value for name, value in settings.items()}
    with patch.dict("os.environ", environment, clear=True):
        return create_app()


@contextmanager
def _logs_restored() -> Iterator[None]:
    """The application writes to the standard output of its time, which pytest takes away after the test."""
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    try:
        yield
    finally:
        root.setLevel(before[0])
        root.handlers[:] = before[1]


async def _value(value: bool) -> bool:
    return value
