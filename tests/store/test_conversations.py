"""What is said about a run: kept for good, in order, and shown once in each place, never before the card it stands beneath."""

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from countersign.runs import RunStatus
from store.conversations import NewLine, count_lines, find_lines, find_question, find_unanswered, say
from store.databases import reading, transaction
from store.deliveries import Delivered, mark_delivered, next_due, put_off, take_due
from store.messages import NewMessage, add_messages, find_in_place
from store.targets import find_earlier
from tests.store.tables import Tables


async def said(tables: Tables, run: UUID, *words: str) -> None:
    for one in words:
        async with transaction(tables.web) as session:
            await say(session, NewLine(run, "comment", "lin", f"says: {one}"))


async def shown(tables: Tables, run: UUID, channel: str, *, platform: str = "slack", person: str = "", kind: str = "card") -> UUID:
    """A card that was added and not delivered yet."""
    one = NewMessage(run, kind, platform, "T1", channel, person=person)
    async with transaction(tables.worker) as session:
        await add_messages(session, [one])
    return one.id


async def taken(tables: Tables, run: UUID) -> list[Any]:
    await tables.execute("DELETE FROM lanes")  # the pace is none of these tests'
    async with transaction(tables.worker) as session:
        return [one for one in await take_due(session, limit=1_000) if one.run_id == run]


async def delivered(tables: Tables, *taken_ones: Any) -> None:
    async with transaction(tables.worker) as session:
        done = [
            Delivered(one.id, one.wanted, one.card or {}, one.card_channel or f"C{one.id}", str(one.id)[:8], first=not one.shown)
            for one in taken_ones
        ]
        await mark_delivered(session, done)


def words(taken_ones: list[Any]) -> list[str]:
    return [one.card["text"] for one in taken_ones if one.follows]


async def test_lines_come_after_their_card_one_after_the_other(tables: Tables) -> None:
    run, channel = await tables.run(), uuid4().hex
    card = await shown(tables, run, channel)
    await said(tables, run, "one", "two")
    (first,) = await taken(tables, run)
    assert (first.id, first.follows) == (card, None), "the card goes first"
    assert await taken(tables, run) == []
    await delivered(tables, first)
    (line,) = await taken(tables, run)
    assert (words([line]), line.card_channel, line.card_thread) == (["lin says: one"], f"C{card}", str(card)[:8])
    assert await taken(tables, run) == [], "the second waits for the first"
    await delivered(tables, line)
    assert words(await taken(tables, run)) == ["lin says: two"]


async def test_what_waits_for_its_card_wakes_nobody(tables: Tables) -> None:
    await tables.execute("UPDATE messages SET due_at = NULL")
    run = await tables.run()
    await shown(tables, run, uuid4().hex)
    await said(tables, run, "one")
    await tables.execute(
        "UPDATE messages SET due_at = countersign_now() + interval '1 hour' WHERE run_id = :run AND follows IS NULL", run=run
    )
    async with reading(tables.worker) as session:
        seconds = await next_due(session)
    assert seconds is not None
    assert seconds > 3_000


async def test_a_line_that_cannot_be_delivered_holds_up_no_other(tables: Tables) -> None:
    run = await tables.run()
    await shown(tables, run, uuid4().hex)
    await delivered(tables, *await taken(tables, run))
    await said(tables, run, "one", "two")
    (line,) = await taken(tables, run)
    async with transaction(tables.worker) as session:
        await put_off(session, line.id, seconds=0, error="no", unclear=False, dead=True)
    assert words(await taken(tables, run)) == ["lin says: two"]


async def test_a_card_that_comes_later_has_what_was_said_before(tables: Tables) -> None:
    run, channel = await tables.run(), uuid4().hex
    await shown(tables, run, channel)
    await delivered(tables, *await taken(tables, run))
    await said(tables, run, "one")
    await delivered(tables, *await taken(tables, run))
    await shown(tables, run, "", person="kim", kind="direct")
    await delivered(tables, *await taken(tables, run))
    (line,) = await taken(tables, run)
    assert (line.person, words([line])) == ("kim", ["lin says: one"])
    await delivered(tables, line)
    assert await taken(tables, run) == []


