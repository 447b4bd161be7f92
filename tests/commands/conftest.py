"""Fixtures of the use cases' tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from store.embedded import DatabaseUrls
from tests.commands.desks import Desk, open_desk


@pytest.fixture
async def desk(shared_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Desk]:
    """The shared database with the cast, everybody active, at the right time."""
    async with open_desk(shared_database, tmp_path) as made:
        yield made
