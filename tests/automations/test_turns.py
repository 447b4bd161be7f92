"""Calls of an integration that may be called so often only: each has its turn, and whoever waits for long holds no worker."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from kit.bots import Bot, Member, RunHandle
from store.databases import reading, transaction

GAUGES = '''

from collections.abc import AsyncIterator

from countersign import Integration, acts, reads


class Gauge(Integration):
    @reads
    async def look(self) -> str:
        """Looks."""
        trace("o")
        return "well"

    @acts(repeat="once")
    async def push(self, what: str) -> AsyncIterator[int]:
        trace("+" + what)
        yield 1


@step(timeout="2s")
async def push(ctx: Context, what: str, times: int = 1) -> None:
    """Pushes it so many times."""
    for _ in range(times):
        async for _one in ctx.use(Gauge).push(what):
            pass


@step()
async def push_both(ctx: Context) -> None:
    """Pushes two at once."""

    async def pushed(what: str) -> None:
        async for _one in ctx.use(Gauge).push(what):
            pass

    await asyncio.gather(pushed("x"), pushed("y"))


@command("vain", permission="cart:fill", risk="medium")
async def vain(ctx: PlanningContext) -> Plan:
    """Push something that has to be taken back."""
    return Plan("pushes in vain", push("a").undone_by(push("b")), fail())


@command("both", permission="cart:fill", risk="medium")
async def both(ctx: PlanningContext) -> Plan:
    """Push two things at once."""
    return Plan("pushes both", push_both())


@command("push", permission="cart:fill", risk="medium")
async def push_it(ctx: PlanningContext, what: str, times: int = 1, beside: int = 1) -> Plan:
    """Push something."""
    return Plan(f"pushes {what}", parallel(*[push(what, times) for _ in range(beside)]))


@step(timeout="0.2s")
async def hang(ctx: Context) -> None:
    """Takes too long."""
    await asyncio.sleep(30)


@step(reads=True)
async def is_well(ctx: Context) -> bool:
    """Looks."""
    return await ctx.use(Gauge).look() == "well"


@command("hang", permission="cart:fill", risk="medium")
async def hang_it(ctx: PlanningContext) -> Plan:
    """Push something, and do something whose outcome has to be looked up."""
    return Plan("hangs", push("a"), hang().looked_up_by(is_well()))


@command("gauge", permission="cart:fill", risk="medium")
async def gauge(ctx: PlanningContext) -> Plan:
    """Push what is seen."""
    return Plan("pushes what is seen", push(await ctx.use(Gauge).look()))
'''


@pytest.fixture
def trace(trace: Path) -> Path:
    with (trace.parent / "commands" / "carts.py").open("a") as file:
        file.write(GAUGES)
    return trace


@pytest.fixture(autouse=True)
async def _nothing_counted(crew: Bot) -> None:
    async with transaction(crew.owner) as session:
        await session.execute(text("DELETE FROM limit_uses"))


def limited(monkeypatch: pytest.MonkeyPatch, rate: str) -> None:
    monkeypatch.setenv("COUNTERSIGN_GAUGE__RATE_LIMIT", rate)


def told(trace: Path) -> str:
    return " ".join(trace.read_text().split()) if trace.exists() else ""


async def tries(crew: Bot, run: RunHandle) -> list[int]:
    async with reading(crew.services.engine) as session:
        rows = await session.execute(text("SELECT tries FROM steps WHERE run_id = :run AND position >= 0"), {"run": run.id})
        return [row.tries for row in rows]


async def test_a_step_whose_turn_comes_later_holds_no_worker(ada: Member, crew: Bot, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, "2/minute")
    assert [(await ada.say(f"push {what}")).status for what in "ab"] == ["succeeded", "succeeded"]
    waiting = [await ada.say(f"push {what}") for what in "cde"]
    assert [run.status for run in waiting] == ["waiting"] * 3
    card = (await crew.card(waiting[0])).text
    assert "Waits: its turn at gauge: 2 a minute (since " in card
    await crew.later("61s")
    assert [run.status for run in waiting] == ["succeeded", "succeeded", "waiting"]
    assert await tries(crew, waiting[0]) == [1], "that it waited is no failure"
    assert sorted(told(trace).split()) == ["+a", "+b", "+c", "+d"]
    await crew.later("60s")
    assert waiting[2].status == "succeeded"
    assert told(trace).endswith(" +e")


async def test_steps_beside_each_other_each_have_a_turn(ada: Member, crew: Bot, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, "2/minute")
    run = await ada.say("push a beside=5")
    assert (run.status, told(trace)) == ("waiting", "+a +a")
    await crew.later("61s")
    assert (run.status, told(trace)) == ("waiting", "+a +a +a +a")
    await crew.later("61s")
    assert (run.status, told(trace)) == ("succeeded", "+a +a +a +a +a")


async def test_a_later_call_waits_where_it_is_and_the_time_of_the_step_stands_still(
    ada: Member, crew: Bot, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, "1/2s")
    asking = asyncio.create_task(ada.say("push a times=3"))
    said: Any = None
    while not said and not asking.done():
        await asyncio.sleep(0.05)
        async with reading(crew.services.engine) as session:
            said = (await session.execute(text("SELECT progress ->> 'note' FROM steps WHERE progress IS NOT NULL"))).scalar()
    began = time.monotonic()
    run = await asking
    assert said == "waits for its turn at gauge: 1 in 2s"
    assert (run.status, run.outcome, told(trace)) == ("succeeded", "", "+a +a +a"), "it may take 2 s, and waited for 4"
    assert time.monotonic() - began > 2


async def test_calls_beside_each_other_are_not_made_before_and_after_it_waited(
    ada: Member, crew: Bot, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, "2/minute")
    await ada.say("push a times=2")
    run = await ada.say("both")
    await asyncio.sleep(0.1)
    assert (run.status, told(trace)) == ("waiting", "+a +a")
    await crew.later("61s")
    assert (run.status, sorted(told(trace).split())) == ("succeeded", ["+a", "+a", "+x", "+y"])


async def test_an_undo_whose_turn_comes_later_is_waited_for(ada: Member, crew: Bot, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, "1/minute")
    run = await ada.say("vain")
    assert (run.status, told(trace)) == ("undoing", "+a !")
    assert "Waits: its turn at gauge: 1 a minute" in (await crew.card(run)).text
    await crew.later("61s")
    assert (run.status, told(trace)) == ("rolled_back", "+a ! +b")


async def test_a_plan_that_has_to_look_is_made_when_it_may(ada: Member, crew: Bot, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, "1/minute")
    assert (await ada.say("push a")).status == "succeeded"
    run = await ada.say("gauge")
    assert (run.status, told(trace)) == ("planning", "+a")
    assert run.outcome == "Waits for its turn at gauge: 1 a minute."
    for _ in range(9):
        await crew.later("61s")
    assert (run.status, run.outcome) == ("succeeded", "")
    assert told(trace).endswith("o +well")


@pytest.mark.parametrize("times", [1, 2])
async def test_a_cancel_reaches_a_call_that_waits(ada: Member, crew: Bot, trace: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    limited(monkeypatch, "1/hour")
    if times == 1:
        await ada.say("push a")
    asking = asyncio.create_task(ada.say(f"push b times={times}"))
    waits = "SELECT (SELECT count(*) FROM limit_uses WHERE used_at > countersign_now()), (SELECT max(id::text) FROM runs)"
    turns, run_id = 0, ""
    while not turns:
        await asyncio.sleep(0.02)
        async with reading(crew.services.engine) as session:
            turns, run_id = (await session.execute(text(waits))).one()
    began = time.monotonic()
    said = await ada.ask(f"cancel {run_id}")
    run = await asking
    await crew.refresh()
    assert (run.status, time.monotonic() - began < 30) == ("cancelled", True), said.reply.text
    fresh = await ada.say("push c")
    async with reading(crew.services.engine) as session:
        places = (await session.execute(text("SELECT count(*) FROM limit_uses WHERE used_at > countersign_now()"))).scalar()
    assert (fresh.status, places) == ("waiting", 1), "what is cancelled gives its place back"


async def test_a_look_up_whose_turn_comes_much_later_leaves_it_to_a_person(
    ada: Member, crew: Bot, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, "1/hour")
    run = await ada.say("hang")
    assert run.status == "interrupted"
    assert "is_well() says: it cannot say (its turn at gauge: 1 an hour comes too late); it may have happened." in run.outcome
    assert told(trace) == "+a"
