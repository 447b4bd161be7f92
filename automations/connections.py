"""Connections of the driver itself, for the hottest statements: SQLAlchemy's session costs such a one more than Postgres does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeVar

import psycopg
from psycopg.rows import dict_row

from store.databases import CONNECT_SECONDS, WORKER_OPTIONS, WriteDriver, plain_url
from store.drivers import Driver

Found = TypeVar("Found")
FEW: Final = 4


class Connections:
    """A worker's connections; the one used last is used first, because it has our statements prepared. One in trouble is closed."""

    def __init__(self, url: str, *, name: str, statements: int = FEW) -> None:
        """At most so many `statements` at once: each takes about a millisecond, however many steps are under way."""
        self._url, self._name = plain_url(url), name
        self._free: list[Driver] = []
        self._commits: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(statements)

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[WriteDriver]:
        """A connection for one statement, which is committed when it is answered. Raises psycopg.Error."""
        async with self._room:
            connection = self._free.pop() if self._free else await self._connect()
            try:
                yield WriteDriver(connection)
            except BaseException:
                self._drop(connection)
                raise
            self._free.append(connection)

    async def begin(self, work: Callable[[Driver], Awaitable[Found]]) -> tuple[Found, asyncio.Task[None]]:
        """Works in a transaction: what the work found, and the commit, which is under way and has to be waited for.

        Whoever uses what was found before that may do nothing that another one would see. Raises psycopg.Error, as the commit does.
        """
        connection = self._free.pop() if self._free else await self._connect()
        try:
            await connection.execute("BEGIN", prepare=False)
            found = await work(connection)
        except BaseException:
            self._drop(connection)
            raise
        commit = asyncio.create_task(connection.commit())
        self._commits.add(commit)
        commit.add_done_callback(partial(self._ended, connection))
        return found, commit

    async def close(self) -> None:
        """Lets the commits end that are under way, and closes every connection."""
        await asyncio.gather(*self._commits, return_exceptions=True)
        while self._free:
            await self._free.pop().close()

    async def _connect(self) -> Driver:
        made: Driver = await psycopg.AsyncConnection.connect(
            self._url,
            connect_timeout=CONNECT_SECONDS,
            application_name=self._name,
            options=WORKER_OPTIONS,
            prepare_threshold=1,
            keepalives_idle=5,
            row_factory=dict_row,
            autocommit=True,
        )
        return made

    def _ended(self, connection: Driver, commit: asyncio.Task[None]) -> None:
        """A commit that was cancelled or failed ends the connection, and with it the transaction; who waits for it hears of that."""
        self._commits.discard(commit)
        if commit.cancelled() or commit.exception():
            self._drop(connection)
        else:
            self._free.append(connection)

    def _drop(self, connection: Driver) -> None:
        """After trouble with one, the others are not trusted either: a server that went away took all of them along."""
        for one in (connection, *self._free):
            one.pgconn.finish()
        self._free.clear()
