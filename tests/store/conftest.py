"""Fixtures of the tables' tests."""

from collections.abc import AsyncIterator

import pytest

from store.embedded import DatabaseUrls
from tests.store.tables import Tables, open_tables


@pytest.fixture
async def tables(shared_database: DatabaseUrls) -> AsyncIterator[Tables]:
    """The shared database, with the cast in it, at the right time."""
    async with open_tables(shared_database) as made:
        yield made
