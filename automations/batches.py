"""batches: what many runs want written in the same moment is written by one statement, and so by one commit."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

_log = logging.getLogger(__name__)
One = TypeVar("One")
Found = TypeVar("Found")
MOST: Final = 32
PATIENCE_SECONDS: Final = 0.1
"""A statement that takes longer, because a row is locked or Postgres is away, is not waited for by those behind it."""


class Batches(Generic[One, Found]):
    """Writes things of one kind, at once when nothing is under way, else together with all that comes until that has ended.

    Where a batch cannot be written each of it is written by itself, so that nobody fails because of another.
    """

    def __init__(self, write: Callable[[Sequence[One]], Awaitable[Sequence[Found]]], *, first: Callable[[], Awaitable[None]]) -> None:
        """`write` returns what became of each, in their order; `first` is awaited before a batch is made up."""
        self._write, self._first = write, first
        self._waiting: list[tuple[One, asyncio.Future[Found]]] = []
        self._open: set[asyncio.Future[Found]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._going: asyncio.Task[None] | None = None

    async def add(self, one: One) -> Found:
        """What became of it; raises what `write` raises. When all who wait are cancelled, what they wait for is cancelled as well."""
        future = asyncio.get_running_loop().create_future()
        self._open.add(future)
        future.add_done_callback(self._ended)
        self._waiting.append((one, future))
        if self._going is None or self._going.done():
            self._going = self._begin(self._go())
        found: Found = await future
        return found

    async def close(self) -> None:
        """Ends what is under way still, and returns when it has given its connection back."""
        for future in self._open:
            future.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _go(self) -> None:
        while self._waiting:
            await self._first()
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            writing = self._begin(self._settle([one for one in batch if not one[1].done()]))
            await asyncio.wait({writing}, timeout=PATIENCE_SECONDS)

    async def _settle(self, batch: Sequence[tuple[One, "asyncio.Future[Found]"]]) -> None:
        try:
            found = await self._write([one for one, _ in batch]) if batch else ()
        except Exception as error:
            if len(batch) > 1:
                _log.warning("%d are written one by one: %s", len(batch), type(error).__name__)
                await asyncio.gather(*(self._settle([one]) for one in batch))
            elif not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        for (_, future), one in zip(batch, found, strict=True):
            if not future.done():
                future.set_result(one)

    def _begin(self, work: Awaitable[None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _ended(self, future: "asyncio.Future[Found]") -> None:
        self._open.discard(future)
        if future.cancelled() and not self._open:
            self._waiting.clear()
            self._going = None
            for task in self._tasks:
                task.cancel()
