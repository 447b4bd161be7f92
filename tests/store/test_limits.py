"""What limits count: so many in any stretch of time, once for each run, one after the other, and only by workers."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import text

from countersign.runs import RunStatus
from store.databases import reading, transaction
from store.limits import LATE, Limit, find_free, give_turn_back, take_turn, use
from store.runs import Move, create, move
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


async def turn(tables: Tables, one: Limit, run: UUID | None = None, call: UUID | None = None) -> int:
    """Minutes until a call's turn."""
    async with transaction(tables.worker) as session:
        return round(await take_turn(session, one, run=run or uuid4(), call=call or uuid4()) / 60)


async def move_clock_back(tables: Tables, one: Limit, seconds: float) -> None:
    async with transaction(tables.owner) as session:
        await session.execute(
            text("UPDATE limit_uses SET used_at = used_at - :by * interval '1 second' WHERE rule = :rule"),
            {"rule": one.rule, "by": seconds},
        )


async def test_calls_have_their_turns_in_the_order_in_which_they_asked(tables: Tables) -> None:
    two = limit()
    assert [await turn(tables, two) for _ in range(7)] == [0, 0, 60, 60, 120, 120, 180]
    one = limit(3)
    assert sorted(await asyncio.gather(*(turn(tables, one) for _ in range(10)))) == [0] * 3 + [60] * 3 + [120] * 3 + [180]


async def test_a_call_that_asks_again_has_the_same_turn_until_it_has_come(tables: Tables) -> None:
    one, run, call = limit(1), uuid4(), uuid4()
    await turn(tables, one)
    assert [await turn(tables, one, run, call) for _ in range(3)] == [60] * 3
    assert await turn(tables, one) == 120
    await move_clock_back(tables, one, 3_600)
    assert await turn(tables, one, run, call) == 0
    assert await turn(tables, one, run, call) == 120, "the next call with that name waits behind all others"


async def test_turns_that_nobody_took_are_over_and_those_given_back_are_free(tables: Tables) -> None:
    one, run, call = limit(1), uuid4(), uuid4()
    await turn(tables, one)
    await turn(tables, one, run, call)
    async with transaction(tables.worker) as session:
        await give_turn_back(session, one, run=run, call=call)
    assert await turn(tables, one, run, call) == 60
    assert await turn(tables, one) == 120
    await move_clock_back(tables, one, 3_600 + LATE + 5)
    assert await turn(tables, one, run, call) == 120, "it was not called then, so it waits behind the others"


async def test_runs_that_have_ended_give_their_turns_back(tables: Tables) -> None:
    one, ended = limit(1), tables.new()
    async with transaction(tables.worker) as session:
        await create(session, [ended])
    await turn(tables, one)
    assert [await turn(tables, one, ended.id) for _ in range(5)] == [60, 120, 180, 240, 300]
    async with transaction(tables.worker) as session:
        await move(session, [Move(ended.id, RunStatus.cancelled, by="ada")])
    assert await turn(tables, one) == 60
