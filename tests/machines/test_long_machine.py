"""The approval machine for as long as it takes."""

from pathlib import Path

import pytest

from kit.servers import Servers
from tests.machines.machines import run_machine


@pytest.mark.long
@pytest.mark.timeout(36_000)
def test_nothing_is_done_that_was_not_agreed_for_long(servers: Servers, tmp_path: Path) -> None:
    assert run_machine(servers, tmp_path, examples=10_000, steps=100) > 10_000
