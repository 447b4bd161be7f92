"""The journal: intent before effect, and a worker whose claim has ended writes nothing any more."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

import pytest

from countersign.runs import RunStatus
from store.audits import find_trail
from store.databases import WriteSession, reading, transaction
from store.journals import (
    Finished,
    LostClaim,
    Phase,
    StepKey,
    StepRow,
    StepState,
    begin_step,
    begin_step_unchanged,
    end_step,
    find_bearing,
    find_steps,
    note_progress,
    settle_steps,
)
from store.logs import add_lines, find_lines
from store.runs import Move
from tests.store.tables import Tables

POLICY = "INSERT INTO policies (digest, body, applied_by, in_force) VALUES ('journals', '', 'max', true) ON CONFLICT DO NOTHING"


async def executing(tables: Tables) -> tuple[UUID, StepKey]:
    run = await tables.run(RunStatus.planning, RunStatus.queued)
    (claim,) = await tables.claimed(run)
    await tables.moved(Move(run, RunStatus.running, by="w1", attempt=claim.attempt, keep_lease=True))
    return run, StepKey(run, 1, 0, Phase.do, claim.attempt)


async def test_a_step_is_begun_reported_and_ended(tables: Tables) -> None:
    run, key = await executing(tables)
    async with transaction(tables.worker) as session:
        await begin_step(session, key, name="a.move", worker="w1")
        await note_progress(session, key, {"done": 1, "total": 2, "note": "half"})
        await add_lines(session, key, ["one", "two"])
        await end_step(session, key, state=StepState.done, result={"moved": [1]})
    async with reading(tables.web) as session:
        (row,) = await find_steps(session, run, revision=1)
        assert (row.state, row.result, row.error, row.progress) == ("done", {"moved": [1]}, "", {"done": 1, "total": 2, "note": "half"})
        assert [one.line for one in await find_lines(session, run)] == ["one", "two"]
        assert [one.line for one in await find_lines(session, run, last=1)] == ["two"]


async def test_what_is_said_again_because_the_answer_was_lost_changes_nothing(tables: Tables) -> None:
    run, key = await executing(tables)
    await tables.execute(POLICY)
    for _ in range(2):
        async with transaction(tables.worker) as session:
            begun = await begin_step(session, key, name="a.move", worker="w1")
        assert begun.tries == 1
    for _ in range(2):
        async with transaction(tables.worker) as session:
            bearing = await find_bearing(session, run)
            after = Finished(key, "moved")
            following = await begin_step_unchanged(session, replace(key, position=1), bearing, name="a.next", worker="w1", after=after)
        assert following is not None
        assert following.tries == 1
    for _ in range(2):
        async with transaction(tables.worker) as session:
            await end_step(session, replace(key, position=1), state=StepState.done, result="moved")
    async with reading(tables.web) as session:
        rows = await find_steps(session, run, revision=1)
        assert [(row.state, row.result, row.tries, row.earlier) for row in rows] == [("done", "moved", 1, [])] * 2
        told = [event.kind for event in await find_trail(session, run)]
    assert told.count("step:done") == 2


@pytest.mark.parametrize("changed", ["", "cancelled_by = 'max'", "paused_by = 'max'"])
async def test_one_statement_ends_a_step_and_begins_the_next_one_unless_something_changed(tables: Tables, changed: str) -> None:
    run, key = await executing(tables)
    following = replace(key, position=1)
    await tables.execute(POLICY)
    async with transaction(tables.worker) as session:
        await begin_step(session, key, name="a.move", worker="w1")
        bearing = await find_bearing(session, run)
    if changed:
        await tables.execute(f"UPDATE runs SET {changed} WHERE id = :run", run=run)  # noqa: S608
    async with transaction(tables.worker) as session:
        begun = await begin_step_unchanged(session, following, bearing, name="a.next", worker="w1", after=Finished(key, {"moved": [1]}))
    async with reading(tables.web) as session:
        first, *others = await find_steps(session, run, revision=1)
    assert (first.state, first.result, first.ended_at is not None) == ("done", {"moved": [1]}, True)
    assert (begun is not None, [(one.position, one.state) for one in others]) == ((False, []) if changed else (True, [(1, "calling")]))
    record = "SELECT audit_detail(canonical, payload) FROM audit_events WHERE kind = 'step:done' AND run_id = :run"
    assert [one[0] for one in await tables.execute(record, run=run)] == [
        {"step": "a.move", "position": 0, "phase": "do", "attempt": key.attempt}
    ]


@pytest.mark.parametrize("how", ["reclaimed", "moved on", "cancelled"])
async def test_an_old_worker_writes_nothing(tables: Tables, how: str) -> None:
    run, key = await executing(tables)
    async with transaction(tables.worker) as session:
        await begin_step(session, key, name="a.move", worker="w1")
        bearing = await find_bearing(session, run)
    if how == "reclaimed":
        await tables.execute("UPDATE runs SET lease_until = countersign_now() - interval '1 second' WHERE id = :run", run=run)
        assert await tables.claimed(run, worker="w2")
    else:
        await tables.moved(Move(run, RunStatus.interrupted if how == "moved on" else RunStatus.cancelled, by="x"))
    writes: list[Callable[[WriteSession], Awaitable[object]]] = [
        lambda session: begin_step(session, key, name="a.move", worker="w1"),
        lambda session: end_step(session, key, state=StepState.done, result="mine"),
        lambda session: begin_step_unchanged(
            session, replace(key, position=1), bearing, name="a.next", worker="w1", after=Finished(key, "mine")
        ),
        lambda session: note_progress(session, key, {"done": 1}),
        lambda session: add_lines(session, key, ["I was here"]),
    ]
    for write in writes:
        with pytest.raises(LostClaim):
            await _written(tables, write)
    async with reading(tables.web) as reader:
        (row,) = await find_steps(reader, run, revision=1)
        assert (row.state, row.result, row.progress) == ("calling", None, None)
        assert await find_lines(reader, run) == []


async def _written(tables: Tables, write: Callable[[WriteSession], Awaitable[object]]) -> None:
    async with transaction(tables.worker) as session:
        await write(session)


async def test_a_finished_step_is_not_begun_again(tables: Tables) -> None:
    _, key = await executing(tables)
    async with transaction(tables.worker) as session:
        await begin_step(session, key, name="a.move", worker="w1")
        await end_step(session, key, state=StepState.done)
    with pytest.raises(LostClaim):
        async with transaction(tables.worker) as session:
            await begin_step(session, key, name="a.move", worker="w1")


@pytest.mark.parametrize(("happened", "state"), [(True, "done"), (False, "not_done")])
async def test_a_persons_word_settles_what_was_in_flight(tables: Tables, happened: bool, state: str) -> None:
    run, key = await executing(tables)
    async with transaction(tables.worker) as session:
        assert not await settle_steps(session, run, revision=1, phase=Phase.do, positions=[0], happened=happened)
        await begin_step(session, key, name="a.move", worker="w1")
        assert await settle_steps(session, run, revision=1, phase=Phase.do, positions=[0], happened=happened)
        (row,) = await find_steps(session, run, revision=1)
    assert row.state == state


@pytest.mark.parametrize(
    ("states", "deaths"),
    [
        ("calling", 1),
        ("calling calling calling", 3),
        ("calling not_done calling", 2),
        ("calling calling not_done", 2),
        ("calling waiting calling", 1),
        ("calling done", 0),
        ("calling waiting", 0),
    ],
)
def test_deaths_are_those_in_the_latest_calls(states: str, deaths: int) -> None:
    *earlier, state = states.split()
    row = StepRow(phase=Phase.do, state=state, earlier=[{"state": one} for one in earlier])
    assert row.deaths == deaths


@pytest.mark.parametrize(("state", "deaths"), [("calling", 2), ("done", 0)])
def test_deaths_in_a_look_up_are_its_tries(state: str, deaths: int) -> None:
    assert StepRow(phase=Phase.lookup, state=state, tries=2, earlier=[]).deaths == deaths
