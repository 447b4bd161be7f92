"""Locks as people meet them: who waits for whom, what the card says, who is refused, who is replaced, what is planned anew."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from countersign import RunStatus
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.embedded import DatabaseUrls

SOURCE = '''
"""Ships that dock, one at a time for each dock."""

from pathlib import Path

from countersign import Context, Lock, Plan, PlanningContext, ask_done, command, step

HERE = Path({folder!r})


@step(idempotent=True)
async def land(ctx: Context, dock: str, ship: str) -> None:
    """Lands it."""
    (HERE / dock).write_text(ship)


@step(idempotent=True)
async def leave(ctx: Context, dock: str, ship: str) -> None:
    """Leaves again."""
    (HERE / dock).write_text("")


def plan(dock: str, ship: str) -> Plan:
    return Plan(f"{{ship}} docks at {{dock}}", land(dock, ship).undone_by(leave(dock, ship)), ask_done("kim", f"Unload {{ship}}"))


@command("dock", permission="ships:dock", risk="medium", lock="dock {{dock}}")
async def dock(ctx: PlanningContext, dock: str, ship: str, seen: bool = False) -> Plan:
    """Dock a ship and have it unloaded."""
    if seen and (HERE / dock).exists():
        ctx.watch("there", (HERE / dock).read_text())
    return plan(dock, ship)


@command("rush", permission="ships:dock", risk="medium", lock="dock {{dock}}", priority="high")
async def rush(ctx: PlanningContext, dock: str, ship: str) -> Plan:
    """The same, before others."""
    return plan(dock, ship)


@command("tow", permission="ships:dock", risk="medium", lock=Lock("tug", most=2, conflict="wait"))
async def tow(ctx: PlanningContext, ship: str) -> Plan:
    """There are two tugs."""
    return plan("sea", ship)


@command("inspect", permission="ships:dock", risk="medium", lock=Lock("inspection", conflict="refuse"))
async def inspect(ctx: PlanningContext, ship: str) -> Plan:
    """Only when nobody else inspects."""
    return plan("pier", ship)


@command("paint", permission="ships:dock", risk="medium", lock=Lock("paint {{ship}}", conflict="replace"))
async def paint(ctx: PlanningContext, ship: str, colour: str) -> Plan:
    """The newest colour counts."""
    return plan(f"yard-{{colour}}", ship)


@command("secret", permission="ships:dock", risk="medium", lock="dock {{dock}}", visibility="private")
async def secret(ctx: PlanningContext, dock: str) -> Plan:
    """Nobody is to know."""
    return plan(dock, "a ship")
'''


@pytest.fixture
async def crew(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Ada and Lin dock ships, Kim unloads them."""
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "ships.py").write_text(SOURCE.format(folder=str(tmp_path)))
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", "lin", may=["ships:dock"])
        bot.cast("kim", may=["countersign:approve"])
        yield bot


async def number(bot: Bot, run: RunHandle) -> str:
    return (await bot.card(run)).title.split()[0]


async def unload(bot: Bot, run: RunHandle) -> None:
    await Member(bot, "kim").do(f"task answer {run.id}", expect="Thank you")


async def test_a_further_run_waits_for_its_turn_and_says_for_whom(crew: Bot) -> None:
    ada, lin = Member(crew, "ada"), Member(crew, "lin")
    first, second = await ada.say("/dock east Ark"), await lin.say("/dock east Beagle")
    other = await lin.say("/dock west Calypso")
    assert (first.status, second.status, other.status) == (RunStatus.waiting, RunStatus.queued, RunStatus.waiting)
    card = await crew.card(second)
    said = f"Waits: run {await number(crew, first)}, which holds dock east (since 2"
    assert said in card.text
    assert f"(waits: run {await number(crew, first)}, which holds dock east)" in (await ada.ask("runs")).reply.code
    third = await ada.say("/dock east Dove")
    assert "1 in line before it (since" in (await crew.card(third)).text
    await unload(crew, first)
    assert first.succeeded
    assert (second.status, third.status) == (RunStatus.waiting, RunStatus.queued)
    assert f"Waits: run {await number(crew, second)}, which holds dock east" in (await crew.card(third)).text
    await unload(crew, second)
    await unload(crew, third)
    assert third.succeeded
    assert (third.trail.count("run:parked"), third.trail.count("run:woken")) == (1, 1)
    await unload(crew, other)


