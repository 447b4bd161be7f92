"""Fixtures of the tests of what other systems deliver."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from store.embedded import DatabaseUrls
from tests.bot.hooks.senders import Post, post_of


@pytest.fixture
async def post(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Post]:
    async with post_of(bot_database, tmp_path) as made:
        yield made
