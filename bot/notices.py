"""What Postgres says by NOTIFY, on one connection that only listens."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

import psycopg
from psycopg import sql

from store.databases import plain_url, sever

_log = logging.getLogger(__name__)
AGAIN_SECONDS: Final = 1.0
# A connection that says nothing may be quiet or dead; asking it tells which.
QUIET_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 2.0
# Whoever opens the first page must not be told late: two seconds and more were seen before these were heard from the start.
ALWAYS: Final = frozenset({"countersign_work", "countersign_room"})
Listener = Callable[[str], None]


class Notices:
    """Calls listeners with each notice's payload; after a lost connection every listener is called with an empty one."""

    def __init__(self, url: str) -> None:
        self._url = plain_url(url)
        self._listeners: defaultdict[str, list[Listener]] = defaultdict(list)

    def on(self, channel: str, listener: Listener) -> None:
        """Calls `listener` from now on; one that is not among ALWAYS and new to a running connection is heard within QUIET_SECONDS."""
        self._listeners[channel].append(listener)

    def off(self, channel: str, listener: Listener) -> None:
        self._listeners[channel].remove(listener)

    async def run(self) -> None:
        """Listens until cancelled, connecting again whenever the connection is lost or silent."""
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                _log.warning("notices are interrupted: %s", type(error).__name__)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _listen(self) -> None:
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True, connect_timeout=2) as connection:
            heard: set[str] = set()
            while True:
                await self._subscribe(connection, heard)
                async for notice in connection.notifies(timeout=QUIET_SECONDS):
                    self._tell(notice.channel, notice.payload)

    async def _subscribe(self, connection: psycopg.AsyncConnection[Any], heard: set[str]) -> None:
        """Listens to channels not heard yet, and asks for any answer; cuts off a server that gives none."""
        watch = asyncio.get_running_loop().call_later(ANSWER_SECONDS, sever, connection)
        try:
            new = (self._listeners.keys() | ALWAYS) - heard
            for channel in new:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            await connection.execute("SELECT 1")
        finally:
            watch.cancel()
        heard |= new
        for channel in new:
            self._tell(channel, "")

    def _tell(self, channel: str, payload: str) -> None:
        for listener in tuple(self._listeners.get(channel, ())):
            try:
                listener(payload)
            except Exception:  # one listener's mistake must not make the others deaf
                _log.exception("a listener of %s failed", channel)
