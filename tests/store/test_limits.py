"""What limits count: so many in any stretch of time, once for each run, one after the other, and only by workers."""

import asyncio
from datetime import timedelta
from uuid import uuid4

from sqlalchemy import text

from store.databases import reading, transaction
from store.limits import Limit, find_free, use
from tests.store.tables import Tables


def limit(count: int = 2, per: timedelta = timedelta(hours=1)) -> Limit:
    """One of this test's own."""
    return Limit(f"rule-{uuid4()}", "deploy ada", count, per)


async def test_there_is_room_until_so_many_have_been_counted(tables: Tables) -> None:
    two = limit()
    async with transaction(tables.worker) as session:
        assert await use(session, two, uuid4()) is None
        assert await find_free(session, two) is None
        assert await use(session, two, uuid4()) is None
        free = await use(session, two, uuid4())
        now = (await session.execute(text("SELECT countersign_now()"))).scalar_one()
        assert free is not None
        assert timedelta(minutes=59) < free - now <= timedelta(hours=1)
    async with reading(tables.web) as session:
        assert await find_free(session, two) == free
        assert await find_free(session, Limit(two.rule, "deploy lin", 2, two.per)) is None
        assert await find_free(session, Limit(two.rule, two.subject, 3, two.per)) is None


async def test_a_run_counts_once_however_often_it_is_planned(tables: Tables) -> None:
    one, run = limit(1), uuid4()
    for _ in range(3):
        async with transaction(tables.worker) as session:
            assert await use(session, one, run) is None
            assert await use(session, one, uuid4()) is not None


async def test_what_is_older_than_the_stretch_does_not_count_and_is_forgotten(tables: Tables) -> None:
    one = limit(1)
    async with transaction(tables.worker) as session:
        await use(session, one, uuid4())
    async with transaction(tables.owner) as session:
        await session.execute(
            text("UPDATE limit_uses SET used_at = used_at - interval '61 minutes' WHERE rule = :rule"), {"rule": one.rule}
        )
    async with transaction(tables.worker) as session:
        assert await find_free(session, one) is None
        assert await use(session, one, uuid4()) is None
        rows = (await session.execute(text("SELECT count(*) FROM limit_uses WHERE rule = :rule"), {"rule": one.rule})).scalar_one()
        assert rows == 1


async def test_many_at_the_same_instant_take_no_more_than_there_is(tables: Tables) -> None:
    three = limit(3)

    async def ask() -> bool:
        async with transaction(tables.worker) as session:
            return await use(session, three, uuid4()) is None

    assert sum(await asyncio.gather(*(ask() for _ in range(12)))) == 3


async def test_the_web_neither_uses_up_nor_frees_a_limit(tables: Tables) -> None:
    assert await tables.may("web", "SELECT FROM limit_uses")
    assert not await tables.may("web", "INSERT INTO limit_uses (rule, subject, run_id) VALUES ('r', 's', gen_random_uuid())")
    assert not await tables.may("web", "DELETE FROM limit_uses")
    assert not await tables.may("worker", "UPDATE limit_uses SET used_at = now()")
