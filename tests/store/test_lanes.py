"""Lanes: one message at a time in a place and a second between them, budgets for what a platform counts, shared by every sender."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

from store.databases import reading, transaction
from store.deliveries import Delivered, mark_delivered, next_due, put_off, take_due
from store.lanes import enter_lane, hold_lane, keep_budgets, lane_of
from store.messages import NewMessage, Priority, add_messages
from tests.store.tables import Tables


async def added(tables: Tables, channel: str, *priorities: Priority, person: str = "", platform: str = "slack") -> list[UUID]:
    found = []
    for one in priorities:
        kind = "direct" if person else "card"
        message = NewMessage(await tables.run(), kind, platform, "T1", channel, person=person, priority=one)
        async with transaction(tables.worker) as session:
            await add_messages(session, [message])
        found.append(message.id)
    return found


async def take(tables: Tables, *ours: UUID) -> list[Any]:
    async with transaction(tables.worker) as session:
        return [one for one in await take_due(session, limit=1_000) if one.id in ours]


async def delivered(tables: Tables, one: Any, channel: str | None = None) -> None:
    async with transaction(tables.worker) as session:
        await mark_delivered(session, [Delivered(one.id, one.wanted, {}, channel, str(one.id), first=True)])


async def later(tables: Tables, seconds: float) -> None:
    await tables.execute("UPDATE clock SET shift = shift + cast(:by AS interval)", by=f"{seconds} seconds")


async def test_what_is_more_urgent_goes_first_and_one_at_a_time(tables: Tables) -> None:
    channel = uuid4().hex
    storm = await added(tables, channel, *[Priority.alert] * 3, Priority.progress)
    (approval,) = await added(tables, channel, Priority.approval)
    ours = (*storm, approval)
    (first,) = await take(tables, *ours)
    assert first.id == approval
    await later(tables, 2)
    assert await take(tables, *ours) == [], "the place is the approval's until it has been written"
    await delivered(tables, first)
    assert await take(tables, *ours) == [], "and for a second afterwards"
    await later(tables, 1.1)
    order = []
    for _ in storm:
        (one,) = await take(tables, *ours)
        order.append(one.id)
        await delivered(tables, one)
        await later(tables, 1.1)
    assert order == storm


async def test_however_many_take_at_once_a_place_is_given_to_one(tables: Tables) -> None:
    channels = [uuid4().hex for _ in range(8)]
    ours = [one for channel in channels for one in await added(tables, channel, *[Priority.card] * 3)]
    for _ in range(3):
        found = [one for some in await asyncio.gather(*(take(tables, *ours) for _ in range(6))) for one in some]
        assert sorted(one.channel for one in found) == sorted(channels)
        for one in found:
            await delivered(tables, one)
        await later(tables, 1.1)


async def test_who_takes_a_place_and_dies_gives_it_back_with_the_message(tables: Tables) -> None:
    ours = await added(tables, uuid4().hex, Priority.card, Priority.card)
    (first,) = await take(tables, *ours)
    await later(tables, 31)
    (again,) = await take(tables, *ours)
    assert (again.id, again.attempts) == (first.id, 2)
    assert again.posting_since is not None, "whoever takes it again looks for it first"


async def test_a_closed_place_stays_closed_and_hurts_no_other(tables: Tables) -> None:
    closed, open_ = uuid4().hex, uuid4().hex
    ours = await added(tables, closed, Priority.approval) + await added(tables, open_, Priority.progress)
    async with transaction(tables.worker) as session:
        await hold_lane(session, lane_of("slack", closed), seconds=30)
    (one,) = await take(tables, *ours)
    assert one.channel == open_
    await delivered(tables, one)
    await later(tables, 31)
    (one,) = await take(tables, *ours)
    assert one.channel == closed


async def test_a_place_that_turns_out_to_be_another_is_entered_too(tables: Tables) -> None:
    """A direct message has its person's lane until it is known which channel that is, where somebody else may be writing."""
    place, person = f"D{uuid4().hex}", uuid4().hex
    ours = await added(tables, place, Priority.card) + await added(tables, "", Priority.approval, person=person)
    direct, busy = sorted(await take(tables, *ours), key=lambda one: one.channel)
    async with transaction(tables.worker) as session:
        assert await enter_lane(session, lane_of("slack", f"{place}, which nobody uses"), direct.id) == 0
        assert 1 <= await enter_lane(session, lane_of("slack", place), direct.id) < 1.1
        await put_off(session, direct.id, seconds=0, error="in use", unclear=False, channel=place)
    await delivered(tables, busy)
    assert await take(tables, *ours) == []
    await later(tables, 1.1)
    (again,) = await take(tables, *ours)
    assert (again.id, again.lane, again.posting_since) == (direct.id, lane_of("slack", place), None)


async def test_a_budget_lets_so_many_through_and_then_one_after_the_other(tables: Tables) -> None:
    platform = f"chat{uuid4().hex[:8]}"
    async with transaction(tables.worker) as session:
        await keep_budgets(session, {f"{platform}:post": (2.0, 3)})
    ours = [one for _ in range(6) for one in await added(tables, uuid4().hex, Priority.card, platform=platform)]
    first = await take(tables, *ours)
    assert len(first) == 3
    assert await take(tables, *ours) == []
    async with reading(tables.worker) as session:
        seconds = await next_due(session)
    assert seconds is not None
    assert seconds <= 2
    await later(tables, 2.1)
    first += await take(tables, *ours)
    assert len(first) == 4
    for one in first:
        await delivered(tables, one)
    async with transaction(tables.worker) as session:
        await hold_lane(session, f"{platform}:post", seconds=60)
    await later(tables, 30)
    assert await take(tables, *ours) == []
    await later(tables, 33)
    assert len(await take(tables, *ours)) == 1


async def test_the_web_may_look_at_lanes_and_change_none(tables: Tables) -> None:
    assert await tables.may("web", "SELECT lane FROM lanes")
    assert not await tables.may("web", "UPDATE lanes SET free_at = 'infinity'")
    assert not await tables.may("web", "INSERT INTO lanes (lane, free_at) VALUES ('slack C1', 'infinity')")
