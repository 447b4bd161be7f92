"""Engines and transactions. A transaction is opened at the edge (a door or an automation) and committed once."""

import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any, Final, NewType
from weakref import WeakKeyDictionary

import psycopg
from psycopg.types.json import set_json_dumps
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, DisconnectionError, PendingRollbackError, ResourceClosedError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from .drivers import Driver, Session

ReadSession = NewType("ReadSession", AsyncSession)
WriteSession = NewType("WriteSession", ReadSession)
# A connection that commits each statement by itself, for what is done so often that a session around it costs more than it does.
WriteDriver = NewType("WriteDriver", Driver)

CONNECT_SECONDS: Final = 2
# Told of each connection that is opened for this task, before SQLAlchemy asks it anything, so that the task's owner can sever it.
on_open: ContextVar[Callable[[Driver], None] | None] = ContextVar("on_open", default=None)
# Our statements are few and fixed, and planning the long ones anew each time costs several times their execution. They find rows by
# keys, and a plan made while the tables were small must not read them whole once they have grown.
_BY_KEYS: Final = "-c enable_seqscan=off -c enable_bitmapscan=off -c enable_hashjoin=off -c enable_mergejoin=off "
# Starting a parallel worker takes longer than any of them.
_PLANNED_ONCE: Final = _BY_KEYS + "-c jit=off -c max_parallel_workers_per_gather=0 -c plan_cache_mode=force_generic_plan -c timezone=UTC"
# A door must answer in under 2.5 s (Slack drops us at 3 s), so no statement of a door may outlive this, nor waiting for a connection.
DOOR_SECONDS: Final = 2
_DOOR_OPTIONS: Final = "-c statement_timeout={0}s -c lock_timeout=1500 -c idle_in_transaction_session_timeout=10000 " + _PLANNED_ONCE
WORKER_OPTIONS: Final = "-c statement_timeout=30000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=60000 " + _PLANNED_ONCE


# Made once for each engine: making one takes as long as a short statement.
_by_itself: "WeakKeyDictionary[AsyncEngine, AsyncEngine]" = WeakKeyDictionary()
_as_json = partial(json.dumps, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def open_engine(url: str, *, name: str, pool: int, door: bool) -> AsyncEngine:
    """An engine whose connections say `name` to Postgres; a door's statements are cut off before the platform gives up."""
    set_json_dumps(_as_json)
    return create_async_engine(
        url,
        pool_size=pool,
        max_overflow=0,
        pool_timeout=DOOR_SECONDS if door else 30,
        pool_pre_ping=False,
        hide_parameters=True,  # an error's text goes to logs, and parameters hold what people typed
        use_native_hstore=False,  # else every new connection asks for a type that we do not use
        pool_use_lifo=True,  # the connection used last has our statements prepared and in its cache
        connect_args={
            "async_creator_fn": _connect,
            "application_name": name,
            "connect_timeout": CONNECT_SECONDS,
            "options": _DOOR_OPTIONS.format(DOOR_SECONDS) if door else WORKER_OPTIONS,
            "prepare_threshold": 1,
            "keepalives_idle": 5,
        },
    )


async def _connect(**arguments: Any) -> Driver:
    driver: Driver = await psycopg.AsyncConnection.connect(**arguments)
    if tell := on_open.get():
        tell(driver)
    return driver


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[WriteSession]:
    """One transaction, committed when the block ends well and rolled back otherwise."""
    async with Session(engine, expire_on_commit=False, autoflush=False) as session, session.begin():
        yield WriteSession(ReadSession(session))


def by_itself(engine: AsyncEngine) -> AsyncEngine:
    """The same engine for statements that are their own transactions, which saves two round trips each."""
    if (known := _by_itself.get(engine)) is None:
        known = _by_itself[engine] = engine.execution_options(isolation_level="AUTOCOMMIT")
    return known


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[ReadSession]:
    """A session that only reads, each statement by itself; mypy refuses to hand it to a function that writes."""
    async with Session(by_itself(engine), expire_on_commit=False, autoflush=False) as session:
        yield ReadSession(session)


async def has_passed(session: ReadSession, moment: datetime) -> bool:
    """Whether the database's clock has passed this moment."""
    return bool((await session.execute(text("SELECT countersign_now() >= :moment"), {"moment": moment})).scalar_one())


async def refuse_powerful_role(engine: AsyncEngine) -> None:
    """Raises PowerfulRole when the engine's role is a superuser or owns our tables: a running process must be neither."""
    async with reading(engine) as session:
        row = (
            await session.execute(
                text(
                    "SELECT current_user AS name, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS super,"
                    " EXISTS (SELECT FROM pg_tables WHERE schemaname = 'public' AND tableowner = current_user) AS owner"
                )
            )
        ).one()
    if row.super or row.owner:
        raise PowerfulRole(
            f"COUNTERSIGN_DATABASE_URL connects as {row.name!r}, which is {'a superuser' if row.super else 'the owner of the tables'};"
            " use the role countersign_web or countersign_worker"
        )


class Trouble(Enum):
    """What a failure says about the statement that was under way."""

    lost = "the connection is gone, and whether the server carried out the last statement is open"
    clash = "the server rolled back for another transaction's sake; trying again may do"
    refused = "the server is there, cannot do it now, and did not"


def trouble_of(error: BaseException) -> Trouble | None:
    """The database's trouble behind an error; None when it is no trouble but a mistake of ours."""
    if isinstance(error, PoolTimeout | TimeoutError):
        return Trouble.refused
    if isinstance(error, ConnectionError | DisconnectionError | PendingRollbackError | ResourceClosedError):
        return Trouble.lost
    if not isinstance(error, DBAPIError | psycopg.OperationalError):
        return None
    state = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
    if state is None:
        # The driver speaks, not the server: a lost connection, or one that could not be made. Its other complaints are ours to mend.
        return Trouble.lost if isinstance(error, psycopg.OperationalError) or _is_lost(error) else None
    if state[:2] == "08" or state[:3] == "57P" or state in ("25P03", "25P04"):
        return Trouble.lost
    if state in ("40001", "40P01"):
        return Trouble.clash
    return Trouble.refused if state[:2] in ("53", "55", "57", "58") else None


def _is_lost(error: DBAPIError) -> bool:
    return error.connection_invalidated or isinstance(error.orig, psycopg.OperationalError)


async def driver_of(connection: AsyncConnection) -> Driver:
    """The psycopg connection underneath, for `sever`."""
    driver: Driver = (await connection.get_raw_connection()).driver_connection  # type: ignore[assignment]
    return driver


async def driver_under(through: ReadSession | WriteDriver) -> Driver:
    """The driver's connection of a session, in its transaction; one that is given alone is it."""
    return through if isinstance(through, psycopg.AsyncConnection) else await driver_of(await through.connection())


def sever(driver: Driver) -> None:
    """Ends a connection without a word to the server: whoever waits for an answer on it is told at once that it is lost.

    What was sent before may still arrive and be carried out. The descriptor stays the driver's, which closes it when it notices.
    """
    if not driver.closed:
        with suppress(OSError), socket.socket(fileno=os.dup(driver.pgconn.socket)) as end:
            end.shutdown(socket.SHUT_RDWR)


class PowerfulRole(Exception):
    """A running process was given a role that could change the audit."""


def plain_url(url: str) -> str:
    """The URL as libpq reads it, without SQLAlchemy's driver name."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)
