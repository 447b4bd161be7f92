"""Fixtures of the stories about a database that cannot be reached well."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.servers import Servers
from tests.stories.lines import Line, bad_line


@pytest.fixture
async def line(servers: Servers, tmp_path: Path) -> AsyncIterator[Line]:
    async with bad_line(servers, tmp_path, waiting=40) as made:
        yield made
