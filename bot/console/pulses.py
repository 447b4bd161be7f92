"""When the pages that people look at have to be read again: one look at the record for all of them, and no more often than it costs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from bot.hubs import Hub
from countersign.errors import CountersignError
from store.audits import find_changes
from store.databases import ReadSession

LOOK_SECONDS: Final = 0.75
# What changes without a notice, such as a run that nobody is told of, is found by the clock.
QUIET_SECONDS: Final = 5.0
HEARTBEAT_SECONDS: Final = 15.0
LEAST_SECONDS: Final = 1.0
# A run's own page is told of its own run only: with the look before it that is a second and a bit, where two were promised.
RUN_SECONDS: Final = 0.4
# A page that is read again takes some 20 ms of a core, so many that anything concerns take turns of more than a second.
SECONDS_A_PAGE: Final = 0.1


@dataclass(eq=False)
class _Watcher:
    """An open page, and what has changed since it was told last."""

    run: UUID | None
    shared: bool
    changed: set[UUID | None] = field(default_factory=set)
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def concerned(self, runs: Collection[UUID | None]) -> frozenset[UUID | None]:
        """Which of these the page shows."""
        return frozenset(runs) if self.run is None else frozenset({self.run} & set(runs))

    def take(self) -> frozenset[UUID | None]:
        """What has changed, once."""
        changed, self.changed = frozenset(self.changed), set()
        self.woken.clear()
        return changed


class Pulse:
    """One per web process. It looks only while somebody watches."""

    def __init__(self, hub: Callable[[], Hub]) -> None:
        self._hub = hub
        self._watchers: set[_Watcher] = set()
        self._noticed = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._listening = False
        self._seen: int | None = None
        self._told: dict[UUID | None, int] = {}

    async def watch(self, run: UUID | None, *, after: int, shared: bool = False) -> AsyncIterator[frozenset[UUID | None]]:
        """What of this run, or of all when none is given, has changed since `after`, the moment when the page was made in microseconds.

        Then what has changed, whenever it does, and nothing every 15 s that it does not. What is `shared` is made once for many pages,
        so that they need not take turns.
        """
        with self._watching(run, shared=shared) as watcher:
            _, runs = await self._hub().read(lambda session: find_changes(session, after=after))
            yield watcher.concerned(runs)
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await watcher.woken.wait()
                except TimeoutError:
                    yield frozenset()
                    continue
                yield watcher.take()
                await asyncio.sleep(self._pause(watcher))

    def _pause(self, watcher: "_Watcher") -> float:
        if watcher.shared:
            return 0.0
        if watcher.run is not None:
            return RUN_SECONDS
        alike = sum(1 for one in self._watchers if one.run is None and not one.shared)
        return max(LEAST_SECONDS, SECONDS_A_PAGE * alike)

    async def close(self) -> None:
        """Ends the look that is under way, before the database is let go."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    @contextmanager
    def _watching(self, run: UUID | None, *, shared: bool) -> Iterator["_Watcher"]:
        watcher = _Watcher(run, shared)
        self._watchers.add(watcher)
        self._begin()
        try:
            yield watcher
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
        self._seen, self._told = None, {}
        with suppress(CountersignError):
            await self._changed()  # from here on; what came while somebody opened a page is told twice
        while self._watchers:
            with suppress(TimeoutError):
                async with asyncio.timeout(QUIET_SECONDS):
                    await self._noticed.wait()
            self._noticed.clear()
            with suppress(CountersignError):  # a database that does not answer is asked again
                self._wake(await self._changed())
            await asyncio.sleep(LOOK_SECONDS)

    async def _changed(self) -> set[UUID | None]:
        async def read(session: ReadSession) -> set[UUID | None]:
            self._seen, runs = await find_changes(session, after=self._seen)
            fresh = {run for run, at in runs.items() if self._told.get(run) != at}
            self._told = runs
            return fresh

        return await self._hub().read(read)

    def _wake(self, runs: set[UUID | None]) -> None:
        for one in self._watchers:
            if changed := one.concerned(runs):
                one.changed |= changed
                one.woken.set()
