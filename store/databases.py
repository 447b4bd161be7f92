"""Engines and transactions. A transaction is opened at the edge (a door or an automation) and committed once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NewType

from psycopg.types.json import set_json_dumps
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from countersign.canonical import canonical

ReadSession = NewType("ReadSession", AsyncSession)
WriteSession = NewType("WriteSession", ReadSession)

CONNECT_SECONDS: Final = 2
# A door must answer in under 2.5 s (Slack drops us at 3 s), so no statement of a door may outlive 2 s.
DOOR_OPTIONS: Final = "-c statement_timeout=2000 -c lock_timeout=1500 -c idle_in_transaction_session_timeout=10000 -c timezone=UTC"
WORKER_OPTIONS: Final = "-c statement_timeout=30000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=60000 -c timezone=UTC"


def open_engine(url: str, *, name: str, pool: int, door: bool) -> AsyncEngine:
    """An engine whose connections say `name` to Postgres; a door's statements are cut off before the platform gives up."""
    set_json_dumps(lambda value: canonical(value).decode())
    return create_async_engine(
        url,
        pool_size=pool,
        max_overflow=0,
        pool_timeout=2 if door else 30,
        pool_pre_ping=False,
        connect_args={
            "application_name": name,
            "connect_timeout": CONNECT_SECONDS,
            "options": DOOR_OPTIONS if door else WORKER_OPTIONS,
            "prepare_threshold": 2,
            "keepalives_idle": 5,
        },
    )


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[WriteSession]:
    """One transaction, committed when the block ends well and rolled back otherwise."""
    async with AsyncSession(engine, expire_on_commit=False, autoflush=False) as session, session.begin():
        yield WriteSession(ReadSession(session))


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[ReadSession]:
    """A session that only reads; mypy refuses to hand it to a function that writes."""
    async with AsyncSession(engine, expire_on_commit=False, autoflush=False) as session:
        yield ReadSession(session)


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


class PowerfulRole(Exception):
    """A running process was given a role that could change the audit."""


def plain_url(url: str) -> str:
    """The URL as libpq reads it, without SQLAlchemy's driver name."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)
