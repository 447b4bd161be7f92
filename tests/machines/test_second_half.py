"""The other half of the examples of the approval machine."""

from pathlib import Path

import pytest

from kit.servers import Servers
from tests.machines.machines import run_machine


@pytest.mark.timeout(900)
def test_nothing_is_done_that_was_not_agreed_second_half(servers: Servers, tmp_path: Path) -> None:
    assert run_machine(servers, tmp_path, examples=100, steps=50) > 20
