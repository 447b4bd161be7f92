"""The hub measures its own promises: what is lost, done twice or late is found, once, and nothing else is."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from countersign.runs import RunStatus
from store.counts import count_blocks
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from store.journals import Phase, StepKey, StepState, begin_step, end_step
from store.promises import Late, find_late, find_promises, look_for_lost
from store.runs import Move
from store.sealing import Signer, load_or_create_key, seal
from store.workloads import find_workload
from tests.store.tables import Tables, open_tables


@pytest.fixture
async def tables(database: DatabaseUrls) -> AsyncIterator[Tables]:
    """A database of its own: what is late or lost is asked of all that is there."""
    async with open_tables(database) as made:
        yield made


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return load_or_create_key(tmp_path / "audit.pem")


async def counted(tables: Tables, signer: Signer) -> None:
    async with transaction(tables.worker) as session:
        while await seal(session, signer):
            pass
    async with transaction(tables.worker) as session:
        while await count_blocks(session):
            pass


async def broken(tables: Tables) -> dict[tuple[str, str], int]:
    async with reading(tables.web) as session:
        return {(one.promise, one.what): one.count for one in await find_promises(session)}


async def levels(tables: Tables, command: str) -> dict[str, tuple[int, float]]:
    """Count and sum of seconds by figure."""
    async with reading(tables.web) as session:
        query = "SELECT figure, sum(count) AS n, sum(seconds) AS seconds FROM service_levels WHERE command = :command GROUP BY figure"
        return {row.figure: (int(row.n), row.seconds) for row in await session.execute(text(query), {"command": command})}


async def late(tables: Tables, what: str) -> Late:
    async with reading(tables.web) as session:
        return next(one for one in await find_late(session) if one.what == what)


async def carried_out(tables: Tables, run: UUID, *, state: StepState = StepState.done) -> StepKey:
    (claim,) = await tables.claimed(run)
    key = StepKey(run, 1, 0, Phase.do, claim.attempt)
    async with transaction(tables.worker) as session:
        await begin_step(session, key, name="release", worker="w1")
        await end_step(session, key, state=state)
    return key


async def passes(tables: Tables, **interval: int) -> None:
    by = " ".join(f"{n} {unit}" for unit, n in interval.items())
    await tables.execute("UPDATE clock SET shift = shift + cast(:by AS interval)", by=by)


async def test_what_the_record_says_is_counted_once(tables: Tables, signer: Signer) -> None:
    command = f"deploy-{uuid4().hex[:8]}"
    run = await tables.run(command=command)
    await passes(tables, seconds=3)
    assert await tables.moved(*moves(run, RunStatus.planning))
    assert await tables.moved(*moves(run, RunStatus.queued))
    await passes(tables, seconds=20)
    assert await tables.moved(*moves(run, RunStatus.running))
    await carried_out(tables, run)
    assert await tables.moved(*moves(run, RunStatus.succeeded))
    for _ in range(2):
        await counted(tables, signer)
    found = await levels(tables, command)
    assert {name: n for name, (n, _) in found.items()} == {"start:planning": 1, "start:executing": 1, "step:done": 1, "run:succeeded": 1}
    assert 3 <= found["start:planning"][1] < 6
    assert 20 <= found["start:executing"][1] < 23
    assert await broken(tables) == dict.fromkeys(await broken(tables), 0)


async def test_a_step_done_twice_and_a_run_that_ended_twice_are_found_once(tables: Tables, signer: Signer) -> None:
    before = await broken(tables)
    run = await tables.run(RunStatus.planning, RunStatus.queued, RunStatus.running)
    key = await carried_out(tables, run)
    await counted(tables, signer)
    assert await broken(tables) == before
    await tables.execute("UPDATE steps SET state = 'calling' WHERE run_id = :id", id=run)
    async with transaction(tables.worker) as session:
        await end_step(session, key, state=StepState.done)
    assert await tables.moved(*moves(run, RunStatus.succeeded))
    await tables.execute("UPDATE runs SET status = 'running' WHERE id = :id", id=run)
    assert await tables.moved(*moves(run, RunStatus.succeeded))
    for _ in range(2):
        await counted(tables, signer)
    after = await broken(tables)
    assert after[("doubled", "step")] == before[("doubled", "step")] + 1
    assert after[("doubled", "end")] == before[("doubled", "end")] + 1
    async with reading(tables.web) as session:
        number = (await session.execute(text("SELECT number FROM runs WHERE id = :id"), {"id": run})).scalar_one()
        told = next(one for one in await find_promises(session) if one.what == "step")
    assert told.example == f"run {number}"


async def test_a_request_whose_run_is_missing_is_lost_and_an_answer_without_one_is_not(tables: Tables) -> None:
    before = (await broken(tables))[("lost", "request")]
    await tables.run()
    key = f"test:{uuid4()}"
    await tables.execute(
        "INSERT INTO inbox (key, run_id) VALUES (:key, gen_random_uuid()), (:other, NULL)", key=key, other=f"{key}:control"
    )
    async with transaction(tables.worker) as session:
        assert await look_for_lost(session) == 0, "it may still be under way"
    await passes(tables, seconds=31)
    async with transaction(tables.worker) as session:
        assert await look_for_lost(session) == 1
    async with transaction(tables.worker) as session:
        assert await look_for_lost(session) == 0
    assert (await broken(tables))[("lost", "request")] == before + 1


async def test_what_no_worker_takes_for_a_minute_is_late(tables: Tables) -> None:
    run = await tables.run()
    held = await tables.run(RunStatus.planning, RunStatus.queued)
    await tables.claimed(held, lease=100)
    await passes(tables, seconds=50)
    assert (await late(tables, "planning")).count == 0
    async with reading(tables.web) as session:
        work = await find_workload(session)
    assert {one.name: one.waiting for one in work.queues} == {"planning": 1, "executing": 0}
    assert 50 <= work.queues[0].oldest < 60
    await passes(tables, seconds=60)
    assert (await late(tables, "planning")).count == 1
    assert 110 <= (await late(tables, "planning")).seconds < 120
    assert (await late(tables, "executing")).count == 0, "its lease ended 10 s ago"
    await tables.execute("UPDATE runs SET due_at = NULL WHERE id = :id", id=run)
    assert (await late(tables, "planning")).count == 0
    assert (await late(tables, "adrift")).count == 1, "nothing will ever make it due"
    await tables.execute("INSERT INTO holds (run_id, because) VALUES (:id, 'a switch')", id=run)
    assert (await late(tables, "adrift")).count == 0


async def test_how_long_events_wait_for_the_sealer_is_known_to_the_web(tables: Tables) -> None:
    async with reading(tables.web) as session:
        assert (await find_workload(session)).unsealed == 0
    await tables.run()
    await passes(tables, seconds=40)
    async with reading(tables.web) as session:
        assert 40 <= (await find_workload(session)).unsealed < 50


def moves(run: UUID, to: RunStatus) -> tuple[Move, ...]:
    return (Move(run, to, by="test"),)
