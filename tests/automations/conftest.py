"""A hub whose only commands are those of `courses`, and what these have done, line by line."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.bots import Bot, Member
from kit.fixtures import open_bot
from store.embedded import DatabaseUrls
from tests.automations.courses import write_courses


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return write_courses(tmp_path)


@pytest.fixture
async def crew(bot_database: DatabaseUrls, trace: Path, tmp_path: Path) -> AsyncIterator[Bot]:
    async with open_bot(bot_database, tmp_path, commands=trace.parent / "commands") as bot:
        yield bot


@pytest.fixture
def ada(crew: Bot) -> Member:
    (ada,) = crew.cast("ada", may=["cart:fill", "cart:weigh"])
    return ada
