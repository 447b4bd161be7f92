"""Connections are handed on from one test to the next, and no further than that."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from kit.servers import Servers
from store.databases import open_engine, reading
from store.embedded import DatabaseUrls
from tests.engines import Kept
from tests.hubs import disposing


def opened(urls: DatabaseUrls, *, name: str = "ada") -> AsyncEngine:
    return open_engine(urls.web, name=name, pool=2, door=True)


async def process(engine: AsyncEngine) -> int:
    """Which process of Postgres answers; the engine is disposed of afterwards."""
    async with disposing(engine), reading(engine) as session:
        return int((await session.execute(text("SELECT pg_backend_pid()"))).scalar_one())


async def test_the_next_one_alike_goes_on_with_the_connection(servers: Servers, shared_database: DatabaseUrls) -> None:
    first = await process(opened(shared_database))
    assert await process(opened(shared_database)) == first
    assert await process(opened(shared_database, name="lin")) != first
    both = opened(shared_database), opened(shared_database)
    assert both[0] is not both[1]
    assert len({await process(one) for one in both}) == 2
    elsewhere = servers.fresh_database()
    assert await process(opened(elsewhere)) != await process(opened(elsewhere))


async def test_another_event_loop_has_its_own(shared_database: DatabaseUrls) -> None:
    async def alone() -> int:
        return await process(opened(shared_database, name="kim"))

    with ThreadPoolExecutor(1) as pool:
        others = [pool.submit(asyncio.run, alone()).result() for _ in range(2)]
    assert len({*others, await alone()}) == 3


async def test_what_somebody_still_has_is_not_handed_on(shared_database: DatabaseUrls) -> None:
    engine = opened(shared_database, name="eve")
    async with engine.connect() as connection:
        first = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        await engine.dispose()
        assert await process(opened(shared_database, name="eve")) != first
        await connection.invalidate()


async def test_at_the_end_none_is_left(servers: Servers) -> None:
    urls = servers.fresh_database()
    async with aclosing(Kept(urls)) as kept:
        await process(opened(urls))
        assert kept.idle == 1
    async with disposing(opened(urls)) as engine, reading(engine) as session:
        left = await session.execute(text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"))
        assert left.scalar_one() == 1
