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


@pytest.mark.parametrize("kind", ["alone", "quiet"])
def test_some_share_the_room_and_what_minds_the_clock_has_it(tmp_path: Path, kind: str) -> None:
    entered, leave = Event(), Event()

    def alone() -> None:
        with turn(tmp_path, kind):
            entered.set()
            leave.wait(10)

    def together() -> bool:
        with turn(tmp_path, ""):
            return entered.is_set()

    with ThreadPoolExecutor(3) as pool:
        with turn(tmp_path, ""):
            assert pool.submit(together).result(10) is False
            first = pool.submit(alone)
            assert not entered.wait(0.1)
        assert entered.wait(10)
        later = pool.submit(together)
        assert not later.done()
        leave.set()
        first.result(10)
        assert later.result(10)


def test_quiet_ones_share_the_room_which_none_has_who_runs_alone(tmp_path: Path) -> None:
    def enter(kind: str) -> None:
        with turn(tmp_path, kind):
            pass

    with ThreadPoolExecutor(3) as pool:
        with turn(tmp_path, "quiet"):
            pool.submit(enter, "quiet").result(10)
            alone = pool.submit(enter, "alone")
            with pytest.raises(TimeoutError):
                alone.result(0.1)
        alone.result(10)