async def test_a_higher_priority_comes_first_and_a_cancelled_one_leaves_the_line(crew: Bot) -> None:
    ada = Member(crew, "ada")
    first, second, third, rushed = [await ada.say(f"/{what}") for what in ("dock n A", "dock n B", "dock n C", "rush n D")]
    await ada.cancel(second, expect="is cancelled; nothing was done")
    await unload(crew, first)
    assert (rushed.status, third.status) == (RunStatus.waiting, RunStatus.queued)
    await ada.cancel(rushed, expect="is asked to stop")
    assert rushed.status is RunStatus.interrupted, "it keeps its lock until somebody says what becomes of it"
    assert "holds dock n and is interrupted: somebody has to say what happened" in (await crew.card(third)).text
    await ada.resume(rushed, "undo")
    assert (rushed.status, third.status) == (RunStatus.rolled_back, RunStatus.waiting)
    await unload(crew, third)


async def test_so_many_at_a_time(crew: Bot) -> None:
    runs = [await Member(crew, "ada").say(f"/tow s{n}") for n in range(4)]
    assert [one.status for one in runs] == [RunStatus.waiting] * 2 + [RunStatus.queued] * 2
    assert (await crew.card(runs[2])).text.count("which holds tug") == 2
    await unload(crew, runs[1])
    assert [one.status for one in runs] == [RunStatus.waiting, RunStatus.succeeded, RunStatus.waiting, RunStatus.queued]
    for one in (runs[0], runs[2], runs[3]):
        await unload(crew, one)
        assert one.succeeded


async def test_where_it_refuses_nobody_is_asked_and_nothing_is_done(crew: Bot) -> None:
    ada, lin = Member(crew, "ada"), Member(crew, "lin")
    async with crew.held():
        runs = await lin.say("/inspect Beagle"), await ada.say("/inspect Ark")
    await crew.refresh()
    # Asked at the same moment, either may be the first to be carried out.
    late, beaten = sorted(runs, key=lambda one: one.status is RunStatus.cancelled)
    assert (late.status, beaten.status) == (RunStatus.waiting, RunStatus.cancelled)
    assert beaten.outcome == f"Nothing was done, because of run {await number(crew, late)}, which holds inspection."
    refused = await ada.say("/inspect Ark")
    assert refused.outcome == f"Not now: run {await number(crew, late)}, which holds inspection. Ask again when that has ended."
    await unload(crew, late)
    again = await ada.say("/inspect Ark")
    assert again.status is RunStatus.waiting
    await unload(crew, again)


async def test_the_newest_replaces_those_before_it(crew: Bot) -> None:
    ada, lin = Member(crew, "ada"), Member(crew, "lin")
    first = await ada.say("/paint Ark red")
    second = await ada.say("/paint Ark green")
    assert first.status is RunStatus.interrupted, "its first step was done, so a person says what becomes of that"
    third = await lin.say("/paint Ark blue")
    assert (second.status, second.outcome) == (RunStatus.cancelled, f"Replaced by run {await number(crew, third)} of lin.")
    assert third.status is RunStatus.queued
    await ada.resume(first, "undo")
    assert (first.status, third.status) == (RunStatus.rolled_back, RunStatus.waiting)
    await unload(crew, third)
    assert third.succeeded


async def test_what_was_approved_is_compared_with_the_world_as_it_is_when_the_lock_is_taken(crew: Bot) -> None:
    crew.policy(rules=[{"name": "docks", "command": "dock", "approve": {"by": "countersign:approve"}}])
    ada, kim = Member(crew, "ada"), Member(crew, "kim")
    first = await ada.say("/dock south Ark yes")
    await kim.approve(first)
    second = await ada.say("/dock south Beagle yes")
    await kim.approve(second)
    async with crew.held():
        await unload(crew, first)
    (Path(crew.services.settings.commands or "").parent / "south").write_text("something else")
    await crew.refresh()
    assert second.trail[-1] == "run:awaiting_approval"
    assert any("there" in one for one in second.changed)
    await kim.approve(second)
    assert second.status is RunStatus.waiting
    await unload(crew, second)


async def test_a_private_run_is_not_named_to_others(crew: Bot) -> None:
    ada = Member(crew, "ada")
    hidden, waits = await ada.say("/secret cove"), await ada.say("/dock cove Ark")
    assert "Waits: a private run, which holds dock cove" in (await crew.card(waits)).text
    await unload(crew, hidden)
    await unload(crew, waits)


async def test_a_kill_switch_and_a_restart_lose_no_place(crew: Bot, bot_database: DatabaseUrls, tmp_path: Path) -> None:
    ada = Member(crew, "ada")
    first, second = await ada.say("/dock bay Ark"), await ada.say("/dock bay Beagle")
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as again:
        again.cast("ada", "lin", may=["ships:dock"])
        again.cast("kim", may=["countersign:approve"])
        there = [await again.watch(one.id, one.reply) for one in (first, second)]
        await unload(again, there[0])
        assert [one.status for one in there] == [RunStatus.succeeded, RunStatus.waiting]
        await unload(again, there[1])
        assert there[1].succeeded
