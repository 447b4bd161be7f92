"""Whose turn it is: the files named are there, and what runs alone does."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from tests.forks import ROOT
from tests.turns import LONGEST, turn


@pytest.mark.parametrize("name", LONGEST)
def test_the_longest_files_exist(name: str) -> None:
    assert (ROOT / name).is_file()


def test_some_share_the_room_and_one_has_it_alone(tmp_path: Path) -> None:
    entered, leave = Event(), Event()

    def alone() -> None:
        with turn(tmp_path, alone=True):
            entered.set()
            leave.wait(10)

    def together() -> bool:
        with turn(tmp_path, alone=False):
            return entered.is_set()

    with ThreadPoolExecutor(3) as pool:
        with turn(tmp_path, alone=False):
            assert pool.submit(together).result(10) is False
            first = pool.submit(alone)
            assert not entered.wait(0.1)
        assert entered.wait(10)
        later = pool.submit(together)
        assert not later.done()
        leave.set()
        first.result(10)
        assert later.result(10)
