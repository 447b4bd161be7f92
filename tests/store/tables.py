"""Engines of the three roles on the shared database, and runs to work with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from countersign.runs import RunStatus
from store.claims import Claim, claim
from store.databases import open_engine, reading, transaction
from store.embedded import DatabaseUrls
from store.people import save_people
from store.runs import Move, NewRun, RunRow, create, find_run, move


@dataclass
class Tables:
    """What each role of the database may do, on rows of this test's own."""

    web: AsyncEngine
    worker: AsyncEngine
    owner: AsyncEngine

    def new(self, **more: Any) -> NewRun:
        fields: dict[str, Any] = {
            "key": str(uuid4()),
            "command": "deploy",
            "code_version": "c1",
            "risk": 2,
            "visibility": "staff",
            "asker": "ada",
            "door": "api",
            "place": {"platform": "api"},
            "arguments": {"service": "api"},
            "origins": {"service": "typed"},
            "policy": "p",
        }
        return NewRun(**fields | more)

    async def run(self, *then: RunStatus, **more: Any) -> UUID:
        """A run moved along these statuses by nobody in particular."""
        one = self.new(**more)
        async with transaction(self.web) as session:
            await create(session, [one])
        for status in then:
            assert await self.moved(Move(one.id, status, by="test"))
        return one.id

    async def moved(self, *moves: Move) -> set[UUID]:
        async with transaction(self.worker) as session:
            return set(await move(session, moves))

    async def claimed(self, *runs: UUID, worker: str = "w1", lease: float = 60, versions: tuple[str, ...] = ("c1",)) -> list[Claim]:
        async with transaction(self.worker) as session:
            return await claim(session, runs, statuses=list(RunStatus), worker=worker, lease=lease, versions=versions)

    async def row(self, run: UUID) -> RunRow:
        async with reading(self.web) as session:
            found = await find_run(session, run)
        assert found is not None
        return found

    async def may(self, role: str, sql: str) -> bool:
        """Whether the role may do this; whatever it did is taken back."""
        engine: AsyncEngine = getattr(self, role)
        async with engine.connect() as connection:
            try:
                await connection.execute(text(sql))
            except DBAPIError as error:
                if "permission denied" not in str(error) and "must be owner" not in str(error):
                    raise
                return False
            finally:
                await connection.rollback()
        return True

    async def execute(self, sql: str, **values: Any) -> list[Any]:
        """As the owner; returns the rows."""
        async with transaction(self.owner) as session:
            result: Any = await session.execute(text(sql), values)
            return list(result.all())


@asynccontextmanager
async def open_tables(urls: DatabaseUrls) -> AsyncIterator[Tables]:
    """The tables with the cast in them."""
    tables = Tables(*(open_engine(url, name="tables", pool=12, door=False) for url in (urls.web, urls.worker, urls.owner)))
    try:
        async with transaction(tables.owner) as session:
            await save_people(session, {name: {"email": f"{name}@example.test"} for name in ("ada", "lin", "kim", "max", "eve")})
            await session.execute(text("UPDATE people SET active = true"))
            await session.execute(text("UPDATE clock SET shift = '0'"))
        yield tables
    finally:
        for engine in (tables.web, tables.worker, tables.owner):
            await engine.dispose()
