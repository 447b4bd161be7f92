"""Fixtures of the Slack door's tests."""

from collections.abc import AsyncIterator

import pytest

from tests.bot.slack.doors import Slack, slack_of
from tests.hubs import World


@pytest.fixture
async def slack(world: World) -> AsyncIterator[Slack]:
    """The door over HTTP."""
    async with slack_of(world) as made:
        yield made
