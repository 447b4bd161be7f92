"""What a worker process holds: its engine, the commands, the keys, the integrations, and the policy in force."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Final, TypeVar
from uuid import UUID

import psycopg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from commands.policies import PolicyError
from commands.registries import Registry, Reloader, load_registry
from commands.rulebooks import Rulebook, read_rulebook
from commands.switches import stopped_integrations
from countersign.labels import labels_in
from integrations.catalogs import Catalog
from store.beginnings import find_unchanged
from store.databases import ReadSession, WriteDriver, WriteSession, by_itself, open_engine, reading, transaction, trouble_of
from store.drivers import Session
from store.journals import Bearing, StepKey
from store.messages import call_senders
from store.objects import Objects
from store.policies import find_digest
from store.secrets import Keys, Opener, Sealer
from store.settings import Settings
from store.switches import Switch, find_switches

from .batches import Batches
from .connections import FEW, Connections
from .lookouts import EVERY_SECONDS, Lookout
from .redactions import Redactor, secrets_of_environment
from .slates import Slate
from .slots import Slots, Suspects
from .telling import Teller

_log = logging.getLogger(__name__)
One = TypeVar("One")
Found = TypeVar("Found")
Through = TypeVar("Through")
FRESH_SECONDS: Final = 2.0
ASK_SECONDS: Final = 0.25
INSIST_SECONDS: Final = 60.0


async def _at_once(_: "Services") -> None:
    pass


@dataclass
class Services:
    """One per worker process; given to shipped commands as `ctx.services`."""

    settings: Settings
    name: str
    engine: AsyncEngine
    connections: Connections
    sealer: Sealer
    opener: Opener
    hook_sealer: Sealer
    labels: tuple[str, ...]
    catalog: Catalog
    reloader: Reloader
    _redactor: tuple[int, Redactor] = field(default_factory=lambda: (0, Redactor(secrets_of_environment())))
    held: set[UUID] = field(default_factory=set)
    """The runs this process is working on: their leases are renewed, those of a run whose work ended badly are not."""
    slate: Slate = field(default_factory=Slate)
    """Where this process writes down which calls it makes and how they end."""
    slots: Slots = field(default_factory=Slots)
    suspects: Suspects = field(default_factory=Suspects)
    ending: bool = False
    """This process is about to end: what is under way is finished, and no step begins any more."""
    _rulebook: tuple[float, Rulebook] | None = None
    _asked: float = 0.0
    _first: asyncio.Lock = field(default_factory=asyncio.Lock)
    _batches: dict[Any, Batches[Any, Any]] = field(default_factory=dict)
    _switches: tuple[float, tuple[Switch, ...]] | None = None
    _stepping: int = 0

    @property
    def registry(self) -> Registry:
        return self.reloader.registry

    @cached_property
    def objects(self) -> Objects:
        """Where the files of runs are kept."""
        return Objects(self.settings)

    @cached_property
    def teller(self) -> Teller:
        """Tells senders what runs do: were that part of the moves, runs would wait for each other (docs/decisions/notices-apart.md)."""

        async def speak() -> None:
            async with self.statement() as session:
                await call_senders(session)

        return Teller(speak)

    @cached_property
    def lookout(self) -> Lookout[tuple[StepKey, Bearing]]:
        """Sees whether anything has changed for runs that have begun ahead of their slot."""

        async def look(begun: Sequence[tuple[StepKey, Bearing]]) -> Sequence[bool]:
            async with self.plain_statement() as driver:
                return await find_unchanged(driver, begun)

        return Lookout(look, worth=lambda: self.slots.seconds_between < 2 * EVERY_SECONDS)

    @property
    def redactor(self) -> Redactor:
        """Knows the secrets of this process: its environment's, and those of every client opened so far."""
        known = self.catalog.secrets
        if len(known) != self._redactor[0]:
            self._redactor = (len(known), Redactor([*secrets_of_environment(), *known]))
        return self._redactor[1]

    @property
    def rulebook(self) -> Rulebook:
        """The rulebook as it was read last; `current_rulebook` reads it."""
        assert self._rulebook is not None  # noqa: S101  every job begins by reading it
        return self._rulebook[1]

    @property
    def switches(self) -> tuple[Switch, ...] | None:
        """The kill switches as they were a moment ago, for what is only shown; None when nobody has asked lately."""
        if self._switches is None or time.monotonic() - self._switches[0] > FRESH_SECONDS:
            return None
        return self._switches[1]

    async def current_rulebook(self, session: ReadSession) -> Rulebook:
        """The rulebook, asked for a newer policy four times a second and read whole every 2 s."""
        known, now = self._rulebook, time.monotonic()
        if known is not None and now - self._asked < ASK_SECONDS:
            return known[1]
        if known is None:
            return await self._first_rulebook(session)
        self._asked = now
        digest = await find_digest(session)
        if known[1].policy.digest != digest or now - known[0] > FRESH_SECONDS:
            return await self._read_rulebook(session)
        return known[1]

    async def newest_rulebook(self, session: ReadSession) -> Rulebook:
        """The rulebook, read whole at this moment."""
        return await self._read_rulebook(session)

    async def current_switches(self, session: ReadSession) -> tuple[Switch, ...]:
        """The kill switches that are on at this moment; stops the integrations that they name."""
        return self._noted(await find_switches(session))

    async def recent_rulebook(self, *, seconds: float = FRESH_SECONDS) -> Rulebook:
        """The rulebook as it was read at most so long ago, for who compares its policy with the one in force as he takes the work.

        A worker reads it in the background (`stay_current`), so that no work waits for that.
        """
        if self._rulebook is None:
            async with self.reading() as session:
                return await self._first_rulebook(session)
        if time.monotonic() - self._rulebook[0] > seconds:
            async with self.reading() as session:
                return await self._read_rulebook(session)
        return self._rulebook[1]

    async def stay_current(self) -> None:
        """Keeps the rulebook recent until cancelled."""
        while True:
            try:
                await self.recent_rulebook(seconds=FRESH_SECONDS / 4)
            except (SQLAlchemyError, OSError, PolicyError) as error:
                _log.warning("the policy could not be read: %s", type(error).__name__)
            await asyncio.sleep(FRESH_SECONDS * 0.75)

    def forget(self) -> None:
        """Reads policy and people anew at the next job, for whoever has just changed them."""
        self._rulebook, self._asked = None, 0.0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[WriteSession]:
        async with transaction(self.engine) as session:
            yield session

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[WriteSession]:
        """For one statement that is its own transaction, which saves two round trips."""
        async with Session(by_itself(self.engine), expire_on_commit=False) as session:
            yield WriteSession(ReadSession(session))

    @asynccontextmanager
    async def plain_statement(self) -> AsyncIterator[WriteDriver]:
        """The same without SQLAlchemy's session, for what is done for each step. Raises psycopg.Error."""
        async with self.connections.statement() as driver:
            yield driver

    async def insist(self, write: Callable[[WriteSession], Awaitable[Found]]) -> Found:
        """Writes what only this worker knows in a transaction, again and again for a minute while Postgres is away or in trouble.

        What is written has to bear that it had been committed before and only the answer was lost.
        """
        return await _insist(self.transaction, write)

    async def insist_alone(self, write: Callable[[WriteDriver], Awaitable[Found]]) -> Found:
        """The same for one statement that is its own transaction."""
        return await _insist(self.plain_statement, write)

    async def together(
        self,
        write: Callable[["Services", Sequence[One]], Awaitable[Sequence[Found]]],
        one: One,
        *,
        first: Callable[["Services"], Awaitable[None]] = _at_once,
    ) -> Found:
        """Has it written with what others want written the same way in the same moment (`Batches`); `first` is waited for."""
        if (batches := self._batches.get(write)) is None:
            batches = self._batches[write] = Batches(partial(write, self), first=partial(first, self))
        found: Found = await batches.add(one)
        return found

    @contextmanager
    def stepping(self) -> Iterator[bool]:
        """While a step ends and the next begins: whether none but this one does."""
        alone, self._stepping = not self._stepping, self._stepping + 1
        try:
            yield alone
        finally:
            self._stepping -= 1

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[ReadSession]:
        async with reading(self.engine) as session:
            yield session

    @contextmanager
    def holding(self, ids: Iterable[UUID]) -> Iterator[None]:
        """Keeps these runs' leases alive while they are worked on."""
        mine = set(ids)
        self.held.update(mine)
        try:
            yield
        finally:
            self.held.difference_update(mine)

    async def _first_rulebook(self, session: ReadSession) -> Rulebook:
        """One reads it while the others wait: a worker that begins is handed many runs at once."""
        async with self._first:
            return self._rulebook[1] if self._rulebook is not None else await self._read_rulebook(session)

    async def _read_rulebook(self, session: ReadSession) -> Rulebook:
        known = self._rulebook[1] if self._rulebook else None
        self._asked = time.monotonic()
        await asyncio.to_thread(self.reloader.refresh)
        read = await read_rulebook(session, registry=self.registry, sealer=self.sealer, address=self.settings.url, known=known)
        self._rulebook = (time.monotonic(), read)
        self._noted(read.switches)
        return read

    def _noted(self, switches: tuple[Switch, ...]) -> tuple[Switch, ...]:
        self._switches = (time.monotonic(), switches)
        if self._rulebook is not None and self._rulebook[1].switches != switches:
            self._rulebook = (self._rulebook[0], replace(self._rulebook[1], switches=switches))
        self.catalog.stop(stopped_integrations(switches))
        return switches

    async def close(self) -> None:
        for one in self._batches.values():
            await one.close()
        await self.lookout.close()
        await self.teller.close()
        await self.catalog.close()
        await self.connections.close()
        await self.engine.dispose()


