"""The approval machine for as long as it takes, in parts that several processes share and that show how far it is."""

from pathlib import Path

import pytest

from kit.servers import Servers
from tests.machines.machines import run_machine

PARTS, EXAMPLES, STEPS = 200, 50, 100


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_is_done_that_was_not_agreed_for_long(servers: Servers, tmp_path: Path, part: int) -> None:
    assert run_machine(servers, tmp_path, examples=EXAMPLES, steps=STEPS, part=part) > 20


def test_that_were_ten_thousand_examples() -> None:
    assert PARTS * EXAMPLES == 10_000
