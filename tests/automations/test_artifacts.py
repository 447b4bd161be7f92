"""Files that steps leave: kept once, redacted, told on the card, fetched by whoever may see the run."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from kit.bots import Bot
from kit.fixtures import open_bot
from store.artifacts import find_artifact, find_artifacts
from store.databases import plain_url, reading
from store.embedded import DatabaseUrls

COMMANDS = '''
from pathlib import Path

from countersign import Context, Plan, PlanningContext, Secret, StepFailed, command, step


@step(idempotent=True)
async def mint(ctx: Context) -> Secret:
    return Secret.parse("hunter2-canary")


@step(idempotent=True)
async def report(ctx: Context, password: Secret, box: str) -> None:
    await ctx.log(f"looking into the {box}")
    await ctx.artifact("report.txt", f"the {box} opens with {password.reveal()}")
    if box == "twice":
        await ctx.artifact("report.txt", f"the {box} opens with {password.reveal()}")
        await ctx.artifact("report.txt", "and now for something else")
    if box == "binary":
        await ctx.artifact("dump.bin", b"\\xff\\0" + password.reveal().encode())


@command("report", permission="report:run", risk="low")
async def reporting(ctx: PlanningContext, box: str) -> Plan:
    """Make a report."""
    made = mint()
    return Plan("report", made, report(made.result, box))
'''


@pytest.fixture
async def bot(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "reports.py").write_text(COMMANDS)
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        yield bot


async def test_a_file_is_kept_without_the_secrets_in_it(bot: Bot) -> None:
    (ada,) = bot.cast("ada", may=["report:run"])
    run = await ada.say("report box")
    assert run.succeeded, run.outcome
    async with reading(bot.services.engine) as session:
        row = await find_artifact(session, run.id, "report.txt")
    assert row is not None
    found = await bot.hub.objects.get(row.key)
    assert b"".join([one async for one in found.chunks]).decode() == "the box opens with ••••••"
    fields = {one.label: one.value for one in (await bot.card(run)).fields}
    assert fields["Files"] == f"report.txt ({row.size} bytes)"


async def test_whoever_follows_the_log_hears_of_each_line(bot: Bot) -> None:
    (ada,) = bot.cast("ada", may=["report:run"])
    async with await psycopg.AsyncConnection.connect(plain_url(bot.services.settings.database_url), autocommit=True) as ear:
        await ear.execute("LISTEN countersign_log")
        run = await ada.say("report box")
        heard = [notice.payload async for notice in ear.notifies(timeout=10, stop_after=1)]
    assert (run.log, heard) == (["looking into the box"], [str(run.id)])


async def test_the_last_of_a_name_counts_and_the_bytes_of_the_first_go_later(bot: Bot) -> None:
    (ada,) = bot.cast("ada", may=["report:run"])
    run = await ada.say("report twice")
    assert run.succeeded, run.outcome
    assert bot.services.objects.folder is not None
    files = await asyncio.to_thread(lambda: len(list((bot.services.objects.folder / str(run.id)).iterdir())))  # type: ignore[operator]
    async with reading(bot.services.engine) as session:
        (row,) = await find_artifacts(session, run.id)
    assert (files, row.size) == (2, len("and now for something else"))


async def test_a_binary_file_with_a_secret_in_it_is_refused(bot: Bot) -> None:
    (ada,) = bot.cast("ada", may=["report:run"])
    run = await ada.say("report binary")
    assert "the artifact dump.bin was not kept: it holds a secret, and is no text" in run.outcome
    async with reading(bot.services.engine) as session:
        assert [one.name for one in await find_artifacts(session, run.id)] == ["report.txt"]


async def test_a_place_that_is_away_fails_the_step_with_the_reason(bot: Bot) -> None:
    (ada,) = bot.cast("ada", may=["report:run"])
    assert bot.services.objects.folder is not None
    bot.services.objects.folder.write_text("a file where the folder should be")
    run = await ada.say("report box")
    assert "the artifact report.txt was not kept: the place for it cannot be reached" in run.outcome
