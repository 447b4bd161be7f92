"""The driver under SQLAlchemy, and sessions that hand it their statements in text.

SQLAlchemy's own way from a text to its rows takes up to twice as long as the driver's, and longer than Postgres takes for most of ours:
0.48 against 0.25 to 0.35 ms of a slow processor, several times for each click and each step (docs/decisions/psycopg-one-driver.md).
"""

import asyncio
from functools import lru_cache
from typing import Any, Final, NoReturn

import psycopg
from sqlalchemy import TextClause, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session as SyncSession
from sqlalchemy.orm import SessionTransaction

Driver = psycopg.AsyncConnection[Any]
_DIALECT: Final = PGDialect_psycopg()  # type: ignore[no-untyped-call]
_MOST: Final = 2_000


class Session(AsyncSession):
    """An AsyncSession; what is written in text is executed by psycopg on the session's own connection, in its transaction.

    Values come with the call: one that was bound to a text before is not seen. Errors are SQLAlchemy's, as ever.
    """

    _known: tuple[SessionTransaction, Driver] | None = None

    async def execute(self, statement: Any, params: Any = None, **options: Any) -> Any:
        """Like AsyncSession's."""
        if not isinstance(statement, TextClause) or options or isinstance(params, (list, tuple)):
            return await super().execute(statement, params, **options)
        driver = await self._driver()
        try:
            cursor = await driver.execute(_plain(statement.text), params or {})  # without any, psycopg would leave %% as it is
            found = await cursor.fetchall() if cursor.rownumber is not None else ()
        except psycopg.Error as error:
            await self._fail(driver, statement.text, error)
        except asyncio.CancelledError:
            await (await self.connection()).invalidate()  # whether the server still works at it is open
            raise
        return IteratorResult(_names(tuple(one.name for one in cursor.description or ())), iter(found))

    async def _driver(self) -> Driver:
        """The connection of the transaction that is under way, or of a new one; a savepoint is made when the first comes after it."""
        if self._known is None or self._known[0] is not _innermost(self.sync_session):
            self._known = await self.run_sync(_begun)
        return self._known[1]

    async def _fail(self, driver: Driver, statement: str, error: psycopg.Error) -> NoReturn:
        """Raises the error as SQLAlchemy does; it has to see for itself that a connection is lost, so that its pool opens new ones."""
        if driver.closed:
            await (await self.connection()).exec_driver_sql("SELECT 1")
        raise DBAPIError.instance(statement, None, error, psycopg.Error, hide_parameters=True, dialect=_DIALECT) from error


def plain(statement: TextClause) -> str:
    """A statement as the driver itself takes it, with its values by name."""
    return str(statement.compile(dialect=_DIALECT))


def _innermost(session: SyncSession) -> SessionTransaction | None:
    return session.get_nested_transaction() or session.get_transaction()


def _begun(session: SyncSession) -> tuple[SessionTransaction, Driver]:
    under = session.connection().connection.driver_connection
    transaction = _innermost(session)
    if transaction is None or not isinstance(under, psycopg.AsyncConnection):
        raise TypeError("a session without a transaction on a connection of psycopg's")
    return transaction, under


@lru_cache(_MOST)
def _plain(statement: str) -> str:
    return plain(text(statement))


@lru_cache(_MOST)
def _names(names: tuple[str, ...]) -> SimpleResultMetaData:
    return SimpleResultMetaData(names)
