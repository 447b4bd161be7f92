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
    """Disposed of, it lies on the shelf with its connections, unless somebody still has one of them."""

    __slots__ = ("lay",)

    lay: Callable[[], bool]

    async def dispose(self, close: bool = True) -> None:
        if self.pool.checkedout() or not self.lay():  # type: ignore[attr-defined]
            await super().dispose(close)


@asynccontextmanager
async def kept(urls: DatabaseUrls) -> AsyncIterator[None]:
    """Meanwhile engines of this event loop on this database are handed on from one test to the next that opens one like it."""
    name, home = make_url(urls.owner).database, asyncio.get_running_loop()
    shelf: dict[str, list[_Kept]] = {}
    by_hand = getattr(databases, _MAKER)

    def here() -> bool:
        try:
            return asyncio.get_running_loop() is home
        except RuntimeError:
            return False

    def make(url: str, **options: Any) -> AsyncEngine:
        made: AsyncEngine
        if make_url(url).database != name or not here():
            made = by_hand(url, **options)
            return made
        alike = shelf.setdefault(repr((url, options)), [])
        if alike:
            return alike.pop()

        def lay() -> bool:
            if here():
                alike.append(engine)
            return here()

        engine = _Kept(by_hand(url, **options).sync_engine)
        engine.lay = lay
        return engine

    with patch.object(databases, _MAKER, make):
        yield
    for engine in chain.from_iterable(shelf.values()):
        await AsyncEngine.dispose(engine)
