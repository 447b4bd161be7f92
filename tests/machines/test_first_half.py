"""Half of the examples of the approval machine; the other half is in the next file, for the other processor."""

from pathlib import Path

import pytest

from kit.servers import Servers
from tests.machines.machines import run_machine


@pytest.mark.timeout(900)
def test_nothing_is_done_that_was_not_agreed_first_half(servers: Servers, tmp_path: Path) -> None:
    assert run_machine(servers, tmp_path, examples=100, steps=50) > 20
