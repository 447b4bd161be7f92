"""What Postgres says by NOTIFY, on one connection that only listens."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Final

import psycopg

from store.databases import plain_url

_log = logging.getLogger(__name__)
AGAIN_SECONDS: Final = 1.0
Listener = Callable[[str], None]


class Notices:
    """Calls listeners with each notice's payload; after a lost connection every listener is called with an empty one."""

    def __init__(self, url: str) -> None:
        self._url = plain_url(url)
        self._listeners: defaultdict[str, list[Listener]] = defaultdict(list)

    def on(self, channel: str, listener: Listener) -> None:
        self._listeners[channel].append(listener)

    def off(self, channel: str, listener: Listener) -> None:
        self._listeners[channel].remove(listener)

    async def run(self) -> None:
        """Listens until cancelled, connecting again whenever the connection is lost."""
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                _log.warning("notices are interrupted: %s", type(error).__name__)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _listen(self) -> None:
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True, connect_timeout=2) as connection:
            for channel in self._listeners:
                await connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
            for listeners in self._listeners.values():
                for listener in listeners:
                    listener("")
            async for notice in connection.notifies():
                for listener in tuple(self._listeners[notice.channel]):
                    listener(notice.payload)
