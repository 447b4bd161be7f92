"""Parking and waking: fenced by the claim, woken once, by whatever comes first."""

import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from countersign.runs import FINISHED, RunStatus
from store.databases import transaction
from store.runs import Move, move
from store.waits import PARKED, Waiting, WaitKind, find_ripe, find_waits, forget_waits, park, wake, wake_for
from tests.store.tables import Tables

QUEUED = (RunStatus.planning, RunStatus.queued)


async def held(tables: Tables, *then: RunStatus) -> tuple[UUID, int]:
    """A run that a worker has in hand."""
    run = await tables.run(*QUEUED)
    (claimed,) = await tables.claimed(run)
    for status in then:
        assert await tables.moved(Move(run, status, by="test", attempt=claimed.attempt, keep_lease=True))
    return run, claimed.attempt


async def parked(tables: Tables, run: UUID, attempt: int, *waits: Waiting) -> bool:
    async with transaction(tables.worker) as session:
        return await park(session, run, attempt=attempt, waits=waits)


async def ripe(tables: Tables) -> set[UUID]:
    async with transaction(tables.worker) as session:
        return set(await find_ripe(session, finished=sorted(FINISHED)))


CHILD = Waiting(WaitKind.child, "run 12 ends", subject=str(uuid4()))


@pytest.mark.parametrize(
    ("then", "status"),
    [((RunStatus.running,), "waiting"), ((), "queued"), ((RunStatus.running, RunStatus.undoing), "undoing")],
)
async def test_parked_it_has_no_claim_and_woken_it_is_due(tables: Tables, then: tuple[RunStatus, ...], status: str) -> None:
    run, attempt = await held(tables, *then)
    assert await parked(tables, run, attempt, CHILD)
    row = await tables.row(run)
    assert (row.status, row.worker, row.lease_until, row.due_at) == (status, None, None, None)
    assert not await tables.claimed(run)
    async with transaction(tables.web) as session:
        assert [(one.kind, one.detail) for one in await find_waits(session, [row])] == [("child", "run 12 ends")]
        assert await wake(session, [run, uuid4()], by="lin", because="it came") == {run}
        assert await wake(session, [run], by="kim") == set()
    row = await tables.row(run)
    assert row.status == ("running" if status == "waiting" else status)
    assert row.due_at is not None
    assert len(await tables.claimed(run)) == 1


async def test_only_who_holds_the_claim_parks(tables: Tables) -> None:
    run, attempt = await held(tables, RunStatus.running)
    assert not await parked(tables, run, attempt - 1, CHILD)
    assert (await tables.row(run)).worker == "w1"
    assert await parked(tables, run, attempt, CHILD)
    assert not await parked(tables, run, attempt, CHILD)


async def test_woken_at_its_due_time_and_not_before(tables: Tables) -> None:
    run, attempt = await held(tables, RunStatus.running)
    assert await parked(tables, run, attempt, Waiting(WaitKind.backoff, "tries again", after=30))
    assert run not in await ripe(tables)
    await tables.execute("UPDATE clock SET shift = shift + interval '29 seconds'")
    assert run not in await ripe(tables)
    await tables.execute("UPDATE clock SET shift = shift + interval '1 second'")
    assert run in await ripe(tables)


async def test_woken_by_the_end_of_a_child(tables: Tables) -> None:
    run, attempt = await held(tables, RunStatus.running)
    child = await tables.run(*QUEUED)
    assert await parked(tables, run, attempt, Waiting(WaitKind.child, "its child ends", subject=str(child)))
    assert run not in await ripe(tables)
    await tables.moved(Move(child, RunStatus.cancelled, by="test"))
    assert run in await ripe(tables)
    async with transaction(tables.worker) as session:
        assert await wake_for(session, WaitKind.child, str(child)) == {run}


async def test_cancelled_or_without_a_row_it_is_ripe(tables: Tables) -> None:
    first, attempt = await held(tables, RunStatus.running)
    assert await parked(tables, first, attempt, CHILD)
    second, attempt = await held(tables, RunStatus.running)
    assert await parked(tables, second, attempt, CHILD)
    assert not {first, second} & await ripe(tables)
    await tables.execute("UPDATE runs SET cancelled_by = 'lin' WHERE id = :run", run=first)
    await tables.execute("DELETE FROM waits WHERE run_id = :run", run=second)
    assert {first, second} <= await ripe(tables)


async def test_what_moved_on_by_another_way_is_not_woken_and_is_forgotten(tables: Tables) -> None:
    run, attempt = await held(tables)
    assert await parked(tables, run, attempt, CHILD)
    await tables.moved(Move(run, RunStatus.cancelled, by="lin"))
    async with transaction(tables.worker) as session:
        assert await wake(session, [run]) == set()
        await forget_waits(session)
    assert not await tables.execute("SELECT 1 FROM waits WHERE run_id = :run", run=run)
    assert (await tables.row(run)).due_at is None


async def test_a_cancel_and_many_wakes_at_the_same_instant_do_not_lock_each_other_out(tables: Tables) -> None:
    runs = [await held(tables, RunStatus.running) for _ in range(6)]
    for run, attempt in runs:
        assert await parked(tables, run, attempt, CHILD)

    async def woken(ids: list[UUID]) -> int:
        async with transaction(tables.worker) as session:
            return len(await wake(session, ids))

    async def cancelled(run: UUID) -> int:
        async with transaction(tables.web) as session:
            await session.execute(text("SELECT FROM runs WHERE id = :run FOR UPDATE"), {"run": run})
            return len(await wake(session, [run]))

    ids = [run for run, _ in runs]
    counts = await asyncio.gather(woken(ids), woken(ids[::-1]), *(cancelled(one) for one in ids))
    assert sum(counts) == len(ids)


async def test_the_web_wakes_and_never_parks(tables: Tables) -> None:
    run, _ = await held(tables, RunStatus.running)
    assert await tables.may("web", "DELETE FROM waits")
    assert not await tables.may("web", "INSERT INTO waits (run_id, kind, subject, detail) SELECT id, 'pause', '', '' FROM runs")
    assert not await tables.may("web", "UPDATE waits SET detail = ''")
    assert set(PARKED) == {"waiting", "queued", "undoing"}
    async with transaction(tables.worker) as session:
        assert not await move(session, [Move(run, RunStatus.running, by="test")])
