"""turns: a call of an integration with a rate limit waits for its turn. All workers count in Postgres; no connection is held meanwhile."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from uuid import UUID, uuid4, uuid5

from sqlalchemy.exc import SQLAlchemyError

from countersign.errors import NotYet
from countersign.integrations import Integration
from countersign.rates import Rate
from store.journals import Phase, StepKey
from store.limits import Limit, give_turn_back, take_turn

from .journaling import StepJournal
from .services import Services

RULE: Final = "integration"
PATIENCE: Final = 10.0
"""Seconds for which whoever makes a call is kept waiting for the first one; for longer a run gives its claim back."""
LOOKUP_PATIENCE: Final = 60.0
"""The same for a look-up, which holds its worker; a person is asked instead of one that comes later."""
SHOWN: Final = 1.0
"""Seconds of waiting from which on the card says so."""


Waits = Callable[[str, float], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def _unseen(_: str, __: float) -> AsyncIterator[None]:
    yield


@dataclass
class Turns:
    """The turns of one try of a step, or of one planning.

    The first call decides: when its turn comes later than `patience`, nothing has been done yet and it raises NotYet; whoever tries
    again with the same `name` has the same turn. A later call is waited for where it is, inside of `waiting` with a sentence that says so
    and for how many seconds.
    """

    services: Services
    run: UUID
    name: str
    patience: float = PATIENCE
    waiting: Waits = _unseen
    _asked: int = field(default=0, init=False)
    _made: int = field(default=0, init=False)
    _over: NotYet | None = field(default=None, init=False)

    async def __call__(self, one: Integration) -> None:
        self._asked += 1
        if one.rate_in_force is not None:
            await self._take(one.name, one.rate_in_force, first=self._asked == 1)
        if self._over is not None:
            raise self._over  # a call beside the first one would be made now, and again by the next try
        self._made += 1

    async def _take(self, name: str, rate: Rate, *, first: bool) -> None:
        limit = Limit(RULE, name, rate.count, rate.per)
        call = uuid5(self.run, f"{self.name} {name}") if first else uuid4()
        seconds = await self.services.insist(partial(take_turn, limit=limit, run=self.run, call=call))
        if seconds <= 0:
            return
        sentence = f"its turn at {name}: {rate}"
        if first and seconds > self.patience and not self._made:
            self._over = NotYet(sentence, seconds)
        elif self._over is None:
            await self._wait(limit, call, seconds, sentence)
        else:
            await self._give_back(limit, call)

    async def _wait(self, limit: Limit, call: UUID, seconds: float, sentence: str) -> None:
        try:
            async with self.waiting(sentence, seconds):
                while seconds > 0:
                    await asyncio.sleep(seconds)
                    seconds = await self.services.insist(partial(take_turn, limit=limit, run=self.run, call=call))
        except BaseException:
            await self._give_back(limit, call)
            raise

    async def _give_back(self, limit: Limit, call: UUID) -> None:
        with suppress(SQLAlchemyError, OSError):  # then its place is lost to the others until its time is over
            async with self.services.transaction() as session:
                await give_turn_back(session, limit, run=self.run, call=call)


def turns_of(services: Services, key: StepKey, journal: StepJournal, limit: asyncio.Timeout) -> Turns:
    """Those of a step, whose time `limit` stands still while it waits; its card says so. A guard's look, or a look-up, is not put off."""
    still = StandingStill(limit)

    @asynccontextmanager
    async def waiting(sentence: str, seconds: float) -> AsyncIterator[None]:
        async with still(), journal.saying(f"waits for {sentence}") if seconds > SHOWN else nullcontext():
            yield

    patience = {Phase.guard: math.inf, Phase.lookup: LOOKUP_PATIENCE}.get(key.phase, PATIENCE)
    return Turns(services, key.run_id, f"{key.revision}:{key.position}:{key.phase}", patience, waiting)


@dataclass
class StandingStill:
    """A time limit that stands still while anything waits."""

    limit: asyncio.Timeout
    _waiting: int = 0
    _left: float = 0.0

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        now = asyncio.get_running_loop().time
        if self._waiting == 0:
            self._left = (self.limit.when() or 0.0) - now()
            self.limit.reschedule(None)
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            if self._waiting == 0:
                with suppress(RuntimeError):  # the step has ended, and what it left behind has not
                    self.limit.reschedule(now() + self._left)
