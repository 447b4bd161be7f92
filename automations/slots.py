"""Slots: how many runs a process carries out at once. A few more are made ready, or put away, so that no slot is empty meanwhile."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Self
from uuid import UUID

AHEAD: Final = 2
ALONE_SECONDS: Final = 30.0
ASIDE_SECONDS: Final = 1.0
LONGEST_ASIDE_SECONDS: Final = 4.0
BRISK_SECONDS: Final = 1.0
"""Runs are made ready ahead only while slots become free this soon, and wait no longer for one: others might have one free."""
_WEIGHT: Final = 0.3
_UNKNOWN: Final = 60.0


class Slots:
    """At most `count` runs at once have one, in the order in which they ask; without a count all do."""

    def __init__(self, count: int | None = None) -> None:
        self.count = count
        self._free = asyncio.Semaphore(count) if count else None
        self._usual = _UNKNOWN
        self._next = 0
        self._changed = asyncio.Event()

    @property
    def hands(self) -> int:
        """How many runs may be in hand now: those that have a slot, and a few that are before or behind one."""
        count = self.count or 0
        return count + self._ahead + (count // 2 if self._usual < BRISK_SECONDS / 2 else 0)

    @property
    def _ahead(self) -> int:
        return AHEAD + (self.count or 0) // 2 if self._usual < BRISK_SECONDS else 0

    @property
    def all_taken(self) -> bool:
        """Whether who asks now has to wait."""
        return self._free is not None and self._free.locked()

    @property
    def seconds_between(self) -> float:
        """How long it takes on average until the next one is free."""
        return self._usual / (self.count or 1)

    async def until_short(self) -> None:
        """Until a run more is wanted for the slots that become free next: those that are in hand by then are taken together."""
        while self.all_taken and 0 < self._ahead <= self._next:
            self._changed.clear()
            await self._changed.wait()

    def come(self, runs: int) -> None:
        """So many more are to have a slot next, or fewer."""
        self._next += runs
        self._changed.set()

    async def take(self) -> bool:
        """Whether one became free in time; whoever has it gives it back by `free`."""
        if self._free is None:
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(BRISK_SECONDS):
                await self._free.acquire()
                return True
        self._usual = _UNKNOWN
        self._changed.set()
        return False

    def free(self, seconds: float) -> None:
        """One that was had for so long is free again."""
        if self._free is not None:
            self._usual = seconds if self._usual >= _UNKNOWN else self._usual + _WEIGHT * (seconds - self._usual)
            self._free.release()
            self._changed.set()


@dataclass
class Slot:
    """A run's own, from before its first step until after its last."""

    slots: Slots
    comes: bool = False
    """It is counted among those that `come` next."""
    _since: float | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.free()
        self._come_no_more()

    async def take(self) -> bool:
        """Whether the run has one now."""
        if self._since is None and await self.slots.take():
            self._since = time.monotonic()
            self._come_no_more()
        return self._since is not None

    def free(self) -> None:
        """The run has no step under way, and begins none."""
        if self._since is not None:
            self.slots.free(time.monotonic() - self._since)
            self._since = None

    def _come_no_more(self) -> None:
        self.slots.come(-int(self.comes))
        self.comes = False


@dataclass
class Suspects:
    """Runs whose next death together with their worker is held against them: a process calls one of them at a time.

    Whichever of them kills workers then does not take the others along. One that has not done so for ALONE_SECONDS makes room for the next.
    """

    _run: UUID | None = field(default=None, init=False)
    _since: float = field(default=0.0, init=False)

    def admit(self, run: UUID) -> float:
        """For how many seconds this one has to stay away; 0 when it may go on here now.

        The longer another one is out the longer: most end soon, and what takes long is not asked after again and again.
        """
        out = time.monotonic() - self._since
        if self._run is not None and out < ALONE_SECONDS:
            return min(max(out, ASIDE_SECONDS), LONGEST_ASIDE_SECONDS)
        self._run, self._since = run, time.monotonic()
        return 0.0

    def clear(self, run: UUID) -> None:
        """Nothing holds the others up because of this one any more."""
        if self._run == run:
            self._run = None
