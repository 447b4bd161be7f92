"""Socket Mode's server side (docs.slack.dev/apis/events-api/using-socket-mode)."""

import asyncio
import json
import random
from typing import Any

from aiohttp import WSMsgType, web

from tests.fakes.slack.worlds import Json, World

MOST_CONNECTIONS = 10


class Sockets:
    """Hands out one-time addresses, greets, and sends each envelope to any ONE of the open connections."""

    def __init__(self, world: World, *, most: int = MOST_CONNECTIONS) -> None:
        self.most = most
        self.received: list[int] = []
        self.connections: list[web.WebSocketResponse] = []
        self.refused = 0
        self._world = world
        self._tickets: set[str] = set()
        self._waiting: dict[str, asyncio.Future[Json]] = {}
        self._base = ""

    def serve_at(self, base: str) -> None:
        self._base = base.replace("http://", "ws://")

    def open(self, world: World, _args: Json) -> Json:
        """apps.connections.open: an address that works once."""
        ticket = world.mint("ticket")
        self._tickets.add(ticket)
        return {"url": f"{self._base}/link/?ticket={ticket}"}

    async def link(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until it ends."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.Response(status=404)
        self._tickets.discard(ticket)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if len(self.connections) >= self.most:
            self.refused += 1
            await socket.send_json({"type": "disconnect", "reason": "too_many_websockets"})
            await socket.close()
            return socket
        self.connections.append(socket)
        try:
            await self._greet(socket)
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._acknowledge(json.loads(message.data))
        finally:
            if socket in self.connections:
                self.connections.remove(socket)
        return socket

    async def send(self, kind: str, payload: Json, *, within: float, retry: tuple[int, str] | None = None) -> Json | None:
        """Send one envelope and return its ack's payload; None when no ack came within that many seconds."""
        if not self.connections:
            return None
        envelope: dict[str, Any] = {
            "envelope_id": self._world.mint("envelope"),
            "type": kind,
            "payload": payload,
            "accepts_response_payload": kind != "events_api",
        }
        if retry is not None:
            envelope |= {"retry_attempt": retry[0], "retry_reason": retry[1]}
        future = self._waiting[envelope["envelope_id"]] = asyncio.get_running_loop().create_future()
        chosen = random.randrange(len(self.connections))
        self.received.append(chosen)
        try:
            async with asyncio.timeout(within):
                await self.connections[chosen].send_json(envelope)
                ack: Json = await future
                return ack
        except (TimeoutError, ConnectionError):
            return None
        finally:
            self._waiting.pop(envelope["envelope_id"], None)

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Tell every client to reconnect: `warning`, `refresh_requested` or `link_disabled`; only a warning leaves the line open."""
        for socket in list(self.connections):
            await socket.send_json({"type": "disconnect", "reason": reason, "debug_info": {"host": "fake"}})
            if reason != "warning":
                self.connections.remove(socket)

    async def close(self) -> None:
        """End every connection."""
        for socket in list(self.connections):
            await socket.close()

    async def _greet(self, socket: web.WebSocketResponse) -> None:
        await socket.send_json(
            {
                "type": "hello",
                "num_connections": len(self.connections),
                "connection_info": {"app_id": self._world.app_id},
                "debug_info": {"host": "fake", "approximate_connection_time": 3600},
            }
        )

    def _acknowledge(self, ack: Json) -> None:
        future = self._waiting.get(ack.get("envelope_id", ""))
        if future is not None and not future.done():
            future.set_result(ack.get("payload") or {})
