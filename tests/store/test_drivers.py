"""Statements in text go straight to the driver, and whoever writes or reads notices nothing but that it takes less."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from store.databases import ReadSession, Trouble, driver_of, open_engine, reading, sever, transaction, trouble_of
from store.drivers import Session
from store.embedded import DatabaseUrls
from store.people import PersonRow
from tests.hubs import until
from tests.store.tables import Tables

Lose = Callable[[ReadSession, Tables], Awaitable[None]]
_ADD = text("INSERT INTO people (name, manager) VALUES (:name, :name)")


@pytest.fixture
async def one(shared_database: DatabaseUrls) -> AsyncIterator[AsyncEngine]:
    """An engine with one connection, so that whoever comes next gets what the one before has left."""
    engine = open_engine(shared_database.worker, name="drivers", pool=1, door=False)
    yield engine
    await engine.dispose()


async def test_rows_have_their_names_and_types(one: AsyncEngine) -> None:
    asked = text("SELECT n, n > 1 AS much, cast('{\"a\": [1]}' AS jsonb) AS said FROM unnest(cast(:these AS int[])) AS n WHERE n <> :not")
    async with reading(one) as session:
        rows = (await session.execute(asked, {"these": [1, 2, 3], "not": 3})).all()
        assert [(row.n, row.much, row.said) for row in rows] == [(1, False, {"a": [1]}), (2, True, {"a": [1]})]
        first, second = (await session.execute(asked, {"these": [1, 2], "not": 0})).mappings().all()
        assert dict(first) == {"n": 1, "much": False, "said": {"a": [1]}}
        assert second["n"] == 2
        assert (await session.execute(asked, {"these": [7], "not": 0})).scalars().all() == [7]
        assert (await session.execute(asked, {"these": [], "not": 0})).first() is None


async def test_texts_and_mapped_rows_share_a_transaction(tables: Tables) -> None:
    async with transaction(tables.owner) as session:
        await session.execute(_ADD, {"name": "nina"})
        assert (await session.scalars(select(PersonRow.manager).where(PersonRow.name == "nina"))).all() == ["nina"]
        await session.rollback()
    async with reading(tables.owner) as session:
        assert (await session.execute(text("SELECT count(*) FROM people WHERE name = 'nina'"))).scalar_one() == 0


async def test_what_failed_within_a_savepoint_does_not_take_the_rest_along(tables: Tables) -> None:
    async with transaction(tables.owner) as session:
        await session.execute(_ADD, {"name": "olga"})
        with pytest.raises(IntegrityError) as refused:
            async with session.begin_nested():
                await session.execute(_ADD, {"name": "olga"})
        assert getattr(refused.value.orig, "sqlstate", None) == "23505"
    async with transaction(tables.owner) as session:
        assert (await session.execute(text("DELETE FROM people WHERE name = 'olga' RETURNING 1"))).all() == [(1,)]


async def _severed(session: ReadSession, _: Tables) -> None:
    sever(await driver_of(await session.connection()))


async def _ended_by_the_server(session: ReadSession, tables: Tables) -> None:
    own = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
    async with reading(tables.worker) as other:
        await other.execute(text("SELECT pg_terminate_backend(:own, 10000)"), {"own": own})


@pytest.mark.parametrize("lose", [_severed, _ended_by_the_server])
async def test_a_lost_connection_is_trouble_once_and_the_next_is_a_new_one(one: AsyncEngine, tables: Tables, lose: Lose) -> None:
    async with reading(one) as session:
        await lose(session, tables)
        with pytest.raises(DBAPIError) as lost:
            await session.execute(text("SELECT 1"))
    assert trouble_of(lost.value) is Trouble.lost
    async with reading(one) as session:
        assert (await session.execute(text("SELECT 1"))).scalar_one() == 1


async def test_who_is_cancelled_leaves_nothing_under_way(one: AsyncEngine, tables: Tables) -> None:
    own, before = text("SELECT pg_backend_pid()"), list[int]()

    async def sleep() -> None:
        async with transaction(one) as session:
            before.append((await session.execute(own)).scalar_one())
            await session.execute(text("SELECT pg_sleep(600) AS drivers_sleep"))

    sleeping = asyncio.create_task(sleep())
    asleep = text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%drivers_sleep' AND state = 'active'")

    async def found() -> int:
        async with reading(tables.worker) as session:
            return int((await session.execute(asleep)).scalar_one())

    await until(found)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    assert await found() == 0
    async with reading(one) as session:
        assert (await session.execute(own)).scalar_one() not in before, "whether that one still works at it was open"


async def test_a_session_that_goes_on_after_its_commit_is_on_the_connection_that_it_has_then(tables: Tables) -> None:
    own = text("SELECT pg_backend_pid()")
    async with Session(tables.owner) as session:
        first = (await session.execute(own)).scalar_one()
        await session.commit()
        async with transaction(tables.owner) as other:
            assert (await other.execute(own)).scalar_one() == first
            assert (await session.scalars(select(PersonRow).limit(0))).all() == []
            assert (await session.execute(own)).scalar_one() != first


async def test_a_percent_sign_is_one_with_values_and_without(one: AsyncEngine) -> None:
    async with reading(one) as session:
        assert (await session.execute(text("SELECT 7 % 4, '%' || length('%%')"))).one() == (3, "%2")
        assert (await session.execute(text("SELECT 7 % :n, '%' || length('%%')"), {"n": 4})).one() == (3, "%2")
