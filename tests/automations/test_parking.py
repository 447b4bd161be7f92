"""Runs that wait: they hold no claim, survive every restart, are woken once, and can be cancelled while they wait."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from countersign import RunStatus
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.claims import find_due
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from store.waits import wake
from tests.hubs import until

SOURCE = '''
"""A kiln whose steps leave a trace."""

import asyncio
from pathlib import Path

from countersign import Context, Plan, PlanningContext, command, step

TRACE = Path({trace!r})


@step()
async def fire(ctx: Context, what: str) -> None:
    """Fires it, which happens once."""
    with TRACE.open("a") as file:
        file.write("+" + what + "\\n")
    if what == "first":
        (TRACE.parent / "reached").touch()
        while not (TRACE.parent / "go").exists() and not await ctx.cancelled():
            await asyncio.sleep(0.02)


@step()
async def cool(ctx: Context, what: str) -> None:
    """Takes it out again."""
    with TRACE.open("a") as file:
        file.write("-" + what + "\\n")


@command("kiln", permission="kiln:fire", risk="medium")
async def kiln(ctx: PlanningContext) -> Plan:
    """Fire two pots."""
    return Plan("fires two pots", fire("first").undone_by(cool("first")), fire("second").undone_by(cool("second")))
'''


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "kilns.py").write_text(SOURCE.format(trace=str(tmp_path / "trace")))
    (tmp_path / "trace").touch()
    return tmp_path / "trace"


@pytest.fixture
async def crew(bot_database: DatabaseUrls, trace: Path, tmp_path: Path) -> AsyncIterator[Bot]:
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        gather(bot)
        yield bot


def gather(bot: Bot) -> None:
    bot.cast("ada", may=["kiln:fire"])
    bot.cast("eve")


def done(trace: Path) -> list[str]:
    return trace.read_text().split()


async def paused(crew: Bot, trace: Path) -> RunHandle:
    """A run of Ada's that was paused while its first step ran, and has come to the second."""
    ada = Member(crew, "ada")
    answer = await ada.ask("/kiln")
    assert answer.run_id is not None
    working = asyncio.create_task(crew.settle())

    async def reached() -> bool:
        return (trace.parent / "reached").exists()

    await until(reached)
    said = (await ada.ask(f"pause {answer.run_id}")).reply.text
    assert said.endswith("stops before its next step."), said
    (trace.parent / "go").touch()
    await working
    return await crew.watch(answer.run_id, answer.reply)


async def row(crew: Bot, run: RunHandle) -> tuple[str, object, object, object]:
    async with reading(crew.services.engine) as session:
        found = await session.execute(text("SELECT status, worker, lease_until, due_at FROM runs WHERE id = :run"), {"run": run.id})
        one = found.one()
    return one.status, one.worker, one.lease_until, one.due_at


async def test_a_paused_run_ends_its_step_gives_its_claim_back_and_says_since_when(crew: Bot, trace: Path) -> None:
    run = await paused(crew, trace)
    assert await row(crew, run) == ("waiting", None, None, None)
    assert done(trace) == ["+first"]
    card = await crew.card(run)
    assert "Waits: paused by ada; somebody has to let it go on (since 2" in card.text
    assert [one.label for one in card.buttons if one.intent in ("pause", "unpause", "cancel")] == ["Go on", "Cancel"]
    async with reading(crew.services.engine) as session:
        due = await find_due(session, statuses=list(RunStatus), quiet=0, limit=1_000)
    assert run.id not in due, "no worker is told of it"


async def test_let_go_on_it_goes_on_after_what_is_done(crew: Bot, trace: Path) -> None:
    run = await paused(crew, trace)
    await Member(crew, "ada")._press(run, "unpause", "goes on.")
    assert (run.status, done(trace)) == (RunStatus.succeeded, ["+first", "+second"])
    assert [one for one in run.trail if one.startswith(("run:waiting", "pause:", "unpause:"))] == [
        "pause:asked",
        "run:waiting",
        "unpause:asked",
    ]
    await Member(crew, "ada")._press(run, "unpause", "is not running; it is succeeded")


async def test_woken_by_several_at_once_it_goes_on_once(crew: Bot, trace: Path) -> None:
    run = await paused(crew, trace)

    async def woken() -> int:
        async with transaction(crew.services.engine) as session:
            await session.execute(text("UPDATE runs SET paused_by = NULL WHERE id = :run"), {"run": run.id})
            return len(await wake(session, [run.id]))

    assert sorted(await asyncio.gather(*(woken() for _ in range(4)))) == [0, 0, 0, 1]
    await asyncio.gather(crew.settle(), crew.settle(), crew.refresh())
    await crew.refresh()
    assert (run.status, done(trace)) == (RunStatus.succeeded, ["+first", "+second"])
    assert run.trail.count("run:running") == 2


async def test_cancelled_while_it_waits_it_stops_and_offers_to_undo(crew: Bot, trace: Path) -> None:
    run = await paused(crew, trace)
    await Member(crew, "ada").cancel(run, expect="is asked to stop")
    assert run.status is RunStatus.interrupted
    assert "what was done before can be undone" in run.outcome
    await Member(crew, "ada").resume(run, "undo")
    assert (run.status, done(trace)) == (RunStatus.rolled_back, ["+first", "-first"])


async def test_what_waits_survives_a_restart_of_everything(crew: Bot, trace: Path, bot_database: DatabaseUrls, tmp_path: Path) -> None:
    run = await paused(crew, trace)
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as again:
        gather(again)
        there = await again.watch(run.id, run.reply)
        assert there.status is RunStatus.waiting
        await Member(again, "ada")._press(there, "unpause", "goes on.")
        assert there.succeeded
    assert done(trace) == ["+first", "+second"]


async def test_a_wait_that_nobody_woke_is_found_by_the_sweep(crew: Bot, trace: Path) -> None:
    """The word to go on that came an instant before the run was parked, and a row that is gone."""
    run = await paused(crew, trace)
    async with transaction(crew.services.engine) as session:
        await session.execute(text("DELETE FROM waits WHERE run_id = :run"), {"run": run.id})
    await crew.refresh()
    assert run.status is RunStatus.waiting, "it is paused still, so it looked and waits again"
    async with transaction(crew.services.engine) as session:
        await session.execute(text("UPDATE runs SET paused_by = NULL WHERE id = :run"), {"run": run.id})
    await crew.refresh()
    assert run.succeeded


async def test_eve_pauses_nothing(crew: Bot, trace: Path) -> None:
    run = await paused(crew, trace)
    for what in ("pause", "unpause"):
        await Member(crew, "eve")._press(run, what, "Only ada, those who may approve it and admins can pause run")
    assert run.status is RunStatus.waiting
    assert [one for one in run.trail if one.endswith(":refused")] == ["pause:refused", "unpause:refused"]
