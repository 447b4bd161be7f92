"""A claim whose rows are there before its commit: nobody else can take the run meanwhile, and a commit that fails leaves nothing."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text

from automations.connections import FEW, Connections
from countersign.runs import RunStatus
from store.databases import transaction
from store.embedded import DatabaseUrls
from store.runs import Move, Take, Taken, create, move, move_and_take
from tests.store.tables import Tables, open_tables

S = RunStatus


@pytest.fixture
async def tables(shared_database: DatabaseUrls) -> AsyncIterator[Tables]:
    async with open_tables(shared_database) as made:
        yield made


@pytest.fixture
async def connections(shared_database: DatabaseUrls) -> AsyncIterator[Connections]:
    made = Connections(shared_database.worker, name="connections")
    yield made
    await made.close()


async def born(tables: Tables) -> UUID:
    one = tables.new()
    async with transaction(tables.web) as session:
        await create(session, [one])
    return one.id


async def take(connections: Connections, run: UUID, *, worker: str = "w") -> tuple[list[Taken], asyncio.Task[None]]:
    moves = [Move(run, S.planning, by="countersign", take=Take(worker, 60.0, ("c",)))]
    return await connections.begin(partial(move_and_take, moves=moves))


async def test_what_is_taken_is_the_run_and_whom_it_is_for(tables: Tables, connections: Connections) -> None:
    run = await born(tables)
    (taken,), commit = await take(connections, run)
    await commit
    stored = await tables.row(run)
    assert {name: getattr(taken.run, name) for name in ("id", "status", "attempt", "worker", "arguments", "moved_at")} == {
        name: getattr(stored, name) for name in ("id", "status", "attempt", "worker", "arguments", "moved_at")
    }
    assert (taken.run.status, taken.run.attempt, taken.asker.name) == (S.planning, 1, stored.asker)


async def test_two_who_take_a_run_at_the_same_instant_are_one(tables: Tables, connections: Connections) -> None:
    for _ in range(10):
        run = await born(tables)
        both = await asyncio.gather(take(connections, run, worker="a"), take(connections, run, worker="b"))
        await asyncio.gather(*(commit for _, commit in both))
        assert sorted(len(taken) for taken, _ in both) == [0, 1]
        assert (await tables.row(run)).attempt == 1


async def test_a_claim_that_is_not_committed_has_not_happened_and_the_next_one_does(tables: Tables, connections: Connections) -> None:
    run = await born(tables)
    (taken,), commit = await take(connections, run)
    commit.cancel()  # before it was sent: its task has not had its turn yet
    with pytest.raises(asyncio.CancelledError):
        await commit
    assert (await tables.row(run)).status == S.submitted
    async with transaction(tables.worker) as session:
        answered = Move(run, S.answered, by="countersign", attempt=taken.run.attempt)
        assert await move(session, [answered]) == {}  # what was thought meanwhile cannot be written
    (again,), commit = await take(connections, run)
    await commit
    assert (again.run.attempt, (await tables.row(run)).status) == (1, S.planning)


async def test_a_server_that_goes_away_costs_one_claim(tables: Tables, connections: Connections) -> None:
    runs = [await born(tables) for _ in range(3)]
    both = await asyncio.gather(*(take(connections, one) for one in runs[:2]))
    await asyncio.gather(*(commit for _, commit in both))
    async with transaction(tables.worker) as session:
        ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'connections'"
        assert len((await session.execute(text(ending))).all()) == 2
    with pytest.raises(psycopg.OperationalError):
        await take(connections, runs[2])
    (taken,), commit = await take(connections, runs[2])
    await commit
    assert taken.run.attempt == 1


async def ask(connections: Connections, statement: str) -> int:
    async with connections.statement() as driver:
        (row,) = await (await driver.execute(statement)).fetchall()
    return int(row["n"])


async def test_statements_beside_each_other_commit_each_by_itself_over_few_connections(connections: Connections) -> None:
    transactions = await asyncio.gather(*(ask(connections, "SELECT pg_current_xact_id()::text AS n") for _ in range(40)))
    assert len(set(transactions)) == 40
    assert len({await ask(connections, "SELECT pg_backend_pid() AS n") for _ in range(40)}) == 1
    pids = await asyncio.gather(*(ask(connections, "SELECT pg_backend_pid() AS n FROM pg_sleep(0.01)") for _ in range(40)))
    assert len(set(pids)) == FEW


async def test_a_connection_on_which_a_statement_failed_or_was_cut_off_is_not_used_again(connections: Connections) -> None:
    first = await ask(connections, "SELECT pg_backend_pid() AS n")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await ask(connections, "SELECT 1/0 AS n")
    second = await ask(connections, "SELECT pg_backend_pid() AS n")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await ask(connections, "SELECT 1 AS n FROM pg_sleep(5)")
    assert len({first, second, await ask(connections, "SELECT pg_backend_pid() AS n")}) == 3
