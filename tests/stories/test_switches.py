"""Kill switches from the word in chat to the step that does not begin: at once, without workers, and off again only by a plan."""

from asyncio import gather
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from countersign import RunStatus
from kit.bots import Bot, Member
from kit.fixtures import open_bot
from kit.servers import Servers
from store.databases import transaction
from tests.hubs import until

COMMANDS = '''
import asyncio
from pathlib import Path

from countersign import Context, Integration, Plan, PlanningContext, Reply, acts, command, reads, step

FOLDER = Path({folder!r})


class Lamps(Integration):
    @reads
    async def lit(self) -> int:
        return len(list(FOLDER.glob("lamp-*")))

    @acts(repeat="idempotent")
    async def light(self, name: str) -> None:
        (FOLDER / f"lamp-{{name}}").touch()


@step(idempotent=True)
async def light(ctx: Context, name: str) -> None:
    await ctx.use(Lamps).light(name)


@step(idempotent=True)
async def wait_for(ctx: Context, name: str) -> None:
    (FOLDER / "waiting").touch()
    while not (FOLDER / name).exists():
        await asyncio.sleep(0.01)


@step()
async def light_all(ctx: Context) -> None:
    lamps = ctx.use(Lamps)
    await lamps.light("first")
    (FOLDER / "waiting").touch()
    while not (FOLDER / "go").exists():
        await asyncio.sleep(0.01)
    await lamps.light("second")


@command("glow", permission="lamp:light", risk="medium")
async def glow(ctx: PlanningContext, wait: bool = False) -> Plan:
    """Light two lamps, one after the other."""
    steps = [light("a"), wait_for("go"), light("b")] if wait else [light("a"), light("b")]
    return Plan("two lamps", *steps)


@command("glow all", permission="lamp:light", risk="medium")
async def glow_all(ctx: PlanningContext) -> Plan:
    """Light all lamps in one step that is not to be repeated."""
    return Plan("all lamps", light_all())


@command("count", permission="lamp:count", risk="read")
async def count(ctx: PlanningContext) -> Reply:
    """Count the lamps that are lit."""
    return Reply(text=f"{{await ctx.use(Lamps).lit()}} are lit")


@command("dim", permission="lamp:light", risk="medium")
async def dim(ctx: PlanningContext) -> Plan:
    """Light a lamp that needs no look at the others."""
    return Plan("a lamp", light("dim"))
'''
STOPS = ["countersign:stop", "countersign:read-only", "countersign:stop-command", "countersign:stop-integration"]
Crew = tuple[Bot, Member, Member, Member]


@pytest.fixture
async def crew(servers: Servers, tmp_path: Path) -> AsyncIterator[Crew]:
    """Ada lights lamps, Lin may stop, Max may start again, Kim approves that. On a database of its own, because all of it stops."""
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "lamps.py").write_text(COMMANDS.format(folder=str(tmp_path)))
    async with open_bot(servers.fresh_database(), tmp_path, commands=tmp_path / "commands") as bot:
        (ada,) = bot.cast("ada", may=["lamp:light", "lamp:count"])
        (lin,) = bot.cast("lin", may=STOPS)
        (max_,) = bot.cast("max", may=["countersign:start"])
        bot.cast("kim", may=["countersign:start"])
        yield bot, ada, lin, max_


def lit(folder: Path) -> list[str]:
    return sorted(one.name.removeprefix("lamp-") for one in folder.glob("lamp-*"))


async def stop(crew: Crew, line: str) -> str:
    bot, _, lin, _ = crew
    said = (await lin.ask(line)).reply.text
    bot.hub.forget()  # as Postgres has it done within a moment
    return said


async def start(crew: Crew, what: str) -> None:
    bot, _, _, max_ = crew
    run = await max_.say(f"switch off {what}")
    (kim,) = bot.cast("kim")
    assert run.status == RunStatus.awaiting_approval, run.outcome
    await kim.approve(run)
    assert run.succeeded, run.outcome
    assert "switch:off" in run.trail
    bot.hub.forget()
    await bot.refresh()


async def test_everything_stops_at_the_word_and_what_was_asked_before_goes_on_afterwards(crew: Crew, tmp_path: Path) -> None:
    bot, ada, lin, _ = crew
    answer = await ada.ask("glow")  # accepted, and no worker has looked at it yet
    assert answer.run_id is not None
    said = await stop(crew, "stop everything the lamps burn")
    assert said.startswith("Everything is stopped by lin since ")
    assert "UTC: the lamps burn. A step under way may still end. To go on: switch off everything" in said
    waiting = await bot.watch(answer.run_id, answer.reply)
    assert (waiting.status, lit(tmp_path)) == ("submitted", [])
    for line in ("glow", "count", "dim"):
        refused = await ada.say(line)
        assert refused.status == RunStatus.refused
        assert "Everything is stopped by lin" in refused.outcome
    assert "Everything is stopped by lin" in (await bot.card(waiting)).text
    assert "Everything is stopped by lin" in (await ada.ask("help")).reply.text
    assert "It was stopped already." in await stop(crew, "stop everything again")
    await start(crew, "everything")
    assert (waiting.status, lit(tmp_path)) == ("succeeded", ["a", "b"])
    assert "run:held" in waiting.trail
    assert "run:let_go_on" in waiting.trail
    assert "stopped" not in (await bot.card(waiting)).text
    told = (await lin.ask("switches")).reply
    assert told.text == "Nothing is stopped."
    assert "stopped by lin, switched off by max" in told.code