async def test_a_second_card_in_the_same_place_repeats_nothing(tables: Tables) -> None:
    run = await tables.run()
    await shown(tables, run, "", person="kim", kind="direct")
    await delivered(tables, *await taken(tables, run))
    await said(tables, run, "one")
    await delivered(tables, *await taken(tables, run))
    second = await shown(tables, run, "", person="kim", kind="direct:2")
    await delivered(tables, *await taken(tables, run))
    assert await taken(tables, run) == []
    await said(tables, run, "two")
    (line,) = await taken(tables, run)
    assert (line.follows, words([line])) == (second, ["lin says: two"])


async def test_beneath_a_shared_card_of_a_private_run_stands_nothing(tables: Tables) -> None:
    run = await tables.run(visibility="private")
    await shown(tables, run, uuid4().hex)
    await shown(tables, run, "", person="kim", kind="direct")
    await said(tables, run, "one")
    await delivered(tables, *await taken(tables, run))
    await said(tables, run, "two")
    found = [one for one in await taken(tables, run) if one.follows]
    assert {one.person for one in found} == {"kim"}


async def test_the_room_shows_them_beneath_and_as_a_change_of_the_card(tables: Tables) -> None:
    run, channel = await tables.run(), uuid4().hex
    card = await shown(tables, run, channel, platform="room")
    await tables.execute("UPDATE messages SET card = '{}' WHERE id = :id", id=card)
    await delivered(tables, *await taken(tables, run))
    async with reading(tables.web) as session:
        (before,) = await find_in_place(session, platform="room", channel=channel, person="kim", limit=9)
    await said(tables, run, "one", "two")
    for _ in range(2):
        await delivered(tables, *await taken(tables, run))
    async with reading(tables.web) as session:
        (after,) = await find_in_place(session, platform="room", channel=channel, person="kim", limit=9)
    assert before.beneath == []
    assert [one["text"] for one in after.beneath] == ["lin says: one", "lin says: two"]
    assert after.edited_at > before.edited_at


async def test_questions_and_their_answers(tables: Tables) -> None:
    run = await tables.run()
    first, second = NewLine(run, "question", "lin", "asks: why?"), NewLine(run, "question", "kim", "asks: when?")
    async with transaction(tables.web) as session:
        await say(session, first)
        await say(session, second)
        await say(session, NewLine(run, "answer", "ada", "answers lin: because", about=first.id))
    async with reading(tables.web) as session:
        assert [one.person for one in await find_unanswered(session, run)] == ["kim"]
        found = await find_question(session, first.id)
        assert found is not None
        assert (found[0], found[1].whole) == (run, "lin asks: why?")
        assert await find_question(session, uuid4()) is None
        assert [one.whole for one in await find_lines(session, run, last=2)] == ["kim asks: when?", "ada answers lin: because"]
        assert await count_lines(session, run, most=2) == 2


async def test_nobody_changes_what_was_said_and_only_workers_write_where_it_was_carried_out(tables: Tables) -> None:
    for role in ("web", "worker"):
        assert not await tables.may(role, "UPDATE conversations SET said = 'x'")
        assert not await tables.may(role, "DELETE FROM conversations")
        assert not await tables.may(role, "UPDATE targets SET target = 'x'")
    assert not await tables.may("web", "INSERT INTO targets (run_id, target) SELECT id, 'x' FROM runs LIMIT 1")


async def test_the_last_run_on_a_target_is_found_by_an_index(tables: Tables) -> None:
    target = uuid4().hex
    runs = [await tables.run(RunStatus.planning, RunStatus.failed) for _ in range(3)]
    for number, run in enumerate(runs):
        await tables.execute(
            "INSERT INTO targets (run_id, target, begun_at) VALUES (:run, :target, countersign_now() + :n * interval '1 second')",
            run=run,
            target=target,
            n=number,
        )
    async with reading(tables.web) as session:
        stranger, other = uuid4(), uuid4()
        earlier = await find_earlier(session, {stranger: target, runs[-1]: target, other: uuid4().hex})
        assert earlier[stranger].number == (await tables.row(runs[-1])).number
        assert (earlier[stranger].status, earlier[stranger].asker) == ("failed", "ada")
        assert earlier[runs[-1]].number == (await tables.row(runs[1])).number
        assert other not in earlier
    question = text("EXPLAIN SELECT run_id FROM targets WHERE target = :target AND run_id <> :run ORDER BY begun_at DESC LIMIT 1")
    async with transaction(tables.worker) as session:
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = [str(row[0]) for row in await session.execute(question, {"target": target, "run": runs[0]})]
    assert any("ix_targets_target" in line for line in plan), plan
    assert not any("Sort" in line for line in plan), plan
