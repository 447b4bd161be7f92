"""Kill switches: any door's role switches on, only a worker switches off; what they hold back is not due."""

from uuid import UUID, uuid4

from countersign.runs import RunStatus
from store.claims import find_due
from store.databases import reading, transaction
from store.messages import Priority
from store.switches import (
    Switch,
    find_held,
    find_marks,
    find_past_switches,
    find_switches,
    hold,
    let_go_on,
    show_again,
    switch_off,
    switch_on,
)
from tests.store.tables import Tables

TAKEN = (RunStatus.submitted, RunStatus.queued, RunStatus.running)


async def is_due(tables: Tables, run: UUID) -> bool:
    async with reading(tables.worker) as session:
        return run in await find_due(session, statuses=TAKEN, quiet=0, limit=1_000)


async def held(tables: Tables) -> dict[UUID, str]:
    async with reading(tables.web) as session:
        return {one.run_id: because for one, because in await find_held(session)}


async def trail(tables: Tables, run: UUID) -> list[str]:
    rows = await tables.execute("SELECT canonical FROM audit_events WHERE canonical LIKE :like ORDER BY seq", like=f"%{run}%")
    return [row.canonical.split('"kind":"')[1].split('"')[0] for row in rows if '"kind":"' in row.canonical]


async def test_the_web_switches_on_at_once_and_only_a_worker_off(tables: Tables) -> None:
    target, run = f"c{uuid4().hex}", await tables.run()
    async with transaction(tables.web) as session:
        assert await switch_on(session, kind="command", target=target, by="lin", reason="r" * 300)
        assert not await switch_on(session, kind="command", target=target, by="kim", reason="too")
    async with reading(tables.web) as session:
        (found,) = [one for one in await find_switches(session) if one.target == target]
    assert found == Switch("command", target, "lin", found.at, "r" * 200)
    for sql in (
        "UPDATE switches SET off_at = countersign_now()",
        "DELETE FROM switches",
        "INSERT INTO switches (id, kind, on_by, off_at) VALUES (gen_random_uuid(), 'changes', 'eve', now())",
        "INSERT INTO holds (run_id, because) SELECT id, 'x' FROM runs LIMIT 1",
        "DELETE FROM holds",
    ):
        assert not await tables.may("web", sql), sql
    async with transaction(tables.worker) as session:
        assert await switch_off(session, kind="command", target=target, by="max", run=run)
        assert not await switch_off(session, kind="command", target=target, by="max", run=run)
    async with reading(tables.web) as session:
        assert target not in [one.target for one in await find_switches(session)]
        (past,) = [one for one in await find_past_switches(session, limit=100) if one.target == target]
    assert (past.on_by, past.off_by) == ("lin", "max")


async def test_a_held_run_is_not_due_until_it_may_go_on(tables: Tables) -> None:
    run, claimed, other = await tables.run(), await tables.run(), await tables.run()
    await tables.claimed(claimed)
    async with transaction(tables.worker) as session:
        assert await hold(session, [run, claimed], because="stopped.") == {run}, "a run that a worker has is its worker's to give back"
    assert (await is_due(tables, run), await is_due(tables, other)) == (False, True)
    assert (await held(tables))[run] == "stopped."
    async with transaction(tables.worker) as session:
        assert await let_go_on(session, [run], statuses=TAKEN) == {run}
        assert await let_go_on(session, [run], statuses=TAKEN) == set()
    assert await is_due(tables, run)
    assert run not in await held(tables)
    assert (await trail(tables, run))[-2:] == ["run:held", "run:let_go_on"]


async def test_a_worker_gives_back_what_it_has_under_its_attempt_only(tables: Tables) -> None:
    run = await tables.run()
    (claim,) = await tables.claimed(run)
    async with transaction(tables.worker) as session:
        assert await hold(session, [run], because="s", attempt=claim.attempt + 1) == set()
        assert await hold(session, [run], because="s", attempt=claim.attempt) == {run}
    row = await tables.row(run)
    assert (row.worker, row.lease_until, row.due_at, row.status) == (None, None, None, "submitted")
    async with transaction(tables.worker) as session:
        await let_go_on(session, [run], statuses=TAKEN)
    (again,) = await tables.claimed(run)
    assert again.failures == 0, "being held is no failure of its worker"


async def test_what_ended_while_it_was_held_stays_ended(tables: Tables) -> None:
    run = await tables.run()
    async with transaction(tables.worker) as session:
        await hold(session, [run], because="s")
    await tables.execute("UPDATE runs SET status = 'cancelled' WHERE id = :run", run=run)
    async with transaction(tables.worker) as session:
        assert await let_go_on(session, [run], statuses=TAKEN) == set()
    assert run not in await held(tables)
    assert (await tables.row(run)).due_at is None


async def test_marks_and_cards_of_what_has_not_ended(tables: Tables) -> None:
    run = await tables.run(risk=3, dry_run=True)
    async with transaction(tables.worker) as session:
        (mark,) = await find_marks(session, [run, uuid4()])
        assert (mark.command, mark.risk, mark.dry_run, mark.status) == ("deploy", 3, True, "submitted")
        await tables.execute(
            "INSERT INTO messages (id, run_id, kind, platform, team, channel, priority)"
            " VALUES (gen_random_uuid(), :run, 'card', 'room', '', 'ops', 1)",
            run=run,
        )
        assert await show_again(session) >= 1
    (message,) = await tables.execute("SELECT wanted, priority, due_at FROM messages WHERE run_id = :run", run=run)
    assert (message.wanted, message.priority) == (2, Priority.progress)
    assert message.due_at is not None


async def test_a_card_that_was_told_after_the_last_change_is_not_told_again(tables: Tables) -> None:
    run = await tables.run()
    await tables.execute(
        "INSERT INTO switches (id, kind, target, on_by, off_at) VALUES (gen_random_uuid(), 'command', 'never', 'max', now())"
    )
    await tables.execute(
        "INSERT INTO messages (id, run_id, kind, platform, team, channel, edited_at) VALUES"
        " (gen_random_uuid(), :run, 'card', 'room', '', 'before', now()),"
        " (gen_random_uuid(), :run, 'card', 'room', '', 'after', now() + interval '5 minutes')",
        run=run,
    )
    async with transaction(tables.worker) as session:
        await show_again(session)
    rows = await tables.execute("SELECT channel FROM messages WHERE run_id = :run AND wanted > 1", run=run)
    assert [row.channel for row in rows] == ["before"]
