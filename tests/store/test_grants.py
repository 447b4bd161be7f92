"""Grants in the tables: they begin at once, end at their instant, can be extended, ended and looked up, and leave a history."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg

from store.databases import plain_url, reading, transaction
from store.grants import (
    Grant,
    How,
    end,
    end_of_leavers,
    expire,
    extend,
    find_grant,
    find_grants,
    give,
    is_extended,
    mark_told,
    shorten,
    take_due,
)
from store.people import deactivate, find_person
from tests.store.tables import Tables

HOUR = timedelta(hours=1)


async def given(tables: Tables, length: timedelta | None = HOUR, *, subject: str = "ada") -> Grant:
    """A role of this test's own, given by a run that Lin has approved."""
    grant, run = uuid4(), await tables.run()
    async with transaction(tables.worker) as session:
        assert await give(session, grant=grant, subject=subject, role=f"r-{grant.hex[:8]}", length=length, run=run, approved_by=["lin"])
    return await seen(tables, grant)


async def seen(tables: Tables, grant: UUID | int) -> Grant:
    async with reading(tables.web) as session:
        found = await find_grant(session, grant)
    assert found is not None
    return found


async def holds(tables: Tables, grant: Grant) -> bool:
    async with reading(tables.web) as session:
        person = await find_person(session, grant.subject)
    return person is not None and grant.role in person.roles


async def shift(tables: Tables, length: str) -> None:
    await tables.execute("UPDATE clock SET shift = cast(:length AS interval)", length=length)


async def extended(tables: Tables, grant: Grant, *, extension: UUID | None = None, run: UUID | None = None) -> bool:
    assert grant.until is not None
    run, extension = run or await tables.run(), extension or uuid4()
    async with transaction(tables.worker) as session:
        return await extend(session, extension=extension, grant=grant.id, was=grant.until, length=HOUR, run=run, approved_by=["kim"])


async def due(tables: Tables, ours: Sequence[Grant]) -> list[tuple[UUID, bool]]:
    async with transaction(tables.worker) as session:
        return [(one.id, one.over) for one in await take_due(session, limit=1_000) if one.id in {grant.id for grant in ours}]


async def test_it_begins_when_it_is_given_and_tells_everything_about_itself(tables: Tables) -> None:
    one = await given(tables)
    assert one.until is not None
    assert one.until - one.granted_at == HOUR
    assert one.remaining is not None
    assert timedelta(minutes=59) < one.remaining <= HOUR
    assert (one.live, one.over, one.asker, one.approved_by, one.extensions) == (True, False, "ada", ("lin",), ())
    assert one.name == f"G{one.number}"
    assert (await seen(tables, one.number)).id == one.id
    async with reading(tables.web) as session:
        assert await find_grant(session, uuid4()) is None
        assert [found.id for found in await find_grants(session, subject="ada", role=one.role)] == [one.id]
        assert await find_grants(session, subject="kim", role=one.role) == []


async def test_it_is_held_until_its_instant_and_not_one_moment_longer(tables: Tables) -> None:
    one = await given(tables)
    await shift(tables, "59 minutes 50 seconds")
    assert await holds(tables, one)
    await shift(tables, "60 minutes")
    assert not await holds(tables, one)
    assert (await seen(tables, one.id)).over
    async with transaction(tables.worker) as session:
        await expire(session, [one.id])
    after = await seen(tables, one.id)
    assert (after.ended_at, after.ended_by, after.ended_how, after.over) == (one.until, "countersign", "expired", False)
    await shift(tables, "0")
    assert not await holds(tables, one), "a clock that is put back does not bring it back"


async def test_what_is_due_is_the_word_and_then_the_end(tables: Tables) -> None:
    long, short, endless = await given(tables), await given(tables, timedelta(minutes=10)), await given(tables, None)
    ours = [long, short, endless]
    await shift(tables, "9 minutes")
    assert await due(tables, ours) == []
    await shift(tables, "10 minutes")
    assert await due(tables, ours) == [(short.id, True)]
    await shift(tables, "50 minutes")
    assert sorted(await due(tables, ours)) == sorted([(short.id, True), (long.id, False)])
    async with transaction(tables.worker) as session:
        await mark_told(session, [long.id])
        await expire(session, [short.id])
    assert await due(tables, ours) == []
    await shift(tables, "60 minutes")
    assert await due(tables, ours) == [(long.id, True)]


