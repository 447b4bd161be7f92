"""The line at a lock against a simple model, races counted outside, and what a run lets go of by ending."""

import asyncio
import random
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from sqlalchemy import text

from countersign.runs import RunStatus
from store.databases import reading, transaction
from store.locks import Wanted, find_free, find_in_the_way, let_go, take_locks
from store.runs import Move, move
from store.switches import hold, let_go_on
from store.waits import Waiting, WaitKind, park, wake
from tests.hubs import until
from tests.store.tables import Tables

QUEUED = (RunStatus.planning, RunStatus.queued)


@dataclass
class Model:
    """A list for everybody who wants something, in order of arrival, and nothing else."""

    most: dict[str, int]
    line: list[tuple[UUID, int, frozenset[str]]] = field(default_factory=list)
    holding: dict[UUID, frozenset[str]] = field(default_factory=dict)

    def want(self, run: UUID, priority: int, names: frozenset[str]) -> None:
        if run not in self.holding and all(run != one for one, *_ in self.line):
            self.line.append((run, priority, names))
            self.line.sort(key=lambda one: -one[1])  # stable: who came first stays first

    def fits(self, run: UUID) -> bool:
        before = self.line[: next(n for n, one in enumerate(self.line) if one[0] == run)]
        names = next(names for one, _, names in self.line if one == run)

        def used(name: str) -> int:
            return sum(name in held for held in self.holding.values()) + sum(name in wanted for _, _, wanted in before)

        return all(used(name) < self.most[name] for name in names)

    def take(self, run: UUID) -> bool:
        if run in self.holding:
            return True
        if not self.fits(run):
            return False
        self.holding[run] = next(names for one, _, names in self.line if one == run)
        self.leave(run, held=False)
        return True

    def leave(self, run: UUID, *, held: bool = True) -> None:
        self.line = [one for one in self.line if one[0] != run]
        if held:
            self.holding.pop(run, None)


@dataclass
class Dock:
    """Runs that want locks whose names nobody else's test uses."""

    tables: Tables
    mark: str
    attempts: dict[UUID, int] = field(default_factory=dict)

    def wanted(self, names: frozenset[str], most: dict[str, int]) -> list[Wanted]:
        return [Wanted(f"{self.mark} {one}", most[one]) for one in names]

    async def run(self) -> UUID:
        run = await self.tables.run(*QUEUED)
        (claimed,) = await self.tables.claimed(run, lease=3_600)
        self.attempts[run] = claimed.attempt
        return run

    async def take(self, run: UUID, names: frozenset[str], most: dict[str, int], priority: int = 1) -> bool:
        async with transaction(self.tables.worker) as session:
            ahead = await take_locks(session, run, self.wanted(names, most), attempt=self.attempts[run], priority=priority)
        assert ahead is not None
        return not ahead

    async def free(self) -> set[UUID]:
        async with reading(self.tables.worker) as session:
            return set(await find_free(session))


@pytest.mark.parametrize("seed", range(6))
async def test_the_line_is_that_of_a_simple_model(tables: Tables, seed: int) -> None:
    dice = random.Random(seed)
    most = {"a": 1, "b": 2, "c": 1}
    dock, model = Dock(tables, f"model {seed} {random.random()}"), Model(most)
    runs = [await dock.run() for _ in range(8)]
    wants = {one: (dice.randrange(3), frozenset(dice.sample("abc", dice.randint(1, 3)))) for one in runs}
    live = list(runs)
    for _ in range(60):
        if not live:
            break
        run = dice.choice(live)
        if (await tables.row(run)).status == RunStatus.queued and dice.random() < 0.75:
            priority, names = wants[run]
            model.want(run, priority, names)
            assert await dock.take(run, names, most, priority) == model.take(run), (seed, names, model)
        else:
            to = RunStatus.running if run in model.holding and dice.random() < 0.3 else RunStatus.cancelled
            if to is RunStatus.running:
                await tables.moved(Move(run, to, by="test", attempt=dock.attempts[run], keep_lease=True))
                continue
            await tables.moved(Move(run, to, by="test"))
            model.leave(run)
            live.remove(run)
    while live:  # whoever is first in line can always go on: nobody waits in a circle
        for run in list(live):
            priority, names = wants[run]
            row = await tables.row(run)
            if row.status == RunStatus.running:
                await tables.moved(Move(run, RunStatus.cancelled, by="test"))
            else:
                model.want(run, priority, names)
                assert await dock.take(run, names, most, priority) == model.take(run)
                if run not in model.holding:
                    continue
                await tables.moved(Move(run, RunStatus.cancelled, by="test"))
            model.leave(run)
            live.remove(run)


async def test_many_workers_many_runs_and_never_two_holders(tables: Tables) -> None:
    """What is held is counted here, outside of the database; each run wants two of three locks, so that lines cross."""
    dock, most = Dock(tables, f"race {random.random()}"), {"a": 1, "b": 2, "c": 1}
    runs = [await dock.run() for _ in range(24)]
    inside: dict[str, set[UUID]] = {one: set() for one in most}
    dice = random.Random(7)
    wants = {one: frozenset(dice.sample("abc", 2)) for one in runs}
    done: list[UUID] = []

    async def work(run: UUID) -> None:
        await until(lambda: dock.take(run, wants[run], most), seconds=60)
        for name in wants[run]:
            inside[name].add(run)
            assert len(inside[name]) <= most[name], f"{len(inside[name])} hold {name}"
        await asyncio.sleep(dice.random() / 100)
        for name in wants[run]:
            inside[name].discard(run)
        done.append(run)
        await tables.moved(Move(run, RunStatus.cancelled, by="test"))

    async with asyncio.timeout(60):
        await asyncio.gather(*(work(one) for one in runs))
    assert sorted(done) == sorted(runs)


