"""When the pages that people look at have to be read again: one look at the record for all of them, and no more often than it costs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final
from uuid import UUID

from bot.hubs import Hub
from countersign.errors import CountersignError
from store.audits import find_changes
from store.databases import ReadSession

LOOK_SECONDS: Final = 0.5
# What changes without a notice, such as a run that nobody is told of, is found by the clock.
QUIET_SECONDS: Final = 5.0
HEARTBEAT_SECONDS: Final = 15.0
LEAST_SECONDS: Final = 1.0
# A page that is read again takes some 10 ms of a core, so 200 open ones take turns of 20 s between them and not of one.
SECONDS_A_PAGE: Final = 0.1


class Pulse:
    """One per web process. It looks only while somebody watches."""

    def __init__(self, hub: Callable[[], Hub]) -> None:
        self._hub = hub
        self._watchers: set[tuple[UUID | None, asyncio.Event]] = set()
        self._noticed = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._listening = False
        self._seen: int | None = None

    async def watch(self, run: UUID | None, *, after: int) -> AsyncIterator[bool]:
        """Whether this run, or any when none is given, has changed since `after`, the moment when the page was made in microseconds.

        Then True whenever it changes, and False every 15 s that it does not.
        """
        with self._watching(run) as woken:
            _, runs = await self._hub().read(lambda session: find_changes(session, after=after))
            yield run in runs or (run is None and bool(runs))
            while True:
                try:
                    await asyncio.wait_for(woken.wait(), HEARTBEAT_SECONDS)
                except TimeoutError:
                    yield False
                    continue
                woken.clear()
                yield True
                await asyncio.sleep(LEAST_SECONDS if run else max(LEAST_SECONDS, SECONDS_A_PAGE * len(self._watchers)))

    async def close(self) -> None:
        """Ends the look that is under way, before the database is let go."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    @contextmanager
    def _watching(self, run: UUID | None) -> Iterator[asyncio.Event]:
        watcher = (run, asyncio.Event())
        self._watchers.add(watcher)
        self._begin()
        try:
            yield watcher[1]
        finally:
            self._watchers.discard(watcher)

    def _begin(self) -> None:
        if not self._listening:
            self._listening = True
            for channel in ("countersign_work", "countersign_room"):
                self._hub().notices.on(channel, lambda _: self._noticed.set())
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        self._seen = None
        while self._watchers:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._noticed.wait(), QUIET_SECONDS)
            self._noticed.clear()
            with suppress(CountersignError):  # a database that does not answer is asked again
                self._wake(await self._changed())
            await asyncio.sleep(LOOK_SECONDS)

    async def _changed(self) -> set[UUID | None]:
        async def read(session: ReadSession) -> set[UUID | None]:
            latest, runs = await find_changes(session, after=self._seen)
            fresh = runs if latest != self._seen else set()
            self._seen = latest
            return fresh

        return await self._hub().read(read)

    def _wake(self, runs: set[UUID | None]) -> None:
        for run, event in self._watchers:
            if run in runs or (run is None and runs):
                event.set()