async def test_two_housekeepers_do_not_take_the_same(tables: Tables) -> None:
    ours = [await given(tables, timedelta(minutes=1)) for _ in range(4)]
    await shift(tables, "2 minutes")

    async def take() -> list[UUID]:
        async with transaction(tables.worker) as session:
            found = [one.id for one in await take_due(session, limit=1_000)]
            await expire(session, found)
            return [one for one in found if one in {grant.id for grant in ours}]

    taken = await asyncio.gather(take(), take(), take())
    assert sorted(one for part in taken for one in part) == sorted(one.id for one in ours)


async def test_an_extension_moves_exactly_the_end_that_was_seen(tables: Tables) -> None:
    one, extension, run = await given(tables), uuid4(), await tables.run()
    assert await extended(tables, one, extension=extension, run=run)
    assert not await extended(tables, one), "its end is another one by now"
    assert not await extended(tables, await seen(tables, one.id), extension=extension), "the same extension twice"
    longer = await seen(tables, one.id)
    assert one.until is not None
    assert longer.until == one.until + HOUR
    assert [names for _, names in longer.extensions] == [("kim",)]
    await shift(tables, "61 minutes")
    assert await holds(tables, one)
    await shift(tables, "110 minutes")
    assert await due(tables, [one]) == [(one.id, False)], "told again before the new end"
    async with transaction(tables.worker) as session:
        assert await is_extended(session, extension)
        assert await shorten(session, run) == [one.id]
        assert await shorten(session, run) == []
    assert not await holds(tables, one)
    assert not await extended(tables, await seen(tables, one.id)), "what is over cannot be extended"


async def test_an_end_before_its_time_is_final(tables: Tables) -> None:
    revoked, returned, over = await given(tables), await given(tables), await given(tables, timedelta(minutes=1))
    await shift(tables, "2 minutes")
    async with transaction(tables.worker) as session:
        assert await end(session, [revoked.id, over.id], by="max", how=How.revoked) == [revoked.id]
        assert await end(session, [returned.id], by="ada", how=How.returned) == [returned.id]
        assert await end(session, [returned.id], by="max", how=How.revoked) == []
    assert [(await seen(tables, one.id)).ended_how for one in (revoked, returned)] == ["revoked", "returned"]
    assert not await extended(tables, revoked)
    assert not await holds(tables, revoked)


async def test_who_leaves_loses_it_for_good(tables: Tables) -> None:
    one, other = await given(tables, subject="eve"), await given(tables, subject="kim")
    async with transaction(tables.worker) as session:
        await deactivate(session, "eve")
        assert [grant.id for grant in await end_of_leavers(session) if grant.id in (one.id, other.id)] == [one.id]
        assert await end_of_leavers(session) == []
    await tables.execute("UPDATE people SET active = true WHERE name = 'eve'")
    assert not await holds(tables, one)
    assert await holds(tables, other)
    assert (await seen(tables, one.id)).ended_how == "left"


async def test_history_stays_and_is_found_newest_first(tables: Tables) -> None:
    ours = [await given(tables, subject="kim") for _ in range(3)]
    async with transaction(tables.worker) as session:
        await end(session, [ours[0].id], by="kim", how=How.returned)
    async with reading(tables.web) as session:
        live = [one.id for one in await find_grants(session, subject="kim") if one in ours or one.id in {own.id for own in ours}]
        every = [one.id for one in await find_grants(session, subject="kim", ended=True) if one.id in {own.id for own in ours}]
    assert live == [ours[2].id, ours[1].id]
    assert every == [one.id for one in reversed(ours)]


async def test_housekeeping_that_finds_nothing_to_do_announces_nothing(tables: Tables) -> None:
    """Doors forget everybody whenever people, groups or grants are said to have changed."""
    await given(tables)
    heard: list[str] = []
    async with await psycopg.AsyncConnection.connect(
        plain_url(tables.owner.url.render_as_string(hide_password=False)), autocommit=True
    ) as ear:
        await ear.execute("LISTEN countersign_people")
        async with transaction(tables.worker) as session:
            await end_of_leavers(session)
            await take_due(session, limit=10)
            await expire(session, [])
            await mark_told(session, [])
        heard += [one.payload async for one in ear.notifies(timeout=0.1)]
    assert heard == []
