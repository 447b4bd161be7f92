"""Messages: one row is one place, kept current by editing, and nothing that was not delivered is dropped."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

from countersign.runs import RunStatus
from store.databases import reading, transaction
from store.deliveries import Delivered, mark_delivered, put_off, take_due
from store.messages import NewMessage, Priority, add_messages, find_in_place, tell_run, telling
from store.runs import Move
from tests.store.tables import Tables


async def added(tables: Tables, *messages: NewMessage) -> None:
    async with transaction(tables.worker) as session:
        await add_messages(session, messages)


async def taken(tables: Tables, channel: str, *, at_once: bool = True) -> list[Any]:
    """What is taken of this channel; its lane and everybody's is made free first, unless the test is about that."""
    if at_once:
        await tables.execute("DELETE FROM lanes")
    async with transaction(tables.worker) as session:
        return [one for one in await take_due(session, limit=1_000) if one.channel == channel]


async def delivered(tables: Tables, *messages: Delivered) -> None:
    async with transaction(tables.worker) as session:
        await mark_delivered(session, messages)


def shown(taken: Any) -> Delivered:
    return Delivered(taken.id, taken.wanted, {"title": "t"}, "C1", "17.1", first=not taken.shown, due=taken.due_at)


async def progressed(tables: Tables, run: UUID) -> None:
    await tables.execute(f"UPDATE messages m SET {telling(Priority.progress, soon=False)} WHERE run_id = :run", run=run)  # noqa: S608  of our own


async def row(tables: Tables, message: UUID) -> Any:
    (found,) = await tables.execute("SELECT *, due_at > countersign_now() AS later FROM messages WHERE id = :id", id=message)
    return found


def card(run: UUID | None, channel: str, **more: Any) -> NewMessage:
    return NewMessage(run, "card", "slack", "T1", channel, **more)


async def test_a_run_is_shown_once_in_a_place(tables: Tables) -> None:
    run, channel = await tables.run(), uuid4().hex
    await added(tables, card(run, channel), card(run, channel))
    await added(tables, card(run, channel), *(NewMessage(run, "reply", "slack", "T1", channel) for _ in range(2)))
    kinds = [one.kind for one in await taken(tables, channel) + await taken(tables, channel)]
    assert sorted(kinds) == ["card", "reply", "reply"]


async def test_a_message_is_taken_by_one_and_comes_back_after_its_lease(tables: Tables) -> None:
    channel = uuid4().hex
    await added(tables, *[NewMessage(await tables.run(), "card", "room", "", channel) for _ in range(6)])
    found = await asyncio.gather(*(taken(tables, channel, at_once=False) for _ in range(4)))
    assert len([one for some in found for one in some]) == 6
    await tables.execute("UPDATE clock SET shift = '31 seconds'")
    assert {one.attempts for one in await taken(tables, channel)} == {2}


async def test_what_moved_meanwhile_is_due_again_and_other_edits_are_one(tables: Tables) -> None:
    run, channel = await tables.run(), uuid4().hex
    await added(tables, card(run, channel))
    (one,) = await taken(tables, channel)
    await tables.moved(Move(run, RunStatus.planning, by="x"))
    await tables.moved(Move(run, RunStatus.failed, by="x"))
    await delivered(tables, shown(one))
    found = await row(tables, one.id)
    assert (found.shown, found.wanted, found.remote_id, found.attempts) == (1, 3, "17.1", 0)
    assert found.due_at is not None
    (again,) = await taken(tables, channel)
    await delivered(tables, Delivered(again.id, again.wanted, {"title": "u"}))
    found = await row(tables, one.id)
    assert (found.shown, found.due_at, found.remote_channel, found.remote_id) == (3, None, "C1", "17.1")


