"""Connections that outlive a test where its database does: the next hub on it goes on with them.

Each hub of a test opened eight, and a process of Postgres that is new reads its catalogue and plans every statement for the first time: two
thirds of what Postgres had to do for such a test, and a tenth of what the test had to do itself.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any, Final
from unittest.mock import patch

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from store import databases
from store.embedded import DatabaseUrls

_MAKER: Final = "create_async_engine"


class _Kept(AsyncEngine):
    """Disposed of in the event loop that made it, it lies on its shelf with its connections, unless somebody still has one of them."""

    __slots__ = ("home", "shelf")

    home: asyncio.AbstractEventLoop
    shelf: "list[_Kept]"

    async def dispose(self, close: bool = True) -> None:
        if self.pool.checkedout() or asyncio.get_running_loop() is not self.home:  # type: ignore[attr-defined]
            await super().dispose(close)
        else:
            self.shelf.append(self)


@asynccontextmanager
async def kept(urls: DatabaseUrls) -> AsyncIterator[DatabaseUrls]:
    """Meanwhile engines of this event loop on this database are handed on from one test to the next that opens one like it."""
    name, home = make_url(urls.owner).database, asyncio.get_running_loop()
    shelves: dict[str, list[_Kept]] = {}
    by_hand: Callable[..., AsyncEngine] = getattr(databases, _MAKER)

    def make(url: str, **options: Any) -> AsyncEngine:
        if make_url(url).database != name or asyncio._get_running_loop() is not home:  # the public one raises where none is running
            return by_hand(url, **options)
        shelf = shelves.setdefault(repr((url, options)), [])
        if shelf:
            return shelf.pop()
        engine = _Kept(by_hand(url, **options).sync_engine)
        engine.home, engine.shelf = home, shelf
        return engine

    with patch.object(databases, _MAKER, make):
        yield urls
    for engine in chain.from_iterable(shelves.values()):
        await AsyncEngine.dispose(engine)