async def test_a_lock_outlives_its_worker_and_an_interrupted_run_and_ends_with_the_run(tables: Tables) -> None:
    dock, most = Dock(tables, f"ends {random.random()}"), {"a": 1}
    first, second = await dock.run(), await dock.run()
    assert await dock.take(first, frozenset("a"), most)
    for status in (RunStatus.running, RunStatus.waiting, RunStatus.running, RunStatus.interrupted, RunStatus.undoing):
        await tables.moved(Move(first, status, by="test"))
        await tables.execute("UPDATE runs SET worker = NULL, lease_until = NULL WHERE id = :run", run=first)
        assert not await dock.take(second, frozenset("a"), most), status
        async with reading(tables.web) as session:
            [ahead] = await find_in_the_way(session, [f"{dock.mark} a"], run_id=second)
        assert (ahead.run_id, ahead.status, ahead.holds) == (first, status, True)
    await tables.moved(Move(first, RunStatus.rolled_back, by="test"))
    assert await dock.take(second, frozenset("a"), most)


async def test_a_plan_made_anew_holds_nothing_until_it_takes_its_turn(tables: Tables) -> None:
    dock, most = Dock(tables, f"anew {random.random()}"), {"a": 1}
    first, second = await dock.run(), await dock.run()
    assert await dock.take(first, frozenset("a"), most)
    await tables.moved(Move(first, RunStatus.stale, by="test"))
    assert await dock.take(second, frozenset("a"), most)
    await tables.moved(Move(first, RunStatus.queued, by="test", revision=2))
    (claimed,) = await tables.claimed(first)
    dock.attempts[first] = claimed.attempt
    assert not await dock.take(first, frozenset("a"), most)


async def test_parked_in_line_it_is_free_when_its_turn_comes_and_one_that_is_held_back_holds_up_nobody(tables: Tables) -> None:
    dock, most = Dock(tables, f"line {random.random()}"), {"a": 1}
    first, second, third = [await dock.run() for _ in range(3)]
    assert await dock.take(first, frozenset("a"), most)
    for run in (second, third):
        assert not await dock.take(run, frozenset("a"), most)
        async with transaction(tables.worker) as session:
            assert await park(session, run, attempt=dock.attempts[run], waits=[Waiting(WaitKind.lock, "first", subject="a")])
    assert not {second, third} & await dock.free()
    await tables.moved(Move(first, RunStatus.cancelled, by="test"))
    assert {second, third} & await dock.free() == {second}
    async with transaction(tables.worker) as session:
        await wake(session, [second])
        assert await hold(session, [second], because="stopped")
    assert third in await dock.free()
    async with transaction(tables.worker) as session:
        await let_go_on(session, [second], statuses=["queued"])
    assert third not in await dock.free()


async def test_a_run_has_what_the_run_above_it_holds(tables: Tables) -> None:
    """Which waits for its end: they would wait for each other."""
    dock, most = Dock(tables, f"above {random.random()}"), {"a": 1, "b": 1}
    parent, child, grandchild, other = [await dock.run() for _ in range(4)]
    for run, above in ((child, parent), (grandchild, child)):
        await tables.execute(
            "INSERT INTO children (run_id, parent_id, revision, position, phase) VALUES (:run, :above, 0, 0, 'do')", run=run, above=above
        )
    assert await dock.take(parent, frozenset("a"), most)
    assert await dock.take(child, frozenset("ab"), most)
    assert await dock.take(grandchild, frozenset("ab"), most)
    assert not await dock.take(other, frozenset("a"), most)


async def test_given_back_it_keeps_its_place(tables: Tables) -> None:
    dock, most = Dock(tables, f"back {random.random()}"), {"a": 1}
    first, second = await dock.run(), await dock.run()
    assert await dock.take(first, frozenset("a"), most)
    async with transaction(tables.worker) as session:
        await let_go(session, first, attempt=1)
    assert not await dock.take(second, frozenset("a"), most), "the first is before it still"
    assert await dock.take(first, frozenset("a"), most)


async def test_only_who_holds_the_claim_takes_a_lock_and_the_web_takes_none(tables: Tables) -> None:
    dock = Dock(tables, f"claim {random.random()}")
    run = await dock.run()
    async with transaction(tables.worker) as session:
        assert await take_locks(session, run, [Wanted(dock.mark, 1)], attempt=dock.attempts[run] - 1, priority=1) is None
    for what in ("DELETE FROM locks", "UPDATE locks SET holds = false"):
        assert not await tables.may("web", what)
    async with transaction(tables.web) as session:
        await session.execute(text("SELECT 1"))
        assert await move(session, [Move(run, RunStatus.cancelled, by="lin")])