async def _insist(opened: Callable[[], AbstractAsyncContextManager[Through]], write: Callable[[Through], Awaitable[Found]]) -> Found:
    until = time.monotonic() + INSIST_SECONDS
    while True:
        try:
            async with opened() as through:
                return await write(through)
        except (SQLAlchemyError, psycopg.Error, OSError) as error:
            if trouble_of(error) is None or time.monotonic() > until:
                raise
            _log.warning("Postgres is waited for: %s", type(error).__name__)
            await asyncio.sleep(ASK_SECONDS)


def open_services(settings: Settings, *, name: str, pool: int, statements: int = FEW) -> Services:
    """Loads commands and keys and opens the engine; connections are made on first use, so many for sessions and for plain statements."""
    keys = Keys(settings.data_dir / "keys")
    registry = load_registry(folder=settings.commands, runbooks=settings.runbooks)
    shown = f"countersign-{name}"[:60]
    return Services(
        settings=settings,
        name=name,
        engine=open_engine(settings.database_url, name=shown, pool=pool, door=False),
        connections=Connections(settings.database_url, name=shown, statements=statements),
        sealer=keys.sealer(),
        opener=keys.opener(),
        hook_sealer=keys.hook_sealer(),
        labels=labels_in(settings.labels),
        catalog=Catalog(),
        reloader=Reloader(registry, folder=settings.commands, runbooks=settings.runbooks),
    )