async def test_what_people_decide_is_told_at_once_and_progress_with_the_next_edit(tables: Tables) -> None:
    run, channel = await tables.run(RunStatus.planning, RunStatus.awaiting_approval), uuid4().hex
    await added(tables, card(run, channel))
    (one,) = await taken(tables, channel)
    await delivered(tables, shown(one))
    await progressed(tables, run)
    found = await row(tables, one.id)
    assert (found.later, found.priority) == (True, Priority.progress)
    async with transaction(tables.web) as session:
        await tell_run(session, run)
    await tables.moved(Move(run, RunStatus.queued, by="lin"))
    await tables.moved(Move(run, RunStatus.running, by="x"))
    await progressed(tables, run)
    found = await row(tables, one.id)
    assert (found.later, found.priority) == (False, Priority.card), "what comes after a decision does not hold it up"


async def test_what_comes_while_an_edit_is_on_its_way_keeps_its_own_pace(tables: Tables) -> None:
    run, channel = await tables.run(), uuid4().hex
    await added(tables, card(run, channel, priority=Priority.approval))
    (one,) = await taken(tables, channel)
    await progressed(tables, run)
    await delivered(tables, shown(one))
    found = await row(tables, one.id)
    assert (found.later, found.priority) == (True, Priority.progress)
    await tables.execute("UPDATE clock SET shift = '3 seconds'")
    (again,) = await taken(tables, channel)
    await tables.moved(Move(run, RunStatus.cancelled, by="ada"))
    await delivered(tables, shown(again))
    found = await row(tables, one.id)
    assert (found.later, found.priority) == (False, Priority.card)


async def test_a_reply_is_shown_once_whatever_its_run_does(tables: Tables) -> None:
    run, channel = await tables.run(), uuid4().hex
    await added(tables, NewMessage(run, "reply", "slack", "T1", channel, person="ada", card={"text": "x"}))
    (one,) = await taken(tables, channel)
    await delivered(tables, Delivered(one.id, one.wanted, {"text": "x"}))
    await tables.moved(Move(run, RunStatus.planning, by="x"))
    assert await taken(tables, channel) == []


async def test_what_cannot_be_delivered_is_kept(tables: Tables) -> None:
    run, channel = await tables.run(), uuid4().hex
    await added(tables, card(run, channel))
    (one,) = await taken(tables, channel)
    async with transaction(tables.worker) as session:
        await put_off(session, one.id, seconds=30, error="busy", unclear=True)
    found = await row(tables, one.id)
    assert (found.posting_since is not None, found.later, found.error) == (True, True, "busy")
    async with transaction(tables.worker) as session:
        await put_off(session, one.id, seconds=0, error="no such channel", unclear=False, dead=True)
    assert await taken(tables, channel) == []
    found = await row(tables, one.id)
    assert (found.posting_since, found.error, found.dead_at is not None) == (None, "no such channel", True)
    (noted,) = await tables.execute("SELECT canonical FROM audit_events WHERE canonical LIKE :id", id=f"%{one.id}%")
    assert json.loads(noted.canonical)["kind"] == "message:undeliverable"


async def test_a_room_shows_what_is_shown_and_what_is_for_oneself(tables: Tables) -> None:
    run, channel = await tables.run(), uuid4().hex
    mine = NewMessage(run, "reply", "room", "", channel, person="ada", card={"text": "mine"})
    theirs = NewMessage(run, "reply", "room", "", channel, person="lin", card={"text": "theirs"})
    unshown = NewMessage(await tables.run(), "card", "room", "", channel, card={"title": "not yet"})
    everybodys = NewMessage(run, "card", "room", "", channel)
    await added(tables, mine, theirs, unshown, everybodys)
    await delivered(tables, *(Delivered(one.id, 1, one.card or {"title": "all"}) for one in (mine, theirs, everybodys)))
    async with reading(tables.web) as session:
        found = await find_in_place(session, platform="room", channel=channel, person="ada", limit=50)
    assert sorted(one.card.get("text") or one.card["title"] for one in found) == ["all", "mine"]
