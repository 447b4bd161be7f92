"""The journal: intent before effect, and a worker whose claim has ended writes nothing any more."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

import pytest

from countersign.runs import RunStatus
from store.audits import find_trail
from store.beginnings import Following, follow
from store.databases import WriteDriver, WriteSession, driver_under, reading, transaction
from store.journals import (
    Begun,
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


async def followed(session: WriteSession, *following: Following) -> list[tuple[bool, Begun | None]]:
    return await follow(WriteDriver(await driver_under(session)), following, worker="w1")


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
            ((held, following),) = await followed(session, Following(replace(key, position=1), "a.next", bearing, after))
        assert held
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


async def test_who_asks_again_and_has_lost_the_claim_meanwhile_begins_nothing(tables: Tables) -> None:
    run, key = await executing(tables)
    await tables.execute(POLICY)
    async with transaction(tables.worker) as session:
        await begin_step(session, key, name="a.move", worker="w1")
        following = Following(replace(key, position=1), "a.next", await find_bearing(session, run), Finished(key, "moved"))
        await end_step(session, key, state=StepState.done, result="moved")
    await tables.execute("UPDATE runs SET attempt = attempt + 1 WHERE id = :run", run=run)
    async with transaction(tables.worker) as session:
        assert await followed(session, following) == [(True, None)]


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
        ((held, begun),) = await followed(session, Following(following, "a.next", bearing, Finished(key, {"moved": [1]})))
    assert held
    async with reading(tables.web) as session:
        first, *others = await find_steps(session, run, revision=1)
    assert (first.state, first.result, first.ended_at is not None) == ("done", {"moved": [1]}, True)
    assert (begun is not None, [(one.position, one.state) for one in others]) == ((False, []) if changed else (True, [(1, "calling")]))
    record = "SELECT audit_detail(canonical, payload) FROM audit_events WHERE kind = 'step:done' AND run_id = :run"
    assert [one[0] for one in await tables.execute(record, run=run)] == [
        {"step": "a.move", "position": 0, "phase": "do", "attempt": key.attempt}
    ]


async def test_of_steps_that_end_in_the_same_instant_each_has_its_own_successor(tables: Tables) -> None:
    await tables.execute(POLICY)
    lost, cancelled, well = [await executing(tables) for _ in range(3)]
    following: list[Following] = []
    for run, key in (lost, cancelled, well, well):
        first, later = replace(key, position=2 * len(following)), replace(key, position=2 * len(following) + 1)
        async with transaction(tables.worker) as session:
            await begin_step(session, first, name="a.move", worker="w1")
            following.append(Following(later, f"a.next{len(following)}", await find_bearing(session, run), Finished(first, [None])))
    await tables.execute("UPDATE runs SET attempt = attempt + 1 WHERE id = :run", run=lost[0])
    await tables.execute("UPDATE runs SET cancelled_by = 'max' WHERE id = :run", run=cancelled[0])
    async with transaction(tables.worker) as session:
        found = await followed(session, *following)
    assert [(held, begun is not None) for held, begun in found] == [(False, False), (True, False), (True, True), (True, True)]
    async with reading(tables.web) as session:
        rows = {run: await find_steps(session, run, revision=1) for run, _ in (lost, cancelled, well)}
    assert [[(one.name, one.state, one.result) for one in rows[run]] for run, _ in (lost, cancelled)] == [
        [("a.move", "calling", None)],
        [("a.move", "done", [None])],
    ]
    assert sorted((one.position, one.name, one.state, one.worker) for one in rows[well[0]]) == [
        (4, "a.move", "done", "w1"),
        (5, "a.next2", "calling", "w1"),
        (6, "a.move", "done", "w1"),
        (7, "a.next3", "calling", "w1"),
    ]
    record = "SELECT (canonical::jsonb ->> 'run')::uuid FROM audit_events WHERE kind = 'step:done' AND run_id = ANY(:runs)"
    told = [one[0] for one in await tables.execute(record, runs=[run for run, _ in (lost, cancelled, well)])]
    assert sorted(told) == sorted([cancelled[0], well[0], well[0]])


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
        lambda session: note_progress(session, key, {"done": 1}),
        lambda session: add_lines(session, key, ["I was here"]),
    ]
    for write in writes:
        with pytest.raises(LostClaim):
            await _written(tables, write)
    async with transaction(tables.worker) as session:
        following = Following(replace(key, position=1), "a.next", bearing, Finished(key, "mine"))
        assert await followed(session, following) == [(False, None)]
        assert await begin_step_unchanged(session, replace(key, position=1), bearing, name="a.next", worker="w1") is None
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
