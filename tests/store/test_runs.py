"""create(), move() and claim(): one statement each, and nobody gets round them."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from countersign.runs import FINISHED, MOVES, RunStatus
from store.audits import find_trail
from store.claims import find_due, put_off, release
from store.databases import WriteDriver, driver_of, reading, transaction
from store.halts import ask_to_cancel
from store.runs import Born, Move, create, find_by_reference, find_runs, search_runs
from store.workers import note_worker
from tests.store.tables import Tables

S = RunStatus


async def born(tables: Tables, *runs: Any) -> dict[str, Born]:
    async with transaction(tables.web) as session:
        return await create(session, runs)


async def trail(tables: Tables, run: UUID) -> list[str]:
    async with reading(tables.web) as session:
        return [one.kind for one in await find_trail(session, run)]


async def test_a_run_is_born_with_its_event_its_key_and_its_secrets(tables: Tables) -> None:
    one = tables.new(secrets={"m" * 64: "c2VhbGVk"}, reason="due", trace="t1", answer_to="YWRkcmVzcw==")
    (found,) = (await born(tables, one)).values()
    assert (found.run_id, found.fresh, found.status) == (one.id, True, S.submitted)
    row = await tables.row(one.id)
    assert (row.number, row.answer_to, row.due_at is not None) == (found.number, b"address", True)
    (event,) = await tables.execute("SELECT canonical FROM audit_events WHERE run_id = :run", run=one.id)
    assert '"kind":"run:submitted"' in event.canonical
    assert (await tables.execute("SELECT sealed FROM secrets WHERE run_id = :run", run=one.id))[0].sealed == b"sealed"


async def test_a_refused_run_is_never_due(tables: Tables) -> None:
    one = tables.new(status=S.refused, because="missing_permission", outcome="No.")
    await born(tables, one)
    assert (await tables.row(one.id)).due_at is None
    assert await trail(tables, one.id) == ["run:refused"]


async def test_a_key_seen_before_is_the_earlier_run(tables: Tables) -> None:
    one = tables.new()
    first = (await born(tables, one))[one.key]
    again = (await born(tables, tables.new(key=one.key, command="other")))[one.key]
    assert (again.run_id, again.fresh, again.number) == (first.run_id, False, first.number)
    assert (await tables.row(one.id)).command == "deploy"


async def test_the_same_key_twice_in_one_batch_is_one_run(tables: Tables) -> None:
    one, other = tables.new(), tables.new()
    twin = replace(one, id=uuid4())
    found = await born(tables, one, twin, other)
    assert set(found) == {one.key, other.key}
    assert found[one.key].run_id in (one.id, twin.id)
    async with reading(tables.web) as session:
        assert len(await find_runs(session, [one.id, twin.id, other.id])) == 2


async def test_a_batch_of_new_doubled_and_seen_keys_gives_each_its_run_and_its_one_event(tables: Tables) -> None:
    seen = tables.new()
    first = (await born(tables, seen))[seen.key]
    new = [tables.new() for _ in range(5)]
    doubled = [replace(one, id=uuid4()) for one in new[:2]]
    again = tables.new(key=seen.key)
    found = await born(tables, again, *new, *doubled)
    assert found[seen.key] == replace(first, fresh=False)
    assert {one.run_id for one in found.values()} == {seen.id, *(one.id for one in new)}
    assert [await trail(tables, one.id) for one in (*new, *doubled, again)] == [["run:submitted"]] * 5 + [[]] * 3


async def test_runs_are_born_without_a_session_too(tables: Tables) -> None:
    one = tables.new(secrets={"m": "AAEC"})
    async with tables.web.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        driver = WriteDriver(await driver_of(connection))
        assert (await create(driver, [one]))[one.key].fresh
        assert not (await create(driver, [one]))[one.key].fresh
    assert await trail(tables, one.id) == ["run:submitted"]


async def test_the_same_key_at_the_same_instant_is_one_run(tables: Tables) -> None:
    for _ in range(5):
        key = str(uuid4())
        answers = await asyncio.gather(*(born(tables, tables.new(key=key)) for _ in range(8)))
        assert len({one[key].run_id for one in answers}) == 1
        assert sum(one[key].fresh for one in answers) == 1
        assert {one[key].number for one in answers} == {answers[0][key].number}


@pytest.mark.parametrize("status", [one for one in S if one not in (S.submitted, S.answered, S.refused)])
async def test_a_run_moves_only_as_the_table_allows(tables: Tables, status: RunStatus) -> None:
    run = await tables.run()
    await tables.execute("UPDATE runs SET status = :status WHERE id = :run", run=run, status=status.value)
    for to in S:
        moved = await tables.moved(Move(run, to, by="test"))
        assert bool(moved) == (to in MOVES[status])
        assert ((await tables.row(run)).status == to) == (bool(moved) or to is status)
        await tables.execute("UPDATE runs SET status = :status WHERE id = :run", run=run, status=status.value)
    assert len(await trail(tables, run)) == 1 + len(MOVES[status])


async def test_moves_in_one_statement_stand_each_for_itself(tables: Tables) -> None:
    good, ended, gone = await tables.run(), await tables.run(S.cancelled), uuid4()
    moves = [Move(one, S.planning, by="test", because=f"b{n}") for n, one in enumerate((good, ended, gone))]
    assert await tables.moved(*moves) == {good}
    assert await trail(tables, ended) == ["run:submitted", "run:cancelled"]


async def test_a_narrowed_move_comes_only_from_there(tables: Tables) -> None:
    run = await tables.run(S.planning, S.queued)
    assert not await tables.moved(Move(run, S.cancelled, by="test", come_from=(S.awaiting_approval,)))
    assert await tables.moved(Move(run, S.cancelled, by="test", come_from=(S.awaiting_approval, S.queued)))


async def test_one_of_many_moves_at_the_same_instant_happens(tables: Tables) -> None:
    run = await tables.run(S.planning, S.awaiting_approval)
    results = await asyncio.gather(*(tables.moved(Move(run, to, by="x")) for to in (S.queued, S.denied, S.expired, S.denied) * 2))
    ends = [one for one in await trail(tables, run) if one in ("run:queued", "run:denied", "run:expired")]
    assert len(ends) == sum(map(bool, results)) == 1


async def test_a_worker_whose_attempt_is_old_moves_nothing(tables: Tables) -> None:
    run = await tables.run(S.planning, S.queued)
    (first,) = await tables.claimed(run, worker="w1")
    await tables.execute("UPDATE runs SET lease_until = countersign_now() - interval '1 second' WHERE id = :run", run=run)
    (second,) = await tables.claimed(run, worker="w2")
    assert (second.attempt, second.failures) == (first.attempt + 1, 1)
    assert not await tables.moved(Move(run, S.running, by="w1", attempt=first.attempt))
    assert await tables.moved(Move(run, S.running, by="w2", attempt=second.attempt, keep_lease=True))
    assert "run:reclaimed" in await trail(tables, run)
    await tables.moved(Move(run, S.interrupted, by="w2", attempt=second.attempt))
    assert not await tables.moved(Move(run, S.failed, by="w2", attempt=second.attempt))


async def test_a_claim_is_had_by_one(tables: Tables) -> None:
    runs = [await tables.run() for _ in range(6)]
    claims = await asyncio.gather(*(tables.claimed(*runs, worker=f"w{one}") for one in range(6)))
    assert sorted(claim.run_id for claims_of_one in claims for claim in claims_of_one) == sorted(runs)
    assert not await tables.claimed(*runs)


@pytest.mark.parametrize("status", [*sorted(FINISHED - {S.answered, S.refused}), S.interrupted, S.awaiting_approval])
async def test_what_waits_for_nobody_or_has_ended_is_claimed_by_nobody(tables: Tables, status: RunStatus) -> None:
    run = await tables.run()
    await tables.execute("UPDATE runs SET status = :status, due_at = NULL WHERE id = :run", run=run, status=status.value)
    assert not await tables.claimed(run)


async def test_code_that_a_worker_does_not_have_is_left_to_whoever_offered_it_in_the_last_minute(tables: Tables) -> None:
    run = await tables.run(code_version="c9")
    async with transaction(tables.worker) as session:
        await note_worker(session, name="other", role="executing", versions=["c9"])
    assert not await tables.claimed(run)
    await tables.execute("UPDATE workers SET seen_at = seen_at - interval '61 seconds' WHERE name = 'other'")
    assert await tables.claimed(run)


async def test_what_is_due_is_found_after_its_quiet_time(tables: Tables) -> None:
    run = await tables.run(S.planning, S.queued)

    async def due(quiet: float) -> bool:
        async with reading(tables.worker) as session:
            return run in await find_due(session, statuses=[S.queued], quiet=quiet, limit=1_000)

    assert await due(0)
    assert not await due(60)
    await tables.claimed(run, lease=60)
    assert not await due(0)
    async with transaction(tables.worker) as session:
        assert await release(session, slot="w1", but="w1") == 0
        assert await release(session, slot="w", but="w2") >= 1
    assert await due(0)


async def test_a_run_that_is_wanted_later_is_due_later(tables: Tables) -> None:
    later = datetime.now(UTC) + timedelta(hours=2)
    run = await tables.run(S.planning, S.awaiting_approval, S.queued, start_at=later.isoformat())
    assert (await tables.row(run)).due_at == (await tables.row(run)).start_at == later
    assert not await tables.claimed(run)
    await tables.execute("UPDATE clock SET shift = '2 hours'")
    assert await tables.claimed(run)


async def test_a_run_that_is_wanted_later_is_planned_now_and_goes_on_at_once_when_its_start_has_passed(tables: Tables) -> None:
    run = await tables.run(start_at=(datetime.now(UTC) + timedelta(hours=2)).isoformat())
    (held,) = await tables.claimed(run)
    await tables.moved(Move(run, S.planning, by="w1", attempt=held.attempt))
    await tables.execute("UPDATE clock SET shift = '3 hours'")
    assert await tables.moved(Move(run, S.queued, by="w1"))
    assert await tables.claimed(run)


async def test_a_claim_is_put_off_only_by_who_holds_it(tables: Tables) -> None:
    run = await tables.run(S.planning, S.queued)
    (held,) = await tables.claimed(run)
    until = datetime.now(UTC) + timedelta(hours=1)

    async def put(attempt: int) -> bool:
        async with transaction(tables.worker) as session:
            return await put_off(session, run, attempt=attempt, until=until, outcome="Waits.")

    assert not await put(held.attempt - 1)
    assert await put(held.attempt)
    assert not await put(held.attempt)
    assert not await tables.claimed(run)
    await tables.execute("UPDATE clock SET shift = '1 hour'")
    (again,) = await tables.claimed(run)
    assert (again.failures, (await tables.row(run)).outcome) == (0, "Waits.")


async def test_a_cancel_is_left_once_and_only_while_it_runs(tables: Tables) -> None:
    run = await tables.run(S.planning, S.queued)
    async with transaction(tables.web) as session:
        assert not await ask_to_cancel(session, run, by="lin")
    await tables.moved(Move(run, S.running, by="w"))
    async with transaction(tables.web) as session:
        assert await ask_to_cancel(session, run, by="lin")
        assert not await ask_to_cancel(session, run, by="kim")
    assert (await tables.row(run)).cancelled_by == "lin"


async def test_runs_are_found_by_number_id_and_page(tables: Tables) -> None:
    runs = [await tables.run(command="find-me") for _ in range(5)]
    row = await tables.row(runs[0])
    async with reading(tables.web) as session:
        for reference in (str(row.number), f"#{row.number}", f" {row.id} ", str(row.id).upper()):
            found = await find_by_reference(session, reference)
            assert found is not None, reference
            assert found.id == row.id
        for reference in ("", "#", "nonsense", "9" * 17, "9" * 30, "-1", "²"):
            assert await find_by_reference(session, reference) is None
        first = await search_runs(session, command="find-me", limit=3)
        assert [one.id for one in first] == runs[:1:-1]
        assert not await search_runs(session, command="find-me", asker="lin")
    assert row.created_at - (await tables.row(runs[-1])).created_at < timedelta(0)
