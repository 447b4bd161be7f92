"""An outside system with a ledger of its own: every call that reaches it is counted, whatever the hub believes."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from aiohttp import web


class Ledger:
    """POST /idempotent/{key} has one effect a key; POST /once/{key} has an effect each time. They answer after `delays` seconds.

    `drops` is how many of the next calls that may be repeated get no answer although they had their effect.
    """

    def __init__(self, *, delays: Mapping[str, float] | None = None) -> None:
        self.delays = delays or {}
        self.drops = 0
        self.effects: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/{kind}/{key}", self._called)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _called(self, request: web.Request) -> web.Response:
        kind, key = request.match_info["kind"], request.match_info["key"]
        self.calls[key] += 1
        if kind == "once" or self.effects[key] == 0:
            self.effects[key] += 1
        await asyncio.sleep(self.delays.get(kind, 0.002))
        if kind == "idempotent" and self.drops > 0 and request.transport is not None:
            self.drops -= 1
            request.transport.abort()
        return web.json_response({"key": key})
