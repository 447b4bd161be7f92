"""What is told directly is told to somebody who may read it, at the moment it is told."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.bots import Bot
from kit.fixtures import open_bot
from store.embedded import DatabaseUrls

COMMANDS = '''
from countersign import Approval, Context, Plan, PlanningContext, command, step


@step(idempotent=True)
async def look(ctx: Context, where: str) -> str:
    await ctx.log(f"log of {where}")
    return where


@command("peek", permission="peek:run", visibility="private", approval=Approval(by="peek:approve", count=2))
async def peek(ctx: PlanningContext, where: str) -> Plan:
    """Look into something private."""
    return Plan(f"{where} is looked at", look(where))
'''


@pytest.fixture
async def crew(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Ada asks for something private; Lin, Kim and Max approve; Eve reviews what went past them, and may not read this."""
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "peeks.py").write_text(COMMANDS)
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", may=["peek:run"])
        bot.cast("lin", "kim", "max", may=["peek:approve"])
        bot.cast("eve", may=["countersign:approve"])
        yield bot


async def texts(crew: Bot, person: str) -> str:
    return " ".join(str(row.card) for row in await crew.messages(person))


async def test_who_has_lost_the_right_is_shown_no_more_of_a_private_run(crew: Bot) -> None:
    ada, lin, kim, max_ = crew.cast("ada", "lin", "kim", "max")
    run = await ada.say("peek letters")
    assert "letters" in await texts(crew, "lin")
    await kim.approve(run)
    crew._may["lin"].clear()
    crew._dirty = True
    await max_.approve(run)
    assert run.succeeded
    assert "letters" not in await texts(crew, "lin")
    assert "Private: only those concerned see more." in await texts(crew, "lin")
    assert "letters" in await texts(crew, "kim")
    assert lin.name == "lin"


async def test_who_reviews_is_not_shown_what_they_may_not_read(crew: Bot) -> None:
    crew.cast("max", may=["countersign:break-glass", "countersign:approve"])
    ada, max_, eve = crew.cast("ada", "max", "eve")
    run = await ada.say("peek letters")
    await max_.ask(f'break-glass {run.id} letters --reason "nobody can be reached now"')
    await crew.refresh()
    assert run.succeeded, run.outcome
    await crew.later("25h")
    assert "letters" not in await texts(crew, "eve")
    for line in ("reviews", "inbox"):
        answer = (await eve.ask(line)).reply
        assert "peek" not in answer.text + answer.code, line
