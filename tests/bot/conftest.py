"""Fixtures of the doors' tests."""

from collections.abc import AsyncIterator

import pytest

from tests.bot.webs import Web, web_of
from tests.hubs import World


@pytest.fixture
async def web(world: World) -> AsyncIterator[Web]:
    """The web process with nobody else around: no workers run."""
    async with web_of(world) as made:
        yield made


@pytest.fixture
async def demo(world: World) -> AsyncIterator[Web]:
    """The same as `--demo` starts it."""
    async with web_of(world, DEMO="true") as made:
        yield made