async def test_no_further_step_begins_and_the_one_under_way_ends(crew: Crew, tmp_path: Path) -> None:
    bot, ada, _, _ = crew
    answer = await ada.ask("glow wait=yes")
    assert answer.run_id is not None

    async def meanwhile() -> None:
        async def is_waiting() -> bool:
            return (tmp_path / "waiting").exists()

        await until(is_waiting)
        await stop(crew, "stop command glow")
        (tmp_path / "go").touch()

    run = (await gather(bot.watch(answer.run_id, answer.reply), meanwhile()))[0]
    assert (run.status, lit(tmp_path)) == ("running", ["a"])
    card = await bot.card(run)
    assert card.text.startswith("The command glow is stopped by lin")
    assert (await ada.say("dim")).succeeded, "another command goes on"
    await start(crew, "command glow")
    assert (run.status, lit(tmp_path)) == ("succeeded", ["a", "b", "dim"])
    assert run.trail.count("run:running") == 1, "it went on where it was"


async def test_read_only_mode_lets_people_look_and_try(crew: Crew, tmp_path: Path) -> None:
    _, ada, _, _ = crew
    assert (await stop(crew, "stop changes")).startswith("Read-only mode is on by lin")
    counted = await ada.say("count")
    assert counted.answer is not None
    assert counted.answer.text == "0 are lit"
    assert (await ada.say("glow", dry_run=True)).outcome == "Dry run: nothing was done."
    refused = await ada.say("glow")
    assert (refused.status, lit(tmp_path)) == ("refused", [])
    await start(crew, "changes")
    assert (await ada.say("glow")).succeeded


async def test_a_stopped_integration_is_given_to_no_step(crew: Crew, tmp_path: Path) -> None:
    bot, ada, _, _ = crew
    assert "There is no integration 'lamp'. Did you mean lamps?" in await stop(crew, "stop integration lamp")
    await stop(crew, "stop integration lamps too bright")
    held = await ada.say("dim")
    assert (held.status, lit(tmp_path)) == ("running", [])
    assert "The integration lamps is stopped by lin" in (await bot.card(held)).text
    assert "step:not_done" in held.trail
    failed = await ada.say("count")
    assert failed.status == RunStatus.failed
    assert failed.outcome.endswith("UTC: too bright.")
    await start(crew, "integration lamps")
    assert (held.status, lit(tmp_path)) == ("succeeded", ["dim"])


async def test_a_step_that_was_using_it_is_refused_its_next_call_and_a_person_looks(crew: Crew, tmp_path: Path) -> None:
    bot, ada, _, _ = crew
    answer = await ada.ask("glow all")
    assert answer.run_id is not None

    async def meanwhile() -> None:
        async def is_waiting() -> bool:
            return (tmp_path / "waiting").exists()

        await until(is_waiting)
        await stop(crew, "stop integration lamps")

        async def is_refused() -> bool:
            return any(one.stopped for one in bot.services.catalog._opened.values())

        await until(is_refused)
        (tmp_path / "go").touch()

    run = (await gather(bot.watch(answer.run_id, answer.reply), meanwhile()))[0]
    assert (run.status, lit(tmp_path)) == ("interrupted", ["first"])
    assert "was stopped on its way (The integration lamps is stopped by lin" in run.outcome


async def test_each_switch_needs_its_own_permission_and_help_shows_it_only_to_them(crew: Crew) -> None:
    _, ada, lin, max_ = crew
    for line in ("stop everything", "stop changes", "stop command glow", "stop integration lamps"):
        assert "This needs the permission countersign:" in (await ada.ask(line)).reply.text
    assert (await max_.say("switch off everything")).outcome == "'everything' is not stopped; nothing is."
    assert "/stop" not in (await ada.ask("help")).reply.code
    assert "/stop everything" in (await lin.ask("help")).reply.code
    assert "There is no command 'help' that can be stopped." in (await lin.ask("stop command help")).reply.text
    assert "There is no command 'switch off' that can be stopped." in (await lin.ask("stop command 'switch off'")).reply.text


async def test_a_taken_over_web_process_cannot_switch_off(crew: Crew, tmp_path: Path) -> None:
    bot, ada, _, _ = crew
    await stop(crew, "stop everything")
    answer = await ada.ask("glow")
    assert answer.status is RunStatus.refused
    async with transaction(bot.hub.engine) as session:
        await session.execute(
            text("UPDATE runs SET status = 'submitted', due_at = countersign_now() WHERE id = :id"), {"id": answer.run_id}
        )
    assert answer.run_id is not None
    run = await bot.watch(answer.run_id, answer.reply)
    assert (run.status, lit(tmp_path)) == ("submitted", [])
