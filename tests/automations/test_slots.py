"""Never more runs at once than slots; a few are made ready meanwhile, and none of them waits here for long."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from automations import slots
from automations.slots import AHEAD, ALONE_SECONDS, Slot, Slots, Suspects
from kit.bots import Bot, Member
from store.databases import reading
from store.runs import search_runs
from tests.automations.carts import traced
from tests.hubs import until


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
    held = [Slot(most) for _ in range(4)]
    for one in held:
        assert await one.take()
    held[0].free()
    assert most.hands == 4 + AHEAD + 1
    assert await held[0].take()
    assert not await Slot(most).take()
    assert most.hands == 4, "nobody waits here any more until one has become free"
    held[0].free()
    for _ in range(3):
        assert await held[0].take()
        held[0].free()
    assert most.hands == 4 + AHEAD + 1


async def test_a_run_that_gets_no_slot_in_time_is_given_back_unbegun(
    crew: Bot, ada: Member, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "BRISK_SECONDS", 0.1)
    crew.services.slots = Slots(1)
    busy = Slot(crew.services.slots)
    assert await busy.take()
    working = asyncio.create_task(ada.say("course how=slowly"))

    async def given_back() -> bool:
        async with reading(crew.services.engine) as session:
            rows = await search_runs(session, asker="ada", command="course", limit=1)
            return bool(rows) and rows[0].attempt > 1 and rows[0].worker is None and rows[0].status == "queued"

    await until(given_back, what="it is given back")
    assert traced(trace) == []
    async with reading(crew.services.engine) as session:
        assert (await session.execute(text("SELECT count(*) FROM steps"))).scalar_one() == 0
    busy.free()
    run = await working
    assert run.succeeded
    assert "run:given_back" in run.trail
    assert traced(trace) == ["?a", "+a", "?b", "+b"]


def test_one_suspect_at_a_time_and_none_holds_the_others_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now, suspects, (first, second, third) = 100.0, Suspects(), [uuid4() for _ in range(3)]
    monkeypatch.setattr("automations.slots.time.monotonic", lambda: now)
    assert suspects.admit(first)
    assert not suspects.admit(second)
    suspects.clear(first)
    assert suspects.admit(second)
    now += ALONE_SECONDS
    assert suspects.admit(third), "the second goes on beside it"
    suspects.clear(second)
    assert not suspects.admit(first), "whose turn has passed clears nobody else's"
