"""A hub for the shipped commands: Ada works, Lin and Max are admins, Eve may nothing."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from kit.bots import Bot, Member
from kit.fixtures import open_bot
from store.embedded import DatabaseUrls
from tests.automations.carts import write_cart


@pytest.fixture
async def crew(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    write_cart(tmp_path)
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", may=["cart:fill"])
        bot.cast("lin", "max", may=["countersign:admin", "countersign:approve", "countersign:audit"])
        bot.cast("eve")
        yield bot


@pytest.fixture
def people(crew: Bot) -> tuple[Member, Member, Member, Member]:
    """Ada, Lin, Max and Eve."""
    ada, lin, max_, eve = crew.cast("ada", "lin", "max", "eve")
    return ada, lin, max_, eve


@pytest.fixture
def account() -> str:
    """A chat account that nobody has."""
    return f"U{uuid4().hex[:10].upper()}"
