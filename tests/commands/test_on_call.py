"""Who is on call, as rules see it: spared an approval in their shift, and not a moment longer."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from countersign import RunStatus
from kit.bots import Bot, Member
from kit.fixtures import open_bot
from store.databases import reading
from store.embedded import DatabaseUrls
from tests.automations.carts import write_cart

RULE = {
    "name": "others look at it",
    "command": "cart",
    "if": '!("ops" in person.on_call)',
    "approve": {"stages": [{"of": ["person:lin"], "count": 1}]},
}


@pytest.fixture
async def crew(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Ada and Kim fill carts and are on call by turns, an hour each, Ada first; Lin approves."""
    write_cart(tmp_path)
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", "kim", may=["cart:fill"])
        bot.cast("lin")
        async with reading(bot.services.engine) as session:
            now: datetime = (await session.execute(text("SELECT countersign_now()"))).scalar_one()
        shift = {"rotation": ["ada", "kim"], "start": (now - timedelta(minutes=10)).isoformat(), "every": "1h"}
        bot.policy(schedules={"ops": shift}, rules=[RULE])
        yield bot


async def test_whoever_is_on_call_needs_no_approval_while_they_are(crew: Bot) -> None:
    ada, kim, lin = Member(crew, "ada"), Member(crew, "kim"), Member(crew, "lin")
    assert (await ada.say("/cart gone")).succeeded
    waiting = await kim.say("/cart gone")
    assert waiting.status is RunStatus.awaiting_approval
    await lin.approve(waiting)
    assert waiting.succeeded
    await crew.later("1h")
    assert (await kim.say("/cart gone")).succeeded
    assert (await ada.say("/cart gone")).status is RunStatus.awaiting_approval
    told = await ada.ask("/policy explain ada 'cart gone'")
    assert "lin" in f"{told.reply.text} {told.reply.code}"
