"""Connections that outlive a test where its database does: the next hub on it goes on with them.

Each hub of a test opened eight, and a process of Postgres that is new reads its catalogue and plans every statement for the first time: two
thirds of what Postgres had to do for such a test, and a tenth of what the test had to do itself.
"""

import asyncio
from itertools import chain
from typing import Any, Final

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from store import databases
from store.embedded import DatabaseUrls

_MAKER: Final = "create_async_engine"
_by_hand = getattr(databases, _MAKER)
_kept: dict[str | None, "Kept"] = {}


class _KeptEngine(AsyncEngine):
    """Disposed of in the event loop that made it, it lies on its shelf with its connections, unless somebody still has one of them."""

    __slots__ = ("home", "shelf")

    home: asyncio.AbstractEventLoop
    shelf: "list[_KeptEngine]"

    async def dispose(self, close: bool = True) -> None:
        if self.pool.checkedout() or asyncio.get_running_loop() is not self.home:  # type: ignore[attr-defined]
            await super().dispose(close)
        else:
            self.shelf.append(self)


class Kept:
    """Until it is closed engines of this event loop on this database are handed on from one test to the next that opens one like it."""

    def __init__(self, urls: DatabaseUrls) -> None:
        self.urls = urls
        self._name = make_url(urls.owner).database
        self._shelves: dict[str, list[_KeptEngine]] = {}
        self._home = asyncio.get_running_loop()
        _kept[self._name] = self

    async def aclose(self) -> None:
        """From now on nothing is handed on; what lies on shelves is disposed of."""
        del _kept[self._name]
        for engine in chain.from_iterable(self._shelves.values()):
            await AsyncEngine.dispose(engine)

    @property
    def idle(self) -> int:
        """How many connections lie on shelves."""
        return sum(one.pool.checkedin() for one in chain.from_iterable(self._shelves.values()))  # type: ignore[attr-defined]

    def engine(self, url: str, **options: Any) -> AsyncEngine:
        """One from the shelf, or a new one where another event loop runs or none is there."""
        if asyncio._get_running_loop() is not self._home:  # the public one raises where none is running
            return _new(url, **options)
        shelf = self._shelves.setdefault(repr((url, options)), [])
        if shelf:
            return shelf.pop()
        engine = _KeptEngine(_new(url, **options).sync_engine)
        engine.home, engine.shelf = self._home, shelf
        return engine


def _new(url: str, **options: Any) -> AsyncEngine:
    engine: AsyncEngine = _by_hand(url, **options)
    return engine


def _make(url: str, **options: Any) -> AsyncEngine:
    kept = _kept.get(make_url(url).database)
    return kept.engine(url, **options) if kept else _new(url, **options)


setattr(databases, _MAKER, _make)
