"""What a worker has been hinted at and has not begun: bounded work in hand, any number of ids waiting, none twice, lines in turn."""

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID

import psycopg
from sqlalchemy.exc import SQLAlchemyError

_log = logging.getLogger(__name__)
_NOWHERE: Final = (1, "")
_REST: Final = 3
_TROUBLE: Final = (SQLAlchemyError, psycopg.Error, OSError)


Stocked = Callable[[], Awaitable[bool]]
Places = Callable[[Sequence[UUID]], Awaitable[Mapping[UUID, tuple[int, str]]]]


class Lines:
    """Ids that wait, each in a line of some rank: the highest rank first, and of its lines one id each in turn, the oldest first."""

    def __init__(self) -> None:
        self._ranks: dict[int, OrderedDict[str, dict[UUID, None]]] = {}
        self._places: dict[UUID, tuple[int, str]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, one: UUID) -> bool:
        return one in self._places

    def add(self, one: UUID, rank: int, line: str) -> None:
        """At the end of its line; whoever waits already keeps its place."""
        if one not in self._places:
            self._places[one] = (rank, line)
            self._ranks.setdefault(rank, OrderedDict()).setdefault(line, {})[one] = None

    def take(self) -> UUID:
        """The next one; raises ValueError when nobody waits."""
        rank = max(self._ranks)
        lines = self._ranks[rank]
        line, waiting = next(iter(lines.items()))
        one = next(iter(waiting))
        del waiting[one], self._places[one]
        if waiting:
            lines.move_to_end(line)
        else:
            del lines[line]
        if not lines:
            del self._ranks[rank]
        return one

    def clear(self) -> None:
        self._ranks.clear()
        self._places.clear()


async def _never() -> bool:
    return False


class Intake:
    """Hands ids to `work` in batches of at most `batch`, at most as many batches at a time as there are `hands` just then.

    A hint only adds an id, so long runs never keep Dramatiq's threads, and a hint repeated by the sweep changes nothing. Where more wait
    than can be begun at once `places` is asked for the rank and the line of each, and lines take turns.

    With `patience`, in seconds, a flood of more than a batch does not take the machine from who has other work: the next batch is begun
    only when none has begun for so long; and while whoever goes on with what was done is `stocked` with it, a hand rests three times as
    long as its batch took.
    """

    def __init__(
        self,
        work: Callable[[Sequence[UUID]], Awaitable[int]],
        *,
        batch: int,
        hands: Callable[[], int],
        places: Places,
        patience: float = 0.0,
        stocked: Stocked = _never,
    ) -> None:
        self._work, self._batch, self._hands, self._places, self._patience = work, batch, hands, places, patience
        self._stocked = stocked
        self._begun = -math.inf
        self._later: asyncio.TimerHandle | None = None
        self._waiting: dict[UUID, None] = {}
        self._lines = Lines()
        self._in_hand: set[UUID] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def offer(self, ids: Sequence[UUID]) -> None:
        """Takes note of these runs; call it on the event loop."""
        if self._closed:
            return
        self._waiting.update(dict.fromkeys(one for one in ids if one not in self._in_hand and one not in self._lines))
        if (self._waiting or self._lines) and len(self._tasks) < self._hands() and not self._patient(len(self._tasks)):
            task = asyncio.ensure_future(self._serve())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _patient(self, others: int) -> bool:
        """Whether one of so many other hands is left to take the next batch, as its own may well end soon; if not, another hand comes."""
        loop, until = asyncio.get_running_loop(), self._begun + self._patience
        if not others or not self._flooded or loop.time() >= until:
            return False
        if self._later is None:
            self._later = loop.call_at(until, self._offer_later)
        return True

    def _offer_later(self) -> None:
        self._later = None
        self.offer(())

    @property
    def _flooded(self) -> bool:
        return len(self._waiting) + len(self._lines) > self._batch

    @property
    def busy(self) -> bool:
        """Whether anything waits or is in hand."""
        return bool(self._tasks or self._waiting or self._lines)

    async def close(self, *, seconds: float) -> None:
        """Begins nothing more and gives what is in hand `seconds` to end; the rest is left to its lease."""
        self._closed = True
        self._waiting.clear()
        self._lines.clear()
        if self._tasks:
            _, pending = await asyncio.wait(self._tasks, timeout=seconds)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _serve(self) -> None:
        while len(self._tasks) <= self._hands() and not self._patient(len(self._tasks) - 1) and (batch := await self._next()):
            self._begun = asyncio.get_running_loop().time()
            if self._waiting or self._lines:
                self.offer(())  # another hand, if one is free
            try:
                await self._work(batch)
            except _TROUBLE as error:
                _log.warning("work was interrupted: %s; the sweep brings the runs back", type(error).__name__)
            except Exception:
                _log.exception("work ended unexpectedly; the sweep brings the runs back")
            finally:
                self._in_hand.difference_update(batch)
            await self._rest()

    async def _rest(self) -> None:
        """In a flood: others come to the processors and to Postgres meanwhile, if they have anything to do."""
        if not self._patience or not self._flooded:
            return
        loop, began = asyncio.get_running_loop(), self._begun
        pause = _REST * min(loop.time() - began, self._patience)
        with suppress(*_TROUBLE):
            if await self._stocked():
                self._begun = loop.time() + pause
                await asyncio.sleep(pause)

    async def _next(self) -> list[UUID]:
        """The next batch, in hand from now on. Nobody is asked about lines while all that waits can be begun."""
        batch: list[UUID] = []
        while not batch and (self._waiting or self._lines):
            if not self._lines and len(self._waiting) <= self._batch:
                batch = list(self._waiting)
                self._waiting.clear()
            else:
                await self._line_up()
                batch = [self._lines.take() for _ in range(min(self._batch, len(self._lines)))]
        self._in_hand.update(batch)
        return batch

    async def _line_up(self) -> None:
        """What was hinted at since the last time goes to the end of its line; if Postgres cannot say which, all to one."""
        fresh = list(self._waiting)
        if not fresh:
            return
        try:
            places = await self._places(fresh)
        except _TROUBLE as error:
            _log.warning("lines are not known: %s", type(error).__name__)
            places = {}
        for one in fresh:
            if self._waiting.pop(one, one) is None:  # nobody else has lined it up, nor begun it, meanwhile
                self._lines.add(one, *places.get(one, _NOWHERE))
