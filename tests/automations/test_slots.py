"""Never more runs at once than slots; a few are made ready meanwhile, and none of them waits here for long."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from automations import halting, lookouts, slots
from automations.executing import execute_runs
from automations.slots import AHEAD, Slot, Slots
from kit.bots import Bot, Member, RunHandle
from store import beginnings
from store.databases import WriteDriver, reading, transaction
from store.journals import Bearing, StepKey
from store.runs import RunRow, search_runs
from tests.automations.carts import traced
from tests.hubs import until

_NEWEST = "(SELECT id FROM runs WHERE command = 'course' ORDER BY number DESC LIMIT 1)"
_STEPS = f"SELECT state, tries FROM steps WHERE position >= 0 AND run_id = {_NEWEST} ORDER BY position"  # noqa: S608


@given(count=st.integers(1, 4), waits=st.lists(st.integers(0, 3), max_size=20))
def test_at_most_so_many_have_one_and_all_get_one_in_turn(count: int, waits: list[int]) -> None:
    async def all_of_them() -> None:
        had, most, order = 0, Slots(count), list[int]()

        async def one(n: int, turns: int) -> None:
            nonlocal had
            slot = Slot(most)
            assert await slot.take()
            assert await slot.take(), "it has it already"
            order.append(n)
            had += 1
            assert had <= count
            for _ in range(turns):
                await asyncio.sleep(0)
            had -= 1
            slot.free()
            slot.free()

        await asyncio.gather(*(one(n, turns) for n, turns in enumerate(waits)))
        assert order == sorted(order)
        assert not had

    asyncio.run(all_of_them())


async def test_runs_are_made_ready_only_while_slots_become_free_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "BRISK_SECONDS", 0.05)
    most = Slots(4)
    assert most.hands == 4
    assert most.seconds_between > slots.BRISK_SECONDS, "nobody knows yet"
    held = [Slot(most) for _ in range(4)]
    for one in held:
        assert await one.take()
    held[0].free()
    assert most.hands == 4 + AHEAD + 2 + 2
    assert most.seconds_between < slots.BRISK_SECONDS / 4
    assert await held[0].take()
    assert not await Slot(most).take()
    assert most.hands == 4, "nobody waits here any more until one has become free"
    held[0].free()
    for _ in range(8):
        assert await held[0].take()
        held[0].free()
    assert most.hands == 4 + AHEAD + 2 + 2


async def waiting(crew: Bot, ada: Member, how: str, *, soon: bool = False) -> "tuple[Slot, asyncio.Task[RunHandle]]":
    """The only slot, which somebody else has, and a run that waits for it; `soon`: it has been free after a moment until now."""
    crew.services.slots = Slots(1)
    busy = Slot(crew.services.slots)
    if soon:
        assert await busy.take()
        busy.free()
    assert await busy.take()
    return busy, asyncio.create_task(ada.say(f"course how='{how}'"))


async def row_of(crew: Bot) -> RunRow | None:
    async with reading(crew.services.engine) as session:
        return next(iter(await search_runs(session, asker="ada", command="course", limit=1)), None)


async def states(crew: Bot) -> list[tuple[str, int]]:
    async with reading(crew.services.engine) as session:
        found = await session.execute(text(_STEPS))
        return [(row.state, row.tries) for row in found]


async def begun(crew: Bot) -> None:
    async def calling() -> bool:
        return await states(crew) == [("calling", 1)]

    await until(calling, what="its first step has begun")


async def seen(crew: Bot, *, unchanged: bool = True) -> None:
    async def looked() -> bool:
        return [one.recent for one in crew.services.lookout.watched] == [unchanged]

    await until(looked, what="somebody has looked at the run that waits")


def looks_of_runs(monkeypatch: pytest.MonkeyPatch) -> list[StepKey]:
    """What runs look at by themselves before they make a call that began ahead."""
    asked: list[StepKey] = []

    async def find_unchanged(driver: WriteDriver, begun: Sequence[tuple[StepKey, Bearing]]) -> list[bool]:
        asked.extend(key for key, _ in begun)
        return await beginnings.find_unchanged(driver, begun)

    monkeypatch.setattr(halting, "find_unchanged", find_unchanged)
    return asked


@pytest.mark.parametrize(("how", "status", "left"), [("once only", "queued", []), ("slowly", "running", [("not_done", 1)])])
async def test_a_run_that_gets_no_slot_in_time_is_given_back_uncalled(
    crew: Bot, ada: Member, trace: Path, monkeypatch: pytest.MonkeyPatch, how: str, status: str, left: list[tuple[str, int]]
) -> None:
    monkeypatch.setattr(slots, "BRISK_SECONDS", 0.1)
    busy, working = await waiting(crew, ada, how)

    async def given_back() -> bool:
        row = await row_of(crew)
        return row is not None and row.attempt > 1 and row.worker is None and row.status == status

    await until(given_back, what="it is given back")
    assert traced(trace) == []
    assert await states(crew) == left
    busy.free()
    run = await working
    assert run.succeeded
    assert "run:given_back" in run.trail
    assert {*traced(trace)} == ({"?a", "+a"} if how == "once only" else {"?a", "+a", "?b", "+b"})
    assert len(traced(trace)) == len({*traced(trace)})
    assert {tries for _, tries in await states(crew)} == {1}


async def test_a_step_that_may_be_repeated_begins_ahead_of_its_slot_and_is_called_in_it(crew: Bot, ada: Member, trace: Path) -> None:
    busy, working = await waiting(crew, ada, "slowly")
    await begun(crew)
    assert traced(trace) == []
    busy.free()
    run = await working
    assert run.succeeded
    assert traced(trace) == ["?a", "+a", "?b", "+b"]
    assert await states(crew) == [("done", 1), ("done", 1)]


async def test_nobody_looks_once_more_at_what_was_seen_a_moment_before(
    crew: Bot, ada: Member, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookouts, "RECENT_SECONDS", 60.0)
    asked = looks_of_runs(monkeypatch)
    busy, working = await waiting(crew, ada, "slowly", soon=True)
    await begun(crew)
    await seen(crew)
    busy.free()
    assert (await working).succeeded
    assert traced(trace) == ["?a", "+a", "?b", "+b"]
    assert asked == []


@pytest.mark.parametrize("soon", [False, True])
@pytest.mark.parametrize(
    ("change", "status"), [("cancelled_by = 'max'", "cancelled"), ("paused_by = 'max'", "waiting"), ("attempt = attempt + 1", "running")]
)
async def test_what_changes_before_the_call_stands_in_its_way(
    crew: Bot, ada: Member, trace: Path, monkeypatch: pytest.MonkeyPatch, change: str, status: str, soon: bool
) -> None:
    """Whether it looks by itself when it has its slot, or is looked at while it waits for one that is free `soon`."""
    monkeypatch.setattr(lookouts, "RECENT_SECONDS", 60.0)
    busy, working = await waiting(crew, ada, "slowly", soon=soon)
    await begun(crew)
    if soon:
        await seen(crew)
    async with transaction(crew.owner) as session:
        await session.execute(text(f"UPDATE runs SET {change} WHERE id = {_NEWEST}"))  # noqa: S608
    await seen(crew, unchanged=False)
    busy.free()
    await working
    row = await row_of(crew)
    assert row is not None
    assert row.status == status
    assert traced(trace) == []
    async with transaction(crew.owner) as session:
        await session.execute(
            text("UPDATE runs SET due_at = NULL, lease_until = NULL, status = 'cancelled' WHERE status NOT IN ('succeeded', 'cancelled')")
        )


async def test_further_runs_are_taken_several_at_a_time() -> None:
    """While three are ready for two slots, those that are in hand behind them wait for company."""
    most = Slots(2)
    held = [Slot(most), Slot(most)]
    for one in held:
        assert await one.take()
    held[0].free()
    assert await held[0].take()
    assert most.hands == 2 + (AHEAD + 1) + 1
    ready = [Slot(most, comes=True) for _ in range(AHEAD + 1)]
    most.come(len(ready))
    short = asyncio.create_task(most.until_short())
    await asyncio.sleep(0)
    assert not short.done()
    held[0].free()
    assert await ready[0].take()
    await short
    most.come(1)
    short = asyncio.create_task(most.until_short())
    await asyncio.sleep(0)
    assert not short.done()
    with ready[1]:
        pass  # it did not begin after all
    await short


async def test_claims_without_a_policy_to_go_by_are_not_waited_for(crew: Bot, ada: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    """Postgres is gone between the claim and the look at the policy: nothing here carries them out."""
    async with crew.held():
        run = await ada.say("course how='once only'")
        answers = iter([await crew.services.recent_rulebook()])

        async def gone(*, seconds: float = 0.0) -> Any:
            if (found := next(answers, None)) is None:
                raise ConnectionError
            return found

        monkeypatch.setattr(crew.services, "recent_rulebook", gone)
        with pytest.raises(ConnectionError):
            await execute_runs(crew.services, [run.id])
        monkeypatch.undo()
    assert crew.services.slots._next == 0
    await crew.later("2m")
    assert run.succeeded, run.outcome
