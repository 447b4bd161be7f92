"""lookouts: whether anything has changed for runs that have begun ahead and wait for a slot; one look at all of them together."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import psycopg
from sqlalchemy.exc import SQLAlchemyError

_log = logging.getLogger(__name__)
One = TypeVar("One")
EVERY_SECONDS: Final = 0.015
RECENT_SECONDS: Final = 0.03
"""A look that is older says nothing about a call that begins now."""


@dataclass
class Sight(Generic[One]):
    """What is looked at, and when, on the monotonic clock, it was last found unchanged."""

    one: One
    at: float = float("-inf")

    @property
    def recent(self) -> bool:
        """Whether nothing had changed a moment ago."""
        return time.monotonic() - self.at < RECENT_SECONDS


class Lookout(Generic[One]):
    """Looks every 15 ms at all that is watched, as long as that costs less than looking at each when its turn comes.

    A look of its own before each call took 2 ms of the slot, which nobody else had meanwhile.
    """

    def __init__(self, look: Callable[[Sequence[One]], Awaitable[Sequence[bool]]], *, worth: Callable[[], bool]) -> None:
        """`look` says of each whether it is unchanged; nobody looks while it is not `worth` it, or after trouble with Postgres."""
        self._look, self._worth = look, worth
        self.watched: list[Sight[One]] = []
        """In the order in which they came."""
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self, one: One) -> Iterator[Sight[One]]:
        """Looks at it meanwhile, in turn with all others."""
        sight = Sight(one)
        self.watched.append(sight)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._go())
        try:
            yield sight
        finally:
            self.watched.remove(sight)

    async def close(self) -> None:
        """Looks at nothing any more."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    async def _go(self) -> None:
        while self.watched:
            if self._worth():
                try:
                    await self._see(list(self.watched))
                except (SQLAlchemyError, psycopg.Error, OSError) as error:
                    _log.warning("runs that are about to be called could not be looked at: %s", type(error).__name__)
            await asyncio.sleep(EVERY_SECONDS)

    async def _see(self, watched: Sequence[Sight[One]]) -> None:
        began = time.monotonic()
        for sight, unchanged in zip(watched, await self._look([sight.one for sight in watched]), strict=True):
            sight.at = began if unchanged else float("-inf")
