"""A stand-in for Slack's Web API and response_urls that says yes at once and remembers when each result came."""

import asyncio
import json
import re
import time
from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import parse_qs

import httptools

from benchmarks.slashes import TEAM

VOTED = b"1 of 2: voter"
RESULT = re.compile(rb"done: (bench-[0-9a-f]+-[0-9]+)")


class Sink:
    """An HTTP server on 127.0.0.1 in this process, so that its clock is that of the load generator."""

    def __init__(self) -> None:
        self.arrivals: dict[str, float] = {}
        """When the first post with `done: ` and this id came, in seconds of CLOCK_MONOTONIC."""
        self.edits: dict[tuple[str, str], float] = {}
        """When the message with this channel and ts was first edited to show a vote, by the same clock."""
        self._awaited: set[str] = set()
        self._all_here: asyncio.Future[None] | None = None
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def api_url(self) -> str:
        """The base of the Web API, with the slash at its end that slack_sdk wants."""
        return f"http://127.0.0.1:{self._port}/api/"

    @property
    def response_url(self) -> str:
        """Where the result of a slash command is to be posted."""
        return f"http://127.0.0.1:{self._port}/commands/{TEAM}/1/bench"

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Conversation(self), "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no longer."""
        if self._server:
            self._server.close()

    async def wait_for(self, ids: Iterable[str], *, seconds: float) -> int:
        """Return when the results of all these ids are here, or after `seconds`; the number still missing."""
        self._awaited = {name for name in ids if name not in self.arrivals}
        if self._awaited:
            self._all_here = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._all_here], timeout=seconds)
        return len(self._awaited)

    def take(self, path: str, body: bytes) -> bytes:
        """What is answered to one post; a result in it is noted first."""
        if found := RESULT.search(body):
            self._arrived(found[1].decode())
        if path == "/api/chat.update" and VOTED in body:
            fields = _fields("", body)
            self.edits.setdefault((fields["channel"][0], fields["ts"][0]), time.monotonic())
        if path.startswith("/api/"):
            return json.dumps(_web_api(path.removeprefix("/api/"), body)).encode()
        return b"ok"

    def _arrived(self, name: str) -> None:
        self.arrivals.setdefault(name, time.monotonic())
        self._awaited.discard(name)
        if not self._awaited and self._all_here and not self._all_here.done():
            self._all_here.set_result(None)


class _Conversation(asyncio.Protocol):
    """One connection of a client of the sink."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods but not the base class.
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        self._path = self._body = b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        path = self._path.decode("latin-1")
        answer = self._sink.take(path, self._body)
        kind = b"application/json" if path.startswith("/api/") else b"text/plain"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(answer))
        self._transport.write(head + answer)
        if not self._parser.should_keep_alive():
            self._transport.close()


def _web_api(method: str, body: bytes) -> dict[str, Any]:
    name, _, query = method.partition("?")
    answers: dict[str, dict[str, Any]] = {
        "auth.test": {"url": "https://bench.slack.test/", "team_id": TEAM, "user": "bench", "user_id": "U0BOT", "bot_id": "B0BOT"},
        "chat.postMessage": {"channel": "C0BENCH", "ts": f"{time.time():.6f}", "message": {}},
        "chat.update": {"channel": "C0BENCH", "ts": f"{time.time():.6f}", "message": {}},
        "conversations.open": {"channel": {"id": "D0BENCH"}},
        "users.info": {"user": _member((_fields(query, body).get("user") or ["U0ADA"])[0])},
    }
    return {"ok": True, **answers.get(name, {})}


def _fields(query: str, body: bytes) -> dict[str, list[str]]:
    if body.startswith(b"{"):
        return {name: [str(value)] for name, value in json.loads(body).items()}
    return parse_qs(query) | parse_qs(body.decode("latin-1"))


def _member(user: str) -> dict[str, Any]:
    name = user.removeprefix("U0").lower()
    flags = dict.fromkeys(("deleted", "is_bot", "is_restricted", "is_ultra_restricted", "is_stranger"), False)
    return {"id": user, "team_id": TEAM, "name": name, "tz": "UTC", "profile": {"email": f"{name}@example.test"}, **flags}
